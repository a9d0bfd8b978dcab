package store

import "math/bits"

const (
	maxReinserts         = 256 // items that an operation reinserts at most,
	reinsertsPerEviction = 16  // plus this many for each item that it evicts
	expiring             = 8   // steps of the search for expired items that precedes an eviction
)

// policy is a shard's eviction policy: greedy dual by size and frequency (GDSF), with queues instead of a heap. Decision 9 gives the
// reasons and the measurements.
//
// Each size class has two queues: a probation queue of new items, and a protected queue of items that were used after they were stored.
// The priority of an item is the inflation at the time when it entered its queue plus its credit, which is proportional to its frequency
// and inversely proportional to its size. The inflation is the priority of the last victim. The next candidate is the item with the lowest
// priority among the oldest items of all queues. If it has not been referenced since eviction last examined it, it is evicted. Otherwise
// its frequency rises, and it is reinserted at the front of the protected queue of its class. A use modifies only the item itself. The
// index remembers the hashes of items evicted from probation for some time; such an item is protected when it is stored again.
type policy struct {
	queues     [kinds][classCount]queue
	filled     [kinds]uint64             // bit c is set if the queue of class c has items
	priority   [kinds][classCount]uint64 // of the oldest item
	inflation  uint64
	reinserted [kinds]int64 // items reinserted from the queues of each kind
	demand
}

// Kinds of queues.
const (
	probation = iota
	protected
	kinds
)

// next returns the queue whose oldest item has the lowest priority. ok is false if no queue has an item that may be evicted. Queues of cold
// size groups come first. A queue that holds only the pinned item is skipped.
func (s *shard) next() (kind, class int, ok bool) {
	filled := s.filled
	if k, c, ok := s.pinnedAlone(); ok {
		filled[k] &^= 1 << c
	}
	if (filled[probation]|filled[protected])&s.coldClasses != 0 {
		filled[probation] &= s.coldClasses
		filled[protected] &= s.coldClasses
	}
	for k := range filled {
		for set := filled[k]; set != 0; set &= set - 1 {
			c := bits.TrailingZeros64(set)
			if !ok || s.priority[k][c] < s.priority[kind][class] {
				kind, class, ok = k, c, true
			}
		}
	}
	return kind, class, ok
}

// pinnedAlone returns the queue that holds the pinned item and no other item. ok is false if there is no such queue.
func (s *shard) pinnedAlone() (kind, class int, ok bool) {
	if s.pin == 0 {
		return 0, 0, false
	}
	kind, class = s.place(s.pin)
	q := &s.queues[kind][class]
	return kind, class, q.oldest == q.newest
}

// victim returns the item to evict next, or 0 if there is none. The number of items that an operation reinserts is bounded: if all of them
// were referenced, a referenced one is evicted.
func (s *shard) victim() ref {
	for {
		kind, class, ok := s.next()
		if !ok {
			return 0
		}
		if s.coldClasses>>class&1 == 0 {
			s.inflate(s.priority[kind][class])
		}
		r := s.queues[kind][class].oldest
		if r != s.pin && (s.reinserts <= 0 || s.item(r).state&referenced == 0) {
			return r
		}
		s.reinsert(r)
	}
}

// inflate raises the inflation to a priority. A pinned item that is alone in its queue gets its credit again, since it cannot be evicted.
func (s *shard) inflate(priority uint64) {
	s.inflation = max(s.inflation, priority)
	if k, c, ok := s.pinnedAlone(); ok {
		s.stamp(s.pin, k, c)
	}
}

// reinsert moves r to the front of the protected queue of its class. A use since eviction last examined r raises its frequency.
func (s *shard) reinsert(r ref) {
	s.steps++
	s.reinserts--
	it := s.item(r)
	s.reinserted[it.kind()]++
	s.dequeue(r)
	w := max(1, it.frequency())
	if it.state&referenced != 0 {
		w = min(it.frequency()+1, maxFrequency)
	}
	it.setFrequency(w)
	it.state &^= referenced
	s.enqueue(r)
}

// evicted records the eviction of r, which the caller removes. The index remembers r if it is in probation.
func (s *shard) evicted(r ref) {
	s.steps++
	s.reinserts += reinsertsPerEviction
	it := s.item(r)
	if it.kind() == probation {
		s.index.remember(it.hash)
	}
	s.countEvicted(s.size(it))
	c := s.class(it)
	c.Evicted++
	c.EvictedIdle = int64(s.now - it.access)
	if it.expires != 0 {
		c.EvictedExpiring++
	}
	if it.state&referenced != 0 {
		c.EvictedActive++
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

// expire removes expired items in at most n steps. It returns the number of items removed.
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

// reclaim removes the expired item r.
func (s *shard) reclaim(r ref) {
	it := s.item(r)
	c := s.class(it)
	c.Expired++
	if it.state&fetched == 0 {
		c.ExpiredUnfetched++
	}
	s.remove(r)
}
