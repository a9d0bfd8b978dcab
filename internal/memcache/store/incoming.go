package store

import (
	"fmt"
	"sync"
)

// An Incoming is a value that is being received into pages of its key's shard, so that it is not copied when it is stored. It has memory for
// twice the bytes received, or for a chunk more, whichever is less, and not for all bytes announced. Its methods may be called from any
// goroutine, but not concurrently. Grow, Wait and Free lock the shard: they must not be called between Store.Lock and Entry.Unlock.
type Incoming struct {
	store      *Store
	shard      *shard
	generation uint32   // the shard's when the value first had memory
	pieces     []*piece // the region's: see Lease
	need       int      // bytes, at most
	exts       []extent
	parts      [][]byte // of exts
	size       int      // bytes received
	room       int      // bytes for which there is memory
	at         int      // the part that is written next
	used       int      // bytes of that part that have been written
	returns    uint64   // shard.returns when Grow failed
	holder     any
	short      bool      // Grow has failed
	newer      *Incoming // in the shard's list of values that have memory
	older      *Incoming
}

// firstPages is the smallest number of pages that Grow takes.
const firstPages = 2

// Receive begins a value of at most n bytes for a key. Every Incoming must be ended by Free. Store.Receiving reports the holder. Any goroutine.
func (s *Store) Receive(key []byte, n int, holder any) *Incoming {
	v := incomingMemory.Get().(*Incoming)
	v.store, v.shard, v.need, v.holder = s, s.shardOf(key), n, holder
	return v
}

var incomingMemory = sync.Pool{New: func() any { return &Incoming{} }}

// Len returns the number of bytes received.
func (v *Incoming) Len() int { return v.size }

// Held returns the memory of the value in bytes.
func (v *Incoming) Held() int { return v.room }

// Grow makes room for n more bytes. It panics if the value would have more bytes than announced to Receive. The error is ErrNoMemory, or ErrLent
// if there may be memory when leases have been returned, or ErrReceived if there may be when other values are complete or freed: see Wait.
func (v *Incoming) Grow(n int) error {
	if v.size+n > v.need {
		panic("store: more bytes than were announced to Receive")
	}
	if v.size+n <= v.room {
		return nil
	}
	var err error
	v.store.within(v.shard, func() {
		err = v.grow(n)
		v.short = err != nil
	})
	return err
}

// grow is Grow with the shard locked.
func (v *Incoming) grow(n int) error {
	s := v.shard
	s.freeFlushed()
	if len(v.exts) == 0 {
		v.generation = s.generation
	} else if v.generation != s.generation {
		return noRoom(v.size + n) // the memory of its beginning is not the shard's any more
	}
	for v.size+n > v.room {
		first := v.room == 0
		// As many bytes as have been received so far, in one piece if possible, but at most a chunk.
		pages := max(firstPages, pagesFor(min(2*(v.size+n)-v.room, chunkBytes)), pagesFor(v.size+n-v.room))
		pages = min(pages, pagesFor(v.need-v.room))
		if err := s.mayTake(pages); err != nil {
			v.returns = s.returns
			return err
		}
		had := len(v.exts)
		var got int
		if v.exts, got = s.takePages(min(pages, chunkPages), false, v.exts); got == 0 {
			v.returns = s.returns
			return s.shortage(pages)
		}
		last := extent(0)
		for _, e := range v.exts[had:] {
			v.parts = s.appendPart(v.parts, e, last)
			last = e + 1<<s.table[e].order
		}
		v.pieces = s.region.pieces
		v.room += got * pageBytes
		if first {
			s.receiving.add(v)
		}
	}
	return nil
}

// pagesFor returns the number of pages for n bytes.
func pagesFor(n int) int { return (n + pageBytes - 1) / pageBytes }

// mayTake returns an error if there cannot be n free pages even when everything that is not held is evicted.
func (s *shard) mayTake(n int) error {
	if most := s.mostPaged() * chunkPages; n > most-s.held {
		return s.shortage(n)
	}
	return nil
}

// shortage returns the error for a request of n pages that failed.
func (s *shard) shortage(n int) error {
	why := ErrNoMemory
	switch {
	case n > s.mostPaged()*chunkPages:
	case s.leases.oldest != nil:
		why = ErrLent
	case s.receiving.newest != nil:
		why = ErrReceived
	}
	return fmt.Errorf("%w: no room for %d bytes", why, n*pageBytes)
}

// Wait arranges for fn to be called once when memory has been returned since Grow failed, possibly before Wait returns.
func (v *Incoming) Wait(fn func()) { v.store.wait(v.shard, v.returns, fn) }

// Room returns the memory for the next bytes, up to the end of its piece. The caller may write to it until Append or Free.
func (v *Incoming) Room() []byte {
	if v.at == len(v.parts) {
		return nil
	}
	return v.parts[v.at][v.used:]
}

// Append appends bytes, without a copy if they are the beginning of Room. It panics if Grow has not made room for them.
func (v *Incoming) Append(p []byte) {
	for len(p) > 0 {
		to := v.Room()
		n := len(p)
		if &p[0] != &to[0] {
			n = copy(to, p)
		}
		v.size += n
		if v.used += n; v.used == len(v.parts[v.at]) {
			v.at, v.used = v.at+1, 0
		}
		p = p[n:]
	}
}

// AppendParts appends the pieces of the first n bytes to parts. They are the store's memory, valid until Free or PutLarge.
func (v *Incoming) AppendParts(parts [][]byte, n int) [][]byte {
	for _, p := range v.parts {
		if n <= len(p) {
			return append(parts, p[:n])
		}
		parts = append(parts, p)
		n -= len(p)
	}
	return parts
}

// copyOut copies bytes, beginning with offset from.
func (v *Incoming) copyOut(to []byte, from int) {
	for _, p := range v.parts {
		if from < len(p) {
			to = to[copy(to, p[from:]):]
		}
		from = max(0, from-len(p))
	}
}

// HasSuffix reports whether the bytes received end with text.
func (v *Incoming) HasSuffix(text string) bool {
	if v.size < len(text) {
		return false
	}
	at, used := v.at, v.used
	for i := len(text) - 1; i >= 0; i-- {
		if used == 0 {
			at--
			used = len(v.parts[at])
		}
		used--
		if v.parts[at][used] != text[i] {
			return false
		}
	}
	return true
}

// Free ends the value and frees its memory, unless PutLarge has stored it. v must not be used afterwards.
func (v *Incoming) Free() {
	if len(v.exts) > 0 {
		s := v.shard
		s.change(func() { // without the clock, which could fail
			s.reinserts = maxReinserts
			if v.generation == s.generation {
				s.receiving.remove(v)
				for _, e := range v.exts {
					s.releaseHold(e)
				}
			}
			s.returns++
			if s.over {
				s.shrinkOn()
			}
		})
		s.waiters.wake()
	}
	v.taken()
	v.store, v.shard, v.holder, v.short = nil, nil, nil, false
	if cap(v.exts) <= keptExtents {
		incomingMemory.Put(v)
	}
}

// keptExtents is the capacity up to which a list of extents is kept for reuse.
const keptExtents = 1 << 10

// taken forgets the memory of the value, which now belongs to an item or is free.
func (v *Incoming) taken() {
	clear(v.parts)
	v.pieces = nil
	v.exts, v.parts = v.exts[:0], v.parts[:0]
	v.size, v.room, v.at, v.used = 0, 0, 0, 0
}
