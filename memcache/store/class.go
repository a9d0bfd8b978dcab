package store

import "math/bits"

// classCount is how many size classes there are. The last one has no upper end.
const classCount = 62

// doubling is how many size classes there are up to twice a size.
const doubling = 4

// Class is what happens to the items of a size class. There are four classes up to twice a size: 64, 80, 96, 112, 128, 160 bytes and so
// on, up to 2 MB. The sizes are those of Entry.Size.
type Class struct {
	Size  int64 // of the largest item of the class, bytes; that of the last class is the most that there can be
	Items int64
	Bytes int64

	Unfetched int64 // of Items, those that have not been used since they were stored

	EvictedIdle int64 // seconds for which the item evicted last had not been used
	Counts
}

// Counts are of all that has ever happened.
type Counts struct {
	Total            int64 // items stored
	Evicted          int64 // items removed to make room
	EvictedUnfetched int64 // of these, those that had never been used
	EvictedExpiring  int64 // of these, those that would have expired one day
	EvictedWanted    int64 // of these, those that had been used since eviction last met them: too many were
	Expired          int64 // items freed because they had expired or been flushed, but for those that a look-up met
	ExpiredUnfetched int64 // of these, those that had never been used
	Refused          int64 // ErrNoMemory

	Ops [NumOps]int64 // what Entry.Count and CountSet were told
}

// Add adds n times what d counts: -1 for what has happened since.
func (c *Counts) Add(n int64, d *Counts) {
	c.Total += n * d.Total
	c.Evicted += n * d.Evicted
	c.EvictedUnfetched += n * d.EvictedUnfetched
	c.EvictedExpiring += n * d.EvictedExpiring
	c.EvictedWanted += n * d.EvictedWanted
	c.Expired += n * d.Expired
	c.ExpiredUnfetched += n * d.ExpiredUnfetched
	c.Refused += n * d.Refused
	for op := range d.Ops {
		c.Ops[op] += n * d.Ops[op]
	}
}

// Op is what a client has asked of an item and got, or Set. The store only counts it.
type Op uint8

// The kinds of Op.
const (
	Set Op = iota // a value was brought, whatever has become of it
	Get
	Delete
	Incr
	Decr
	CAS    // stored since the unique number was the item's
	BadCAS // not stored since it was another
	Touch
	NumOps
)

// classOf is the class of an item's size.
func classOf(size int64) int {
	if size <= 64 {
		return 0
	}
	n := uint64(size - 1)
	e := bits.Len64(n) - 1
	return min((e-6)*4+int(n>>(e-2)&3)+1, classCount-1)
}

// bound is the size of the largest items of a class.
func bound(class int) int64 {
	if class == classCount-1 {
		return 1<<63 - 1
	}
	return int64(4+class%4) << (4 + class/4)
}

// add adds what d counts.
func (c *Class) add(d *Class) {
	c.Items += d.Items
	c.Bytes += d.Bytes
	c.Unfetched += d.Unfetched
	c.EvictedIdle = max(c.EvictedIdle, d.EvictedIdle)
	c.Add(1, &d.Counts)
}
