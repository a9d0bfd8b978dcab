package store

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Store is a cache. Its methods may be called from any goroutine; those of an Entry by who has locked it.
type Store struct {
	shards []shard
	shift  uint // of a hash, to the shard's number
	seed   maphash.Seed
	now    func() int64
	cas    atomic.Uint64
	sizing sync.Mutex    // of SetMemory
	memory atomic.Int64  // limit
	reaped atomic.Uint32 // shards that Reap has been at
}

const storeBytes = int64(unsafe.Sizeof(Store{}))

// New makes a store. The error is ErrConfig.
func New(c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		shards: make([]shard, c.Shards),
		shift:  64 - uint(bits.Len(uint(c.Shards-1))),
		seed:   maphash.MakeSeed(),
		now:    c.Now,
	}
	s.memory.Store(c.Memory)
	for i := range s.shards {
		s.shards[i].maxItem, s.shards[i].noEvict = c.MaxItem, c.NoEvict
		s.shards[i].onEvicted = c.Evicted
		s.shards[i].init(s.share(c.Memory), second(c.Now()))
	}
	return s, nil
}

// share is each shard's part of n bytes.
func (s *Store) share(n int64) int64 { return (n - storeBytes) / int64(len(s.shards)) }

// Lock locks the part of the store in which a key belongs, and looks the key up. The lock is held until Entry.Unlock; who holds it
// must not lock another key. When a method of the store or of an Entry panics, Unlock must still be called, so defer it; the part is
// empty then. The store reads key until then and does not keep it.
func (s *Store) Lock(key []byte) Entry {
	h := s.hash(key)
	sh := &s.shards[h>>s.shift]
	now := second(s.now()) // the user's function, so before the lock
	sh.mu.Lock()
	defer sh.unlockBroken()
	sh.busy = true
	sh.enter(now)
	e := Entry{shard: sh, key: key, hash: uint32(h)}
	e.ref, e.finding = sh.lookup(uint32(h), key)
	sh.busy = false
	return e
}

func (s *Store) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }

func (s *Store) shardOf(key []byte) *shard { return &s.shards[s.hash(key)>>s.shift] }

// NextCAS returns a number that no item has yet. They rise, from 1.
func (s *Store) NextCAS() uint64 { return s.cas.Add(1) }

// RaiseCAS has NextCAS return numbers above n from now on, for items that are brought with numbers of their own.
func (s *Store) RaiseCAS(n uint64) {
	for {
		last := s.cas.Load()
		if last >= n || s.cas.CompareAndSwap(last, n) {
			return
		}
	}
}

// FlushAll removes everything that is stored before the second at, when it comes; at once if that is now or has been. A call replaces
// what an earlier one has left to be done. It takes each shard in its turn, so what others store meanwhile may be removed or stay. The
// memory is free when it is needed, or after a Reap in a later second.
func (s *Store) FlushAll(at int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		s.within(sh, func() {
			if at <= int64(sh.now) || sh.voids() {
				sh.flush()
			}
			sh.flushAt, sh.voided = 0, 0
			if at > int64(sh.now) {
				sh.flushAt = second(at)
			}
		})
	}
}

// FlushThrough is FlushAll for what is stored until the second last ends. It is in force from when that second begins: what is stored in
// that second is found by no later Lock. If the second has passed, nothing is removed; only what an earlier call has left to be done is
// cancelled.
func (s *Store) FlushThrough(last int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		s.within(sh, func() {
			if sh.voids() {
				sh.flush() // what was stored in this second has been removed already
			}
			sh.flushAt, sh.voided = 0, 0
			if last >= int64(sh.now) {
				sh.flushAt, sh.voided = second(last), second(last)
				sh.enter(sh.now)
			}
		})
	}
}

// Reap frees items that have expired, and returns how many. It takes about n steps, each of which frees an item or brings one
// nearer to its time. It also frees all that was flushed in an earlier second, without a step for each. It is for a timer; without it an expired item is gone all the same, but its memory is used until it is asked
// for or room is needed.
func (s *Store) Reap(n int) int {
	found := 0
	for range s.shards {
		if n <= 0 {
			break
		}
		sh := &s.shards[int(s.reaped.Add(1))%len(s.shards)]
		s.within(sh, func() {
			before := sh.steps
			found += sh.reap(n)
			n -= 1 + sh.steps - before
		})
	}
	return found
}

// SetMemory changes Config.Memory. When it returns, the store keeps within the new limit; to that end it evicts, with each shard's
// lock held for a piece only, and even where NoEvict is set. The error is ErrConfig: each shard needs MinMemory. Other items than
// before may be refused with ErrNoMemory then.
func (s *Store) SetMemory(n int64) error {
	if err := checkShare(n, len(s.shards)); err != nil {
		return err
	}
	s.sizing.Lock()
	defer s.sizing.Unlock()
	s.memory.Store(n)
	for i := range s.shards {
		for done := false; !done; {
			sh := &s.shards[i]
			s.within(sh, func() { done = sh.setLimit(s.share(n)) })
		}
	}
	return nil
}
