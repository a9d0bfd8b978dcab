package store

import "math/bits"

const (
	exact   = 128              // sizes below have a list each
	subBits = 4                // above, 16 lists up to twice the size
	lists   = exact + 7*16 + 1 // the last one is of empty chunks
	fitting = 4                // blocks that are examined in a list whose blocks may be too short
)

// freeLists are lists of the free blocks, by size.
type freeLists struct {
	first [lists]ref
	some  [(lists + 63) / 64]uint64 // a bit for each list that is not empty
}

// listOf returns the list for blocks of n units.
func listOf(n uint16) int {
	if n < exact {
		return int(n)
	}
	e := bits.Len16(n) - 1
	return exact + (e-7)<<subBits + int(n>>(e-subBits))&(1<<subBits-1)
}

// from returns the first list from i on that is not empty.
func (l *freeLists) from(i int) (int, bool) {
	for w := i / 64; w < len(l.some); w++ {
		b := l.some[w]
		if w == i/64 {
			b &= ^uint64(0) << (i % 64)
		}
		if b != 0 {
			return w*64 + bits.TrailingZeros64(b), true
		}
	}
	return 0, false
}

// find returns a free block of at least n units, or 0. All blocks of the lists after n's are long enough; of n's list, some may be too short.
func (a *arena) find(n uint16) ref {
	own := listOf(n)
	r := a.lists.first[own]
	for i := 0; r != 0 && i < fitting; i++ {
		h := a.hole(r)
		if h.size >= n {
			return r
		}
		r = h.next
	}
	if i, ok := a.lists.from(own + 1); ok {
		return a.lists.first[i]
	}
	return 0
}

// list adds the free block r to its list.
func (a *arena) list(r ref) {
	n := a.tag(r).size
	if n < minBlock {
		return
	}
	i := listOf(n)
	h := a.hole(r)
	h.prev, h.next = 0, a.lists.first[i]
	if h.next != 0 {
		a.hole(h.next).prev = r
	}
	a.lists.first[i] = r
	a.lists.some[i/64] |= 1 << (i % 64)
}

// unlist removes the free block r from its list.
func (a *arena) unlist(r ref) {
	n := a.tag(r).size
	if n < minBlock {
		return
	}
	h := a.hole(r)
	if h.next != 0 {
		a.hole(h.next).prev = h.prev
	}
	if h.prev != 0 {
		a.hole(h.prev).next = h.next
		return
	}
	i := listOf(n)
	if a.lists.first[i] = h.next; h.next == 0 {
		a.lists.some[i/64] &^= 1 << (i % 64)
	}
}

// empty returns a chunk that is one free block, or 0.
func (a *arena) empty() ref { return a.lists.first[lists-1] }
