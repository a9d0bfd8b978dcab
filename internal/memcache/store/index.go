package store

import "bytes"

const (
	segmentBits = 10
	segmentLen  = 1 << segmentBits
	bucketBytes = 8
	segmentSize = segmentLen * bucketBytes
)

// A bucket is a chain of items. filter has a bit for each of them, by its hash, and perhaps for some that are gone: most look-ups
// of what is not there end without touching an item. ghosts are what is remembered of the last two items that were evicted
// before they proved useful: 8 bits of their hashes.
type bucket struct {
	first  ref
	filter uint16
	ghosts [2]uint8
}

type segment [segmentLen]bucket

// index finds items by hash. It is a linear hash table: it grows by one bucket at a time, whose items come from one
// other bucket, so there is never a second table nor a pause, and its memory follows the number of items in steps of a segment.
type index struct {
	segments []*segment
	buckets  uint32
	mask     uint32 // one less than the power of two that is not below buckets
	items    uint32
}

func (x *index) init() {
	*x = index{segments: append(roomy([]*segment(nil)), new(segment)), buckets: segmentLen, mask: segmentLen - 1}
}

func (x *index) number(hash uint32) uint32 {
	i := hash & x.mask
	if i >= x.buckets {
		i &= x.mask >> 1
	}
	return i
}

func (x *index) at(i uint32) *bucket { return &x.segments[i>>segmentBits][i&(segmentLen-1)] }

func (x *index) bucket(hash uint32) *bucket { return x.at(x.number(hash)) }

// find returns the item of a key, or 0.
func (x *index) find(a *arena, hash uint32, key []byte) ref {
	b := x.bucket(hash)
	if b.filter&mark(hash) == 0 {
		return 0
	}
	r := b.first
	for r != 0 {
		it := a.item(r)
		if it.hash == hash && bytes.Equal(it.keyBytes(), key) {
			break
		}
		r = it.next
	}
	return r
}

func (x *index) insert(a *arena, r ref) {
	x.bucket(a.item(r).hash).push(a, r)
	x.items++
}

// push puts the item r into the bucket.
func (b *bucket) push(a *arena, r ref) {
	it := a.item(r)
	it.next = b.first
	b.first = r
	b.filter |= mark(it.hash)
}

// remove takes the item r out. Four buckets follow it when there are too many.
func (x *index) remove(a *arena, r ref) {
	it := a.item(r)
	x.replace(a, it.hash, r, it.next)
	x.items--
	for range 4 {
		if x.sparse() {
			x.shrink(a)
		}
	}
}

// replace puts to where the chain has r, which is not looked at.
func (x *index) replace(a *arena, hash uint32, r, to ref) {
	b := x.bucket(hash)
	if b.first == r {
		if b.first = to; to == 0 {
			b.filter = 0
		}
		return
	}
	it := a.item(b.first)
	for it.next != r {
		it = a.item(it.next)
	}
	it.next = to
}

// remember notes that an item of this hash has been evicted unused.
func (x *index) remember(hash uint32) {
	b := x.bucket(hash)
	b.ghosts[1], b.ghosts[0] = b.ghosts[0], ghost(hash)
}

// recall says whether the hash is remembered, and forgets it.
func (x *index) recall(hash uint32) bool {
	b, g := x.bucket(hash), ghost(hash)
	switch g {
	case b.ghosts[0]:
		b.ghosts[0], b.ghosts[1] = b.ghosts[1], 0
	case b.ghosts[1]:
		b.ghosts[1] = 0
	default:
		return false
	}
	return true
}

// ghost is what is remembered of a hash, and mark its bit in a filter: both of bits that do not choose the bucket, unless there are
// very many. A ghost of 0 is none.
func ghost(hash uint32) uint8 { return uint8(max(1, hash>>24)) }
func mark(hash uint32) uint16 { return 1 << (hash >> 20 & 15) }

// full says that another bucket should be there, sparse that there are four times too many.
func (x *index) full() bool   { return x.items > x.buckets }
func (x *index) sparse() bool { return x.items < x.buckets/4 && x.buckets > segmentLen }

// needs is the memory that the next bucket needs.
func (x *index) needs() int64 {
	if x.buckets < uint32(len(x.segments))<<segmentBits {
		return 0
	}
	return segmentSize + growth(x.segments)
}

// grow splits a bucket.
func (x *index) grow(a *arena) {
	n := x.buckets
	if n == uint32(len(x.segments))<<segmentBits {
		x.segments = append(roomy(x.segments), new(segment))
	}
	if n > x.mask {
		x.mask = x.mask<<1 | 1
	}
	from, to := x.at(n&(x.mask>>1)), x.at(n)
	*to = bucket{ghosts: from.ghosts}
	x.buckets++
	r := from.first
	from.first, from.filter = 0, 0
	for r != 0 {
		it := a.item(r)
		next := it.next
		if it.hash&x.mask == n {
			to.push(a, r)
		} else {
			from.push(a, r)
		}
		r = next
	}
}

// shrink joins the last bucket to the one that it came from.
func (x *index) shrink(a *arena) {
	x.buckets--
	n := x.buckets
	from, to := x.at(n), x.at(n&(x.mask>>1))
	if n == x.mask>>1+1 {
		x.mask >>= 1
	}
	for r := from.first; r != 0; {
		next := a.item(r).next
		to.push(a, r)
		r = next
	}
	*from = bucket{}
	if last := len(x.segments) - 1; n == uint32(last)<<segmentBits {
		x.segments[last] = nil
		x.segments = x.segments[:last]
	}
}

// growth is the memory that a table needs more when a pointer is added, and roomy makes it so: append alone does not tell how
// much it takes.
func growth[T any](table []*T) int64 {
	if len(table) < cap(table) {
		return 0
	}
	return int64(max(8, len(table))) * pointer
}

func roomy[T any](table []*T) []*T {
	n := int(growth(table) / pointer)
	if n == 0 {
		return table
	}
	return append(make([]*T, 0, cap(table)+n), table...)
}
