package store

// lookup finds a live item. It counts and removes one that has been flushed or has expired, and says which.
func (s *shard) lookup(hash uint32, key []byte) (ref, Finding) {
	r := s.index.find(&s.arena, hash, key)
	switch {
	case r == 0:
		return 0, NotFound
	case s.flushed.second != 0:
		s.void++
		s.removeFlushed(r)
		return 0, Flushed
	case s.voids():
		s.void++
		s.remove(r)
		return 0, Flushed
	case s.item(r).expired(s.now):
		s.late++
		s.remove(r)
		return 0, Expired
	}
	return r, Found
}

// size is all the bytes that an item takes.
func (s *shard) size(it *item) int64 {
	return int64(it.size)*unit + int64(it.paged())*pageBytes
}

// count counts an item of a size that has come, n = 1, or has gone, n = -1.
func (s *shard) count(it *item, size, n int64) {
	c := &s.classes[classOf(size)]
	c.Items += n
	c.Bytes += n * size
	if it.state&fetched == 0 {
		c.Unfetched += n
	}
}

// class is where what happens to an item is counted.
func (s *shard) class(it *item) *Class { return &s.classes[classOf(s.size(it))] }

// link makes the item r, complete but for its links, part of the shard.
func (s *shard) link(r ref) {
	it := s.item(r)
	if s.index.recall(it.hash) {
		it.setWorth(1)
	}
	s.index.insert(&s.arena, r)
	s.enqueue(r)
	if it.expires != 0 {
		s.wheel.add(&s.arena, r)
	}
	s.count(it, s.size(it), 1)
}

// unlink ends all of the item r but its block.
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

// remove ends the item r, and returns the free block that its own is part of then.
func (s *shard) remove(r ref) ref {
	s.unlink(r)
	return s.release(r)
}

// replace puts the item to, complete but for its links, where r is, which ends. If it has a size of another class, it begins a new
// life there.
func (s *shard) replace(r, to ref) {
	old, it := s.item(r), s.item(to)
	s.count(old, s.size(old), -1)
	it.state |= old.state&worthBits | wanted
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

// resized accounts for the item r, whose value was written over another one: it had so many bytes before. If its size is of another
// class now, it begins a new life there.
func (s *shard) resized(r ref, before int64) {
	it := s.item(r)
	after := s.size(it)
	s.count(it, before, -1)
	it.state &^= fetched
	s.count(it, after, 1)
	if old := classOf(before); old != classOf(after) {
		s.leave(r, old)
		s.enqueue(r)
	}
}

// move moves the item r to another block, if there is one. The caller takes care of its own block.
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

// endPast has the item r expire now.
func (s *shard) endPast(r ref) {
	defer s.unlockBroken()
	s.busy = true
	s.setExpires(r, s.wheel.second)
	s.busy = false
}
