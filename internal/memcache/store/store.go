package store

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Store is a cache. Its methods may be called from any goroutine; those of an Entry only by the goroutine that has locked it.
type Store struct {
	shards []shard
	shift  uint // of a hash, to the shard's number
	seed   maphash.Seed
	now    func() int64
	cas    atomic.Uint64
	sizing sync.Mutex    // serializes SetMemory
	memory atomic.Int64  // limit
	reaped atomic.Uint32 // shards that Reap has visited
}

const storeBytes = int64(unsafe.Sizeof(Store{}))

// New makes a store. The error is ErrInvalid.
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

// share returns each shard's part of n bytes.
func (s *Store) share(n int64) int64 { return (n - storeBytes) / int64(len(s.shards)) }

// Lock locks the shard of a key and looks the key up. The lock is held until Entry.Unlock; until then the goroutine must not lock another key.
// If a method of the store or of an Entry panics, Unlock must still be called, so it should be deferred; the shard is empty then. The store
// reads key until Unlock and does not retain it. Any goroutine.
func (s *Store) Lock(key []byte) Entry {
	h := s.hash(key)
	sh := &s.shards[h>>s.shift]
	now := second(s.now()) // the user's function, so before the lock
	sh.mu.Lock()
	defer sh.unlockBroken()
	sh.busy = true
	sh.enter(now)
	e := &sh.entry
	e.key, e.hash, e.past, e.held = key, uint32(h), false, 0
	e.ref, e.finding = sh.lookup(uint32(h), key)
	sh.busy = false
	return Entry{e}
}

func (s *Store) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }

func (s *Store) shardOf(key []byte) *shard { return &s.shards[s.hash(key)>>s.shift] }

// NextCAS returns a number that it has not returned before. The numbers rise, from 1. Any goroutine.
func (s *Store) NextCAS() uint64 { return s.cas.Add(1) }

// RaiseCAS makes NextCAS return numbers above n. It is for items that are stored with unique numbers from elsewhere. Any goroutine.
func (s *Store) RaiseCAS(n uint64) {
	for {
		last := s.cas.Load()
		if last >= n || s.cas.CompareAndSwap(last, n) {
			return
		}
	}
}

// FlushAll removes, when the second at begins, all items stored before it; at once if at is not in the future. A call replaces the pending flush
// of an earlier call. The shards are flushed one by one, so items stored meanwhile may be removed or not. The memory is freed when it is
// needed, or by Reap in a later second. Any goroutine.
func (s *Store) FlushAll(at int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		s.within(sh, func() {
			if at <= int64(sh.now) || sh.flushInForce() {
				sh.flush()
			}
			sh.flushAt, sh.flushedThrough = 0, 0
			if at > int64(sh.now) {
				sh.flushAt = second(at)
			}
		})
	}
}

// FlushThrough removes all items stored until the second last ends. It takes effect when that second begins: an item stored in that second is
// not found by a later Lock. If the second has passed, nothing is removed, and the pending flush of an earlier call is cancelled. Any
// goroutine.
func (s *Store) FlushThrough(last int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		s.within(sh, func() {
			if sh.flushInForce() {
				sh.flush() // what was stored in this second has been removed already
			}
			sh.flushAt, sh.flushedThrough = 0, 0
			if last >= int64(sh.now) {
				sh.flushAt, sh.flushedThrough = second(last), second(last)
				sh.enter(sh.now)
			}
		})
	}
}

// Reap frees expired items and returns their number. It takes about n steps; each frees an item or moves one to a finer slot of the timer wheel.
// It also frees all items that were flushed in an earlier second, which does not count as steps. A timer should call it. Without it an
// expired item is not found either, but its memory is used until it is looked up or room is needed. Any goroutine.
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

// SetMemory changes Config.Memory to n bytes. To reach a lower limit it evicts items, even with NoEvict, and holds each shard's lock for short
// times only. Pages that are held keep the store above the limit until they are returned. A lower limit may lower the size up to which items
// can be stored. The error is ErrInvalid: each shard needs MinMemory. Any goroutine.
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
