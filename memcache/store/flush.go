package store

// flushed is what a flush has removed, while it still takes memory. It stays where it is until memory is needed or Reap is called in a
// later second, so that a flush takes no step for each item, and a look-up can tell a key that was flushed from one that was never
// there. While there is any, the shard has no other items: before one is stored, all of it is freed.
type flushed struct {
	second  uint32 // of the flush; 0: there is nothing
	classes [classCount]tally
}

// tally is items of a size class.
type tally struct{ items, bytes, unfetched int64 }

// flush removes all items.
func (s *shard) flush() {
	s.flushAt = 0
	if s.index.items == 0 || s.flushed.second != 0 {
		return
	}
	s.flushed.second = s.now
	for i := range s.classes {
		c := &s.classes[i]
		s.flushed.classes[i] = tally{c.Items, c.Bytes, c.Unfetched}
		c.Items, c.Bytes, c.Unfetched = 0, 0, 0
	}
}

// freeFlushed frees what a flush has removed, chunk by chunk, but for what is lent. It returns how many items these were.
func (s *shard) freeFlushed() int {
	if s.flushed.second == 0 {
		return 0
	}
	found := int64(0)
	for i := range s.classes {
		c, f := &s.classes[i], &s.flushed.classes[i]
		c.Expired += f.items
		c.ExpiredUnfetched += f.unfetched
		found += f.items
	}
	s.flushed = flushed{}
	s.freeAll()
	s.index.init()
	s.policy = policy{spared: s.spared}
	s.wheel = wheel{second: s.now}
	s.unchainAll()
	return int(found)
}

// removeFlushed frees the item r, which a flush has removed.
func (s *shard) removeFlushed(r ref) {
	it := s.item(r)
	size := s.size(it)
	f := &s.flushed.classes[classOf(size)]
	f.items--
	f.bytes -= size
	if it.state&fetched == 0 {
		f.unfetched--
	}
	s.count(it, size, 1) // as one of the others, which remove counts
	s.remove(r)
	if s.index.items == 0 {
		s.flushed = flushed{}
	}
}

// voids reports whether a flush is in force for the whole of this second: then no item that is stored in it is found.
func (s *shard) voids() bool { return s.voided != 0 && s.voided == s.now }
