package store

import (
	"encoding/binary"
	"unsafe"
)

const (
	largeMin   = 8 << 10 // values from here on have memory of their own
	groupBits  = 6
	groupLen   = 1 << groupBits
	groupBytes = int64(unsafe.Sizeof([groupLen]element{}))
)

// element is a place for a large value.
type element struct {
	data []byte
	next uint32 // free element, one more than its number
}

// larges is the large values. They are pieces of Go's heap, which never change: whoever has one may keep it, and the garbage
// collector knows when nobody does. Their items have their numbers.
type larges struct {
	groups []*[groupLen]element
	free   uint32 // first free element, one more than its number; 0: none
	bytes  int64  // of the values
	count  int    // values
}

func (l *larges) at(n uint32) *element { return &l.groups[n>>groupBits][n&(groupLen-1)] }

// needs is the memory that the table needs for one more value.
func (l *larges) needs() int64 {
	if l.free != 0 {
		return 0
	}
	return groupBytes + growth(l.groups)
}

// grow adds a group of free elements.
func (l *larges) grow() {
	n := uint32(len(l.groups)) << groupBits
	l.groups = append(roomy(l.groups), new([groupLen]element))
	for i := uint32(groupLen); i > 0; i-- {
		l.at(n + i - 1).next = l.free
		l.free = n + i
	}
}

// put stores a value in a free element, whose number it returns.
func (l *larges) put(value []byte) uint32 {
	if l.free == 0 {
		l.grow()
	}
	n := l.free - 1
	e := l.at(n)
	l.free = e.next
	e.data = value
	l.bytes += int64(cap(value))
	l.count++
	return n
}

// replace stores a value in the place of another.
func (l *larges) replace(n uint32, value []byte) {
	e := l.at(n)
	l.bytes += int64(cap(value)) - int64(cap(e.data))
	e.data = value
}

// remove forgets a value, and the table with the last one.
func (l *larges) remove(n uint32) {
	e := l.at(n)
	l.bytes -= int64(cap(e.data))
	*e = element{next: l.free}
	l.free = n + 1
	if l.count--; l.count == 0 {
		*l = larges{}
	}
}

// of is the element of a large item.
func (l *larges) of(it *item) *element { return l.at(number(it)) }

func number(it *item) uint32       { return binary.LittleEndian.Uint32(it.inline()) }
func setNumber(it *item, n uint32) { binary.LittleEndian.PutUint32(it.inline(), n) }
