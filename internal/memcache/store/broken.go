package store

// A panic while a shard is being changed is a fault of this package or of the hardware. It leaves busy set, and the content may be
// inconsistent. Since it is a cache, the content is dropped, and the shard continues empty.

// within calls fn with a shard locked and its clock updated. Any goroutine.
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

// unlock unlocks the shard. It resets a shard whose change was interrupted by a panic.
func (s *shard) unlock() {
	if s.busy {
		s.unlockReset()
		return
	}
	s.mu.Unlock()
}

// unlockReset resets the shard and unlocks it.
func (s *shard) unlockReset() {
	s.reset()
	s.mu.Unlock()
	s.waiters.wake()
}

// unlockBroken is deferred by functions that return with the shard locked. It unlocks the shard if they panic.
func (s *shard) unlockBroken() {
	if s.busy {
		s.unlock()
	}
}

// reset replaces the content with an empty one, without reading the old one. Leases and values that are being received keep their memory of
// the old content, and belong to an earlier generation.
func (s *shard) reset() {
	s.busy, s.over, s.shrinking, s.pin, s.flushed = false, false, false, 0, flushed{}
	s.generation++
	s.returns++
	s.arena, s.policy, s.wheel = arena{}, policy{}, wheel{second: s.now}
	s.setCapacity(int(s.limit / chunkBytes))
	s.index.init()
	s.leases.newest, s.leases.oldest = nil, nil
	s.leases.out.Store(0)
	s.receiving.newest = nil
	s.receiving.out.Store(0)
	for i := range s.classes {
		c := &s.classes[i]
		c.Items, c.Bytes, c.Unfetched = 0, 0, 0
	}
}
