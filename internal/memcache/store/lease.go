package store

import (
	"errors"
	"sync"
	"sync/atomic"
)

// A Lease keeps the whole pages of a large value in place after Unlock: they neither change nor move until they are returned. The item may be
// replaced or removed meanwhile; its pages are freed when their last lease has been returned.
type Lease struct {
	shard      *shard
	generation uint32   // the shard's
	pieces     []*piece // the region's, so that they stay mapped if the shard's content is dropped
	exts       []extent
	parts      [][]byte
	holder     any
	since      uint32       // second
	out        atomic.Int32 // parts that have not been returned
	returned   func(error)
	next       *Lease // in the list of returned leases
	newer      *Lease // in the list of outstanding leases
	older      *Lease
}

var leaseMemory = sync.Pool{New: func() any {
	l := &Lease{}
	l.returned = func(error) { l.Return(1) }
	return l
}}

// Borrow returns a lease of the whole pages of the value, or nil if the value is shorter than 16 KB. The caller copies the Tail before Unlock.
// Store.Leases reports the holder.
func (e *Entry) Borrow(holder any) *Lease {
	it := e.item()
	if it.state&large == 0 {
		return nil
	}
	s := e.shard
	l := leaseMemory.Get().(*Lease)
	l.shard, l.holder, l.since = s, holder, s.now
	l.generation, l.pieces = s.generation, s.region.pieces
	last := extent(0)
	for x := it.first(); x != 0; x = s.table[x].next {
		l.exts = append(l.exts, x)
		l.parts = s.appendPart(l.parts, x, last)
		last = x + 1<<s.table[x].order
	}
	s.hold(it.first())
	l.out.Store(int32(len(l.parts)))
	s.leases.add(l)
	return l
}

// Parts returns the lent memory, which must not be written. The list of parts is valid until the last part is returned.
func (l *Lease) Parts() [][]byte { return l.parts }

// Len returns the number of bytes lent.
func (l *Lease) Len() int {
	n := 0
	for _, p := range l.parts {
		n += len(p)
	}
	return n
}

// Return returns n of the parts, in any order. Each part must be returned once. The lease ends with the last part and must not be used
// afterwards. Any goroutine.
func (l *Lease) Return(n int) {
	if l.out.Add(int32(-n)) > 0 {
		return
	}
	s := l.shard // l may be reused as soon as it is in the list
	for {
		l.next = s.returned.Load()
		if s.returned.CompareAndSwap(l.next, l) {
			break
		}
	}
	s.waiters.wake()
}

// Returned returns a function that calls Return(1), in the form of a release function. It does not allocate.
func (l *Lease) Returned() func(error) { return l.returned }

// leases is the list of outstanding leases.
type leases struct {
	newest, oldest *Lease
	out            atomic.Int32 // their number; also read without the lock
}

func (ls *leases) add(l *Lease) {
	l.older = ls.newest
	if l.older != nil {
		l.older.newer = l
	} else {
		ls.oldest = l
	}
	ls.newest = l
	ls.out.Add(1)
}

func (ls *leases) remove(l *Lease) {
	ls.out.Add(-1)
	if l.newer != nil {
		l.newer.older = l.older
	} else {
		ls.newest = l.older
	}
	if l.older != nil {
		l.older.newer = l.newer
	} else {
		ls.oldest = l.newer
	}
	l.newer, l.older = nil, nil
}

// takeBack ends the leases that have been returned.
func (s *shard) takeBack() {
	for l := s.returned.Swap(nil); l != nil; {
		next := l.next
		if l.generation == s.generation {
			s.endLease(l)
		}
		s.returns++
		clear(l.parts)
		l.shard, l.holder, l.next, l.pieces = nil, nil, nil, nil
		l.newer, l.older = nil, nil
		l.exts, l.parts = l.exts[:0], l.parts[:0]
		if cap(l.exts) <= keptExtents {
			leaseMemory.Put(l)
		}
		l = next
	}
	if s.over {
		s.shrinkOn()
	}
}

// endLease releases the pages of a lease of the present content.
func (s *shard) endLease(l *Lease) {
	for _, e := range l.exts {
		if t := &s.table[e]; t.lent == 1 && t.use == loose {
			s.gone -= 1 << t.order
		}
		s.releaseHold(e)
	}
	s.leases.remove(l)
}

// waiters are functions to be called when memory has been returned.
type waiters struct {
	any  atomic.Bool
	mu   sync.Mutex // guards call
	call []func()
}

// add adds a function for the next wake.
func (w *waiters) add(fn func()) {
	w.mu.Lock()
	w.call = append(w.call, fn)
	w.any.Store(true)
	w.mu.Unlock()
}

// wake calls each waiting function once.
func (w *waiters) wake() {
	if !w.any.Load() {
		return
	}
	w.mu.Lock()
	call := w.call
	w.call = nil
	w.any.Store(false)
	w.mu.Unlock()
	for _, fn := range call {
		fn()
	}
}

// wait arranges for fn to be called when the count of returns of the shard is not returns any more.
func (s *Store) wait(sh *shard, returns uint64, fn func()) {
	sh.waiters.add(fn)
	again := false
	s.within(sh, func() { again = sh.returns != returns })
	if again {
		sh.waiters.wake()
	}
}

// Extend returns ErrLent or ErrReceived if the item of a key cannot be stored with n more bytes because too much memory is lent or being
// received. The caller passes returns to Wait. Any goroutine, but not between Lock and Unlock.
func (s *Store) Extend(key []byte, n int) (returns uint64, err error) {
	if sh := s.shardOf(key); sh.leases.out.Load() == 0 && sh.receiving.out.Load() == 0 {
		return 0, nil
	}
	e := s.Lock(key)
	defer e.Unlock()
	pages := n / pageBytes
	if pages > 0 {
		pages++ // for the value that is received
	}
	if e.Found() {
		if pages += (n + e.Len()) / pageBytes; !e.shard.lentOut(e.ref) {
			pages += e.item().paged() // which are freed only after they have been copied
		}
	}
	if err = e.shard.mayTake(pages); errors.Is(err, ErrLent) || errors.Is(err, ErrReceived) {
		return e.shard.returns, err
	}
	return 0, nil
}

// Wait arranges for fn to be called once when memory of the shard of a key has been returned since Extend returned, possibly before Wait
// returns. Any goroutine, but not between Lock and Unlock.
func (s *Store) Wait(key []byte, returns uint64, fn func()) { s.wait(s.shardOf(key), returns, fn) }

// Holding describes an outstanding lease, or a value that is being received.
type Holding struct {
	Holder any
	Bytes  int64
	Since  int64 // second in which the lease began
}

// Leases appends the outstanding leases of the shard of a key, the oldest first. Any goroutine, but not between Lock and Unlock.
func (s *Store) Leases(key []byte, to []Holding) []Holding {
	return s.leasesOf(s.shardOf(key), to)
}

// AllLeases appends the outstanding leases of all shards. Any goroutine, but not between Lock and Unlock.
func (s *Store) AllLeases(to []Holding) []Holding {
	for i := range s.shards {
		to = s.leasesOf(&s.shards[i], to)
	}
	return to
}

func (s *Store) leasesOf(sh *shard, to []Holding) []Holding {
	s.within(sh, func() {
		for l := sh.leases.oldest; l != nil; l = l.newer {
			to = append(to, Holding{l.holder, int64(l.Len()), int64(l.since)})
		}
	})
	return to
}
