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

// lock begins an operation in a shard.
func (s *Store) lock(sh *shard) {
	sh.mu.Lock()
	sh.enter(second(s.now()))
}

// Lock locks the part of the store in which a key belongs, and looks the key up. The lock is held until Entry.Unlock; who holds it
// must not lock another key. The store reads key until then and does not keep it.
func (s *Store) Lock(key []byte) Entry {
	h := s.hash(key)
	sh := &s.shards[h>>s.shift]
	s.lock(sh)
	e := Entry{shard: sh, key: key, hash: uint32(h)}
	e.ref, e.late = sh.lookup(uint32(h), key)
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
// what an earlier one has left to be done. It takes each shard in its turn, so what others store meanwhile may be removed or stay.
func (s *Store) FlushAll(at int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		s.lock(sh)
		sh.voided = 0
		if at <= int64(sh.now) {
			sh.flush()
		} else {
			sh.flushAt = second(at)
		}
		sh.mu.Unlock()
	}
}

// FlushThrough is FlushAll for what is stored until a second ends, from when it begins: what is stored in it is gone at once. A second
// that has been is none: then only what an earlier call has left to be done is not done.
func (s *Store) FlushThrough(last int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		s.lock(sh)
		sh.flushAt, sh.voided = 0, 0
		if last >= int64(sh.now) {
			sh.flushAt, sh.voided = second(last), second(last)
			sh.enter(sh.now)
		}
		sh.mu.Unlock()
	}
}

// Reap frees items that have expired, and returns how many. It takes about n steps, each of which frees an item or brings one
// nearer to its time. It is for a timer; without it an expired item is gone all the same, but its memory is used until it is asked
// for or room is needed.
func (s *Store) Reap(n int) int {
	found := 0
	for range s.shards {
		if n <= 0 {
			break
		}
		sh := &s.shards[int(s.reaped.Add(1))%len(s.shards)]
		s.lock(sh)
		before := sh.steps
		found += sh.reap(n)
		n -= 1 + sh.steps - before
		sh.mu.Unlock()
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
			s.lock(sh)
			done = sh.setLimit(s.share(n))
			sh.mu.Unlock()
		}
	}
	return nil
}
