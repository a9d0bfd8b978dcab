package store

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/evmq/evmq/memcache/internal/recycled"
)

const (
	largeMin   = 8 << 10 // values from here on have memory of their own
	groupBits  = 6
	groupLen   = 1 << groupBits
	groupBytes = int64(unsafe.Sizeof([groupLen]element{}))
)

// A Large is a large value. It has memory of its own, which goes from value to value without the garbage collector: it belongs to
// whoever has a reference. NewLarge gives the first; the store has one while the item is there, and each Entry.Borrow gives one.
// What has been stored does not change any more.
type Large struct {
	data     []byte
	refs     atomic.Int32
	class    int           // of its size
	lent     *atomic.Int64 // the shard's that it is or was stored in
	returned func(error)
}

// largeHead is what a Large takes beside its value: itself, its own function, and the heap's rounding.
const largeHead = 96

// spares are values that nobody has, by the class of their size. The collector takes those that are not used for long.
var spares [spareClasses]sync.Pool

const (
	maxSpare     = 4 << 20 // bytes
	spareClasses = 10 << sizeBits
	sizeBits     = 4
)

// sizeClass is the class of the values of n bytes, and the size of the largest: there are 16 up to twice a size.
func sizeClass(n int) (class, size int) {
	n = max(n, largeMin)
	shift := bits.Len(uint(n-1)) - 1 - sizeBits
	step := (n - 1) >> shift
	return (shift-smallestShift)<<sizeBits + step - 1<<sizeBits, (step + 1) << shift
}

// smallestShift is that of largeMin bytes.
const smallestShift = 13 - 1 - sizeBits

// NewLarge returns an empty value with room for n bytes, for PutLarge. Any goroutine.
func NewLarge(n int) *Large {
	class, size := sizeClass(n)
	if size <= maxSpare {
		if v, ok := spares[class].Get().(*Large); ok {
			v.refs.Store(1)
			return v
		}
	}
	v := &Large{data: make([]byte, 0, size), class: class}
	v.refs.Store(1)
	v.returned = func(error) { v.Return() }
	return v
}

// Append adds bytes to a value that has not been stored: without a copy if they are the beginning of its Room. Those for which
// there is no room are a panic.
func (v *Large) Append(p []byte) {
	n := len(v.data)
	v.data = v.data[:n+len(p)]
	if len(p) > 0 && &p[0] != &v.data[n] {
		copy(v.data[n:], p)
	}
}

// Room is the memory behind what there is, to read more into. It is the caller's to write until Append or Return.
func (v *Large) Room() []byte { return v.data[len(v.data):cap(v.data)] }

// Len is how many bytes there are, and Cap how many there is room for.
func (v *Large) Len() int { return len(v.data) }

// Cap is at least what NewLarge was asked for.
func (v *Large) Cap() int { return cap(v.data) }

// Bytes is the value. It must not be written, and is valid until Return.
func (v *Large) Bytes() []byte { return v.data[:len(v.data):len(v.data)] }

// Return gives a reference back. Any goroutine, once for each.
func (v *Large) Return() {
	if v.refs.Add(-1) > 0 {
		return
	}
	if v.lent != nil {
		v.lent.Add(-v.weight())
		v.lent = nil
	}
	if recycled.Look != nil {
		recycled.Look(v.data)
	}
	v.data = v.data[:0]
	if cap(v.data) <= maxSpare {
		spares[v.class].Put(v)
	}
}

// Returned is Return in the form that a release function has. It is always the same one, and costs nothing.
func (v *Large) Returned() func(error) { return v.returned }

// weight is the memory that the value takes.
func (v *Large) weight() int64 { return int64(cap(v.data)) + largeHead }

// enter begins the store's reference.
func (v *Large) enter(s *shard) {
	v.refs.Add(1)
	v.lent = &s.lent
}

// leave ends it. The weight counts as lent first: who returns the value at this moment takes it off again.
func (v *Large) leave() {
	v.lent.Add(v.weight())
	v.Return()
}

// element is a place for a large value.
type element struct {
	value *Large
	next  uint32 // free element, one more than its number
}

// larges is the large values of a shard. Their items have their numbers.
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
func (l *larges) put(v *Large) uint32 {
	if l.free == 0 {
		l.grow()
	}
	n := l.free - 1
	e := l.at(n)
	l.free = e.next
	e.value = v
	l.bytes += v.weight()
	l.count++
	return n
}

// replace stores a value in the place of another.
func (l *larges) replace(n uint32, v *Large) {
	e := l.at(n)
	l.bytes += v.weight() - e.value.weight()
	e.value.leave()
	e.value = v
}

// remove forgets a value, and the table with the last one.
func (l *larges) remove(n uint32) {
	e := l.at(n)
	l.bytes -= e.value.weight()
	e.value.leave()
	*e = element{next: l.free}
	l.free = n + 1
	if l.count--; l.count == 0 {
		*l = larges{}
	}
}

// removeAll forgets everything.
func (l *larges) removeAll() {
	for _, group := range l.groups {
		for i := range group {
			if v := group[i].value; v != nil {
				v.leave()
			}
		}
	}
	*l = larges{}
}

// of is the value of a large item.
func (l *larges) of(it *item) *Large { return l.at(number(it)).value }

func number(it *item) uint32       { return binary.LittleEndian.Uint32(it.inline()) }
func setNumber(it *item, n uint32) { binary.LittleEndian.PutUint32(it.inline(), n) }
