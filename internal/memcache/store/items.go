package store

// lookup returns the live item of a key, or 0. It counts and removes an item that has been flushed or has expired.
func (s *shard) lookup(hash uint32, key []byte) (ref, Finding) {
	r := s.index.find(&s.arena, hash, key)
	switch {
	case r == 0:
		return 0, NotFound
	case s.flushed.second != 0:
		s.flushedLookups++
		s.removeFlushed(r)
		return 0, Flushed
	case s.flushInForce():
		s.flushedLookups++
		s.remove(r)
		return 0, Flushed
	case s.item(r).expired(s.now):
		s.lateLookups++
		s.remove(r)
		return 0, Expired
	}
	return r, Found
}

// size returns the memory of an item in bytes.
func (s *shard) size(it *item) int64 {
	return int64(it.size)*unit + int64(it.paged())*pageBytes
}

// count counts an item that is added, n = 1, or removed, n = -1.
func (s *shard) count(it *item, size, n int64) {
	c := &s.classes[classOf(size)]
	c.Items += n
	c.Bytes += n * size
	if it.state&fetched == 0 {
		c.Unfetched += n
	}
}

// class returns the counters of the class of an item.
func (s *shard) class(it *item) *Class { return &s.classes[classOf(s.size(it))] }

// link adds the item r, complete except for its links, to the shard.
func (s *shard) link(r ref) {
	it := s.item(r)
	if s.index.recall(it.hash) {
		it.setFrequency(1)
	}
	s.index.insert(&s.arena, r)
	s.enqueue(r)
	if it.expires != 0 {
		s.wheel.add(&s.arena, r)
	}
	s.count(it, s.size(it), 1)
}

// unlink removes the item r from the shard, but does not free its block.
func (s *shard) unlink(r ref) {
	it := s.item(r)
	s.count(it, s.size(it), -1)
	s.index.remove(&s.arena, r)
	s.dequeue(r)
	if it.expires != 0 {
		s.wheel.remove(&s.arena, r)
	}
	if it.state&large != 0 {
		s.unchain(it.first())
	}
}

// remove removes the item r, and returns the free block that contains its block then.
func (s *shard) remove(r ref) ref {
	s.unlink(r)
	return s.release(r)
}

// replace removes the item r and puts the item to, complete except for its links, in its place. If the size of to is of another class, to
// enters the queue of that class.
func (s *shard) replace(r, to ref) {
	old, it := s.item(r), s.item(to)
	s.count(old, s.size(old), -1)
	it.state |= old.state&frequencyBits | referenced
	it.next = old.next
	s.index.replace(&s.arena, it.hash, r, to)
	if k, c := s.place(r); c == classOf(s.size(it)) {
		it.newer, it.older, it.since = old.newer, old.older, old.since
		s.queues[k][c].replace(&s.arena, to)
	} else {
		s.dequeue(r)
		s.enqueue(to)
	}
	if old.expires != 0 {
		s.wheel.remove(&s.arena, r)
	}
	if it.expires != 0 {
		s.wheel.add(&s.arena, to)
	}
	if old.state&large != 0 {
		s.unchain(old.first())
	}
	s.release(r)
	s.count(it, s.size(it), 1)
}

// resized updates the accounts of the item r, whose value was overwritten and whose size was before. If its new size is of another class, it
// enters the queue of that class.
func (s *shard) resized(r ref, before int64) {
	it := s.item(r)
	after := s.size(it)
	old, class := classOf(before), classOf(after)
	c := &s.classes[class]
	if it.state&fetched != 0 {
		it.state &^= fetched
		s.classes[old].Unfetched++
	}
	c.Bytes += after - before
	if old != class {
		o := &s.classes[old]
		o.Items--
		o.Bytes -= before
		o.Unfetched--
		c.Items++
		c.Bytes += before
		c.Unfetched++
		s.leave(r, old)
		s.enqueue(r)
	}
}

// move moves the item r to another block, and reports whether there was one. The caller frees the old block.
func (s *shard) move(r ref) bool {
	n := s.tag(r).size
	to := s.take(n)
	if to == 0 {
		return false
	}
	prev := s.tag(to).prev
	s.relocate(r, to, n)
	s.tag(to).prev = prev
	return true
}

// setExpires changes when the item r expires.
func (s *shard) setExpires(r ref, expires uint32) {
	it := s.item(r)
	if it.expires == expires {
		return
	}
	if it.expires != 0 {
		s.wheel.remove(&s.arena, r)
	}
	if it.expires = expires; expires != 0 {
		s.wheel.add(&s.arena, r)
	}
}

// endPast makes the item r expire now.
func (s *shard) endPast(r ref) {
	defer s.unlockBroken()
	s.busy = true
	s.setExpires(r, s.wheel.second)
	s.busy = false
}
