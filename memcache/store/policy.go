package store

import "math/bits"

const (
	mercy     = 256 // items that an operation spares at most,
	moreMercy = 16  // and for each one that it evicts so many more
	expiring  = 8   // steps that a search for expired items takes before anything else is evicted
)

// policy is what a shard's eviction keeps beside the items. It is greedy dual by size and frequency (GDSF), with queues instead of a
// heap. Decision 9 gives the reasons and the measurements.
//
// Each size class has two queues: one of new items, and one of proven items, which were used after they had come. An item's due
// is the inflation at the moment when it came into its queue, plus its life: in inverse proportion to its size, and to its worth in
// direct proportion. The inflation is the due of the item evicted last. The next victim is the item with the least due among the oldest
// of the queues, if it has not been used; if it has, its worth rises and it goes to the front of its class's queue of proven items. A
// use writes to its own item alone. Items that were evicted while new are remembered by the index for a while, and are proven when
// they come back.
type policy struct {
	queues    [kinds][classCount]queue
	filled    [kinds]uint64             // by the bits: the classes whose queues have items
	due       [kinds][classCount]uint64 // of the oldest item
	inflation uint64
	spared    [kinds]int64 // items of each kind that eviction has met and moved
	demand
}

// The kinds of queues.
const (
	newItems = iota
	provenItems
	kinds
)

// next returns the queue whose oldest item has the least due, and false if there is none. Groups of sizes that are idle come first. A
// queue that has the pinned item alone has none to evict.
func (s *shard) next() (kind, class int, ok bool) {
	filled := s.filled
	if k, c, ok := s.pinnedAlone(); ok {
		filled[k] &^= 1 << c
	}
	if (filled[newItems]|filled[provenItems])&s.idleClasses != 0 {
		filled[newItems] &= s.idleClasses
		filled[provenItems] &= s.idleClasses
	}
	for k := range filled {
		for set := filled[k]; set != 0; set &= set - 1 {
			c := bits.TrailingZeros64(set)
			if !ok || s.due[k][c] < s.due[kind][class] {
				kind, class, ok = k, c, true
			}
		}
	}
	return kind, class, ok
}

// pinnedAlone returns the queue that has the pinned item and no other, and whether there is one.
func (s *shard) pinnedAlone() (kind, class int, ok bool) {
	if s.pin == 0 {
		return 0, 0, false
	}
	kind, class = s.place(s.pin)
	q := &s.queues[kind][class]
	return kind, class, q.oldest == q.newest
}

// victim returns the item that is to make room next, or 0. The number of those that an operation spares is bounded: where all were
// used, the last one goes after all.
func (s *shard) victim() ref {
	for {
		kind, class, ok := s.next()
		if !ok {
			return 0
		}
		if s.idleClasses>>class&1 == 0 {
			s.inflate(s.due[kind][class])
		}
		r := s.queues[kind][class].oldest
		if r != s.pin && (s.mercy <= 0 || s.item(r).state&wanted == 0) {
			return r
		}
		s.spare(r)
	}
}

// inflate raises the inflation to a due. If the pinned item is the oldest of its queue, its life begins again: it is not evicted at
// its due.
func (s *shard) inflate(due uint64) {
	s.inflation = max(s.inflation, due)
	if k, c, ok := s.pinnedAlone(); ok {
		s.begin(s.pin, k, c)
	}
}

// spare moves r to the front of its class's queue of proven items. A use since eviction met it last raises its worth.
func (s *shard) spare(r ref) {
	s.steps++
	s.mercy--
	it := s.item(r)
	s.spared[it.kind()]++
	s.dequeue(r)
	w := max(1, it.worth())
	if it.state&wanted != 0 {
		w = min(it.worth()+1, maxWorth)
	}
	it.setWorth(w)
	it.state &^= wanted
	s.enqueue(r)
}

// evicted counts that the item r has to go, and remembers it if it was new.
func (s *shard) evicted(r ref) {
	s.steps++
	s.mercy += moreMercy
	it := s.item(r)
	if it.kind() == newItems {
		s.index.remember(it.hash)
	}
	s.turnOver(s.size(it))
	c := s.class(it)
	c.Evicted++
	c.EvictedIdle = int64(s.now - it.access)
	if it.expires != 0 {
		c.EvictedExpiring++
	}
	if it.state&wanted != 0 {
		c.EvictedWanted++
	}
	if it.state&fetched == 0 {
		c.EvictedUnfetched++
	}
	if s.onEvicted != nil {
		s.onEvicted(Evicted{
			Key: it.keyBytes(), Fetched: it.state&fetched != 0, Expires: int64(it.expires), Idle: int64(s.now - it.access),
			Size: int(s.size(it)), Value: int(it.value),
		})
	}
}

// expire removes items that have expired, in at most n steps, and returns how many.
func (s *shard) expire(n int) int {
	found := 0
	for range n {
		r, more := s.wheel.next(&s.arena, s.now)
		if r == 0 && !more {
			break
		}
		s.steps++
		if r != 0 {
			s.reclaim(r)
			found++
		}
	}
	return found
}

// reclaim removes an item that has expired.
func (s *shard) reclaim(r ref) {
	it := s.item(r)
	c := s.class(it)
	c.Expired++
	if it.state&fetched == 0 {
		c.ExpiredUnfetched++
	}
	s.remove(r)
}
