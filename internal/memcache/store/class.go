package store

import "math/bits"

// classCount is the number of size classes. The last one has no upper bound.
const classCount = 62

// doubling is the number of size classes from a size to twice that size.
const doubling = 4

// Class is the state and the counters of a size class. There are four classes from each power of two to the next: 64, 80, 96, 112, 128, 160
// bytes and so on, up to 2 MB. The sizes are those of Entry.Size.
type Class struct {
	Size  int64 // bytes: of the largest item of the class. For the last class it is the maximum size of an item
	Items int64
	Bytes int64

	Unfetched int64 // of Items: those that have not been used since they were stored

	EvictedIdle int64 // seconds between the last use of the item evicted last and its eviction
	Counts
}

// Counts are totals since the store was made.
type Counts struct {
	Total            int64 // items stored
	Evicted          int64 // items removed to make room
	EvictedUnfetched int64 // of these, those that had never been used
	EvictedExpiring  int64 // of these, those with an expiry time
	EvictedActive    int64 // of these, those referenced since eviction last examined them: the limit of reinsertions was reached
	Expired          int64 // items freed because they had expired or been flushed, except those that a look-up found
	ExpiredUnfetched int64 // of these, those that had never been used
	Refused          int64 // ErrNoMemory

	Ops [NumOps]int64 // operations reported by Entry.Count and CountSet
}

// Add adds n times the counts of d. With n = -1 it leaves the difference since d was taken.
func (c *Counts) Add(n int64, d *Counts) {
	c.Total += n * d.Total
	c.Evicted += n * d.Evicted
	c.EvictedUnfetched += n * d.EvictedUnfetched
	c.EvictedExpiring += n * d.EvictedExpiring
	c.EvictedActive += n * d.EvictedActive
	c.Expired += n * d.Expired
	c.ExpiredUnfetched += n * d.ExpiredUnfetched
	c.Refused += n * d.Refused
	for op := range d.Ops {
		c.Ops[op] += n * d.Ops[op]
	}
}

// Op is a successful operation of a client on an item, or Set. The store only counts it.
type Op uint8

// The kinds of Op.
const (
	Set Op = iota // a request to store a value, with any outcome
	Get
	Delete
	Incr
	Decr
	CAS    // stored, because the unique number was the item's
	BadCAS // not stored, because it was not
	Touch
	NumOps
)

// classOf returns the class of an item of this size.
func classOf(size int64) int {
	if size <= 64 {
		return 0
	}
	n := uint64(size - 1)
	e := bits.Len64(n) - 1
	return min((e-6)*4+int(n>>(e-2)&3)+1, classCount-1)
}

// bound returns the size of the largest items of a class.
func bound(class int) int64 {
	if class == classCount-1 {
		return 1<<63 - 1
	}
	return int64(4+class%4) << (4 + class/4)
}

// add adds the counts of d.
func (c *Class) add(d *Class) {
	c.Items += d.Items
	c.Bytes += d.Bytes
	c.Unfetched += d.Unfetched
	c.EvictedIdle = max(c.EvictedIdle, d.EvictedIdle)
	c.Add(1, &d.Counts)
}
