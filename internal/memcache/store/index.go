package store

import "bytes"

const (
	segmentBits = 10
	segmentLen  = 1 << segmentBits
	bucketBytes = 8
	segmentSize = segmentLen * bucketBytes
)

// A bucket is a chain of items. filter has a bit for the hash of each item, and possibly for removed ones, so most look-ups of absent keys end
// without reading an item. ghosts are 8 bits of the hashes of the last two items that were evicted from probation.
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

// push adds the item r to the bucket.
func (b *bucket) push(a *arena, r ref) {
	it := a.item(r)
	it.next = b.first
	b.first = r
	b.filter |= mark(it.hash)
}

// remove removes the item r. If there are too many buckets, it joins four of them to others.
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

// replace replaces r in its chain with to. It does not read r.
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

// remember records that an item with this hash was evicted without having been used.
func (x *index) remember(hash uint32) {
	b := x.bucket(hash)
	b.ghosts[1], b.ghosts[0] = b.ghosts[0], ghost(hash)
}

// recall reports whether the hash is recorded, and removes the record.
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

// ghost returns the record of a hash, which is never 0, and mark its bit in a filter. Both use bits that do not determine the bucket, unless there
// are very many buckets.
func ghost(hash uint32) uint8 { return uint8(max(1, hash>>24)) }
func mark(hash uint32) uint16 { return 1 << (hash >> 20 & 15) }

// full reports whether a bucket should be added, sparse whether there are more than four times as many as needed.
func (x *index) full() bool   { return x.items > x.buckets }
func (x *index) sparse() bool { return x.items < x.buckets/4 && x.buckets > segmentLen }

// needs returns the memory in bytes that another bucket needs.
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

// shrink joins the last bucket to the one from which it was split.
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

// growth returns the number of bytes by which a table grows if a pointer is added to it. roomy makes room for the pointer in this way, because the
// growth of append is not specified.
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
