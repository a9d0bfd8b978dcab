package store

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

const (
	largeMin   = 8 << 10 // values from here on have memory of their own
	groupBits  = 6
	groupLen   = 1 << groupBits
	groupBytes = int64(unsafe.Sizeof([groupLen]element{}))
)

// A Large is a large value: a piece of Go's heap that never changes. The store refers to it while the item is there, and so does
// whoever has called Entry.Borrow, until Return; until the last of them is done its bytes are within the store's limit.
type Large struct {
	data     []byte
	refs     atomic.Int32
	returned func(error)
	lent     *atomic.Int64 // the shard's
}

// largeHead is what a Large takes beside its value: itself, its own function, and the heap's rounding.
const largeHead = 96

func (s *shard) newLarge(data []byte) *Large {
	v := &Large{data: data, lent: &s.lent}
	v.refs.Store(1)
	v.returned = func(error) { v.Return() }
	return v
}

// Bytes is the value. It must not be written, and is valid until Return.
func (v *Large) Bytes() []byte { return v.data[:len(v.data):len(v.data)] }

// Return ends what Entry.Borrow began. Any goroutine, once.
func (v *Large) Return() {
	if v.refs.Add(-1) == 0 {
		v.lent.Add(-v.weight())
	}
}

// Returned is Return in the form that a release function has. It is always the same one, and costs nothing.
func (v *Large) Returned() func(error) { return v.returned }

// weight is the memory that the value takes.
func (v *Large) weight() int64 { return weigh(v.data) }

func weigh(data []byte) int64 { return int64(cap(data)) + largeHead }

// leave ends the store's reference. The weight counts as lent first: who returns the value at this moment takes it off again.
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
