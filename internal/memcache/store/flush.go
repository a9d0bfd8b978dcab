package store

// flushed is the account of items that a flush has removed and whose memory is not freed yet. They stay in place until an item is stored or
// Reap is called in a later second. So the work of a flush does not grow with the number of items, and a look-up can tell a key that was
// flushed from one that was never stored. While there are flushed items, the shard has no others: all are freed before an item is stored.
type flushed struct {
	second  uint32 // of the flush; 0: there are no flushed items
	classes [classCount]tally
}

// tally counts items of a size class.
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

// freeFlushed frees the memory of flushed items, chunk by chunk, except pages that are lent. It returns the number of items.
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
	s.policy = policy{reinserted: s.reinserted}
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

// flushInForce reports whether a flush covers the whole present second, so that no item stored in it is found.
func (s *shard) flushInForce() bool { return s.flushedThrough != 0 && s.flushedThrough == s.now }
