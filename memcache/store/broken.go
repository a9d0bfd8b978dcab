package store

// A panic while a shard is changed is a fault of this package, or of the system's memory. It leaves busy set. The content may be
// inconsistent then; it is a cache's, so it is dropped, and the shard goes on with an empty one.

// within calls fn with a shard locked, and its clock brought up to now. Any goroutine.
func (s *Store) within(sh *shard, fn func()) {
	now := second(s.now()) // the user's function, so before the lock
	sh.change(func() {
		sh.enter(now)
		fn()
	})
}

// change calls fn with the shard locked.
func (s *shard) change(fn func()) {
	s.mu.Lock()
	defer s.unlock()
	s.busy = true
	fn()
	s.busy = false
}

// unlock ends the use of a shard that is locked.
func (s *shard) unlock() {
	broken := s.busy
	if broken {
		s.reset()
	}
	s.mu.Unlock()
	if broken {
		s.waiters.wake()
	}
}

// unlockBroken is deferred by what locks a shard and returns with it locked, for the case that it panics.
func (s *shard) unlockBroken() {
	if s.busy {
		s.unlock()
	}
}

// reset replaces the content by an empty one, and looks at nothing of the old one. Leases and values that are being received keep the
// memory that they have of the old one, and are of another life.
func (s *shard) reset() {
	s.busy, s.over, s.shrinking, s.pin, s.flushed = false, false, false, 0, flushed{}
	s.life++
	s.returns++
	s.arena, s.policy, s.wheel = arena{}, policy{}, wheel{second: s.now}
	s.setCapacity(int(s.limit / chunkBytes))
	s.index.init()
	s.leases.newest, s.leases.oldest = nil, nil
	s.leases.out.Store(0)
	for i := range s.classes {
		c := &s.classes[i]
		c.Items, c.Bytes, c.Unfetched = 0, 0, 0
	}
}
