package store

import (
	"encoding/binary"
	"unsafe"
)

// item is the head of a block in use. The key follows it, and then the value or, for a large value, the number of its first extent and its
// tail, which does not fill a page.
type item struct {
	tag
	next           ref // in the chain of the index
	hash           uint32
	newer, older   ref    // in the queue
	earlier, later ref    // in the slot of the wheel
	expires        uint32 // the second from which it is gone; 0: never
	access         uint32 // the second of the last use
	flags          uint32
	value          uint32 // length
	cas            uint64
}

const (
	headSize = int(unsafe.Sizeof(item{}))
	minBlock = uint16((headSize + unit - 1) / unit) // units of the shortest item
	maxKey   = 255
	largeRef = 4         // bytes: the number of the first extent
	largeMin = pageBytes // values of this length and more are in pages
)

// state is a set of flags of a block.
type state uint8

const (
	used       state = 1 << 0 // not free
	referenced state = 1 << 1 // used or stored again since eviction last examined it
	fetched    state = 1 << 2 // used since it was stored
	large      state = 1 << 3 // the value has pages
	// frequencyBits are the two bits of item.frequency.
	frequencyBits state = 3 << frequencyShift
)

// blockFor returns the units of an item with a key of key bytes and n bytes after it.
func blockFor(key, n int) uint16 { return uint16((headSize + key + n + unit - 1) / unit) }

// bytes returns the bytes of the block after the head.
func (it *item) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(it), headSize)), int(it.size)*unit-headSize)
}

func (it *item) keyBytes() []byte { return it.bytes()[:it.key] }

// inlineFor returns the number of bytes after the key for a value of n bytes.
func inlineFor(n int) int {
	if n < largeMin {
		return n
	}
	return largeRef + n%pageBytes
}

// inline returns the value, or the tail of a large one.
func (it *item) inline() []byte {
	b := it.bytes()[it.key:]
	if it.state&large != 0 {
		n := largeRef + it.value%pageBytes
		return b[largeRef:n:n]
	}
	return b[:it.value:it.value]
}

// first returns the first extent of a large value.
func (it *item) first() extent     { return extent(binary.LittleEndian.Uint32(it.bytes()[it.key:])) }
func (it *item) setFirst(e extent) { binary.LittleEndian.PutUint32(it.bytes()[it.key:], uint32(e)) }

// paged returns the number of pages of the value.
func (it *item) paged() int {
	if it.state&large == 0 {
		return 0
	}
	return int(it.value / pageBytes)
}

func (it *item) expired(now uint32) bool { return it.expires != 0 && it.expires <= now }

func (it *item) meta() Meta {
	return Meta{Flags: it.flags, Expires: int64(it.expires), CAS: it.cas, Bits: it.bits}
}
