package store

const (
	newQueue  = iota // of items that have yet to prove useful
	mainQueue        // of items that have
)

const (
	newShare  = 10  // per cent of the items' bytes that the queue of new items may have
	mercy     = 256 // items that an operation spares at most,
	moreMercy = 16  // and for each one that it evicts so many more
	expiring  = 8   // steps that a search for expired items takes before anything else is evicted
)

// victim returns the item that is to make room next, or 0.
//
// Items come into the queue of new ones. Those that nobody wanted before its end comes to them leave, and are remembered: if one
// comes back soon, it goes into the main queue at once, where the others go, too. There an item that was wanted goes to the front
// again. So a use writes to its own item alone, and items that are stored and never asked for do not displace those that are. The
// number of those that an operation spares is bounded: where all were wanted, the last one goes after all.
func (s *shard) victim() ref {
	for {
		n := s.longer()
		q := &s.queues[n]
		r := q.oldest
		if r == s.pin && q.oldest == q.newest { // alone
			n = newQueue + mainQueue - n
			r = s.queues[n].oldest
		}
		switch {
		case r == 0:
			return 0
		case r == s.pin:
		case s.mercy <= 0 || s.item(r).state&wanted == 0:
			return r
		}
		s.spare(n, r)
	}
}

// longer is the queue that has more than its share. It is empty only if both are.
func (s *shard) longer() int {
	added, main := s.queues[newQueue].bytes, s.queues[mainQueue].bytes
	if added*100 > (added+main)*newShare {
		return newQueue
	}
	return mainQueue
}

// spare moves r from the queue n to the front of the main queue.
func (s *shard) spare(n int, r ref) {
	s.steps++
	s.mercy--
	s.spared[n]++
	it := s.item(r)
	size := s.size(it)
	s.queues[n].remove(&s.arena, r)
	s.queues[n].bytes -= size
	it.state = it.state&^wanted | inMain
	s.queues[mainQueue].push(&s.arena, r)
	s.queues[mainQueue].bytes += size
}

// evicted counts that the item r has to go, and remembers it if it was new.
func (s *shard) evicted(r ref) {
	s.steps++
	s.mercy += moreMercy
	it := s.item(r)
	if it.state&inMain == 0 {
		s.index.remember(it.hash)
	}
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
