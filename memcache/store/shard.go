package store

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// shard is a store for the keys whose hashes begin with its number. Everything is under mu.
type shard struct {
	mu        sync.Mutex
	limit     int64  // bytes
	now       uint32 // the latest second that has been seen
	flushAt   uint32 // the second at whose beginning everything is flushed; 0: never
	voided    uint32 // the second until whose end everything is flushed: no later look-up finds what is stored in it; 0: none
	noEvict   bool
	shrinking bool   // evicts all the same, and gives the last chunks back first
	over      bool   // has more memory than limit, since some was held when limit was lowered
	busy      bool   // is being changed: if it is seen with mu free to take, a panic has left the change half done
	life      uint32 // how often a panic has had the content dropped
	maxItem   int
	onEvicted func(Evicted) // Config.Evicted

	arena
	policy
	index   index
	wheel   wheel
	leases  leases
	flushed flushed

	returned atomic.Pointer[Lease] // those that takeBack is to end
	returns  uint64                // times that memory that was held has come back
	waiters  waiters

	pin     ref    // the item that an operation is about, which is neither moved nor removed to make room
	mercy   int    // items that the operation may still spare
	walked  uint32 // slots that drain has looked at
	steps   int    // what operations have done, item by item
	classes [classCount]Class
	reaped  int64 // items that Reap has freed
	late    int64 // look-ups that met an item that had expired,
	void    int64 // and an item that had been flushed
}

const (
	shardBytes = int64(unsafe.Sizeof(shard{}))
	slotBytes  = int64(unsafe.Sizeof(slot{}))
	pieceBytes = pointer + int64(unsafe.Sizeof(piece{}))
	pointer    = int64(unsafe.Sizeof(uintptr(0)))
)

// init makes an empty shard.
func (s *shard) init(limit int64, now uint32) {
	s.limit = limit
	s.now = now
	s.setCapacity(int(limit / chunkBytes))
	s.wheel.second = now
	s.index.init()
}

// memory is all that the shard has: itself, its tables and its chunks.
func (s *shard) memory() int64 { return shardBytes + s.tables() + int64(s.chunks)*chunkBytes }

// tables is the memory of what is beside the items.
func (s *shard) tables() int64 {
	return int64(cap(s.slots))*slotBytes + int64(cap(s.table))*pageEntry + int64(cap(s.region.pieces))*pieceBytes +
		int64(cap(s.index.segments))*pointer + int64(len(s.index.segments))*segmentSize
}

// enter begins an operation: it brings the clock up to now and carries out a flush whose time has come.
func (s *shard) enter(now uint32) {
	s.now = max(s.now, now)
	s.mercy = mercy
	if s.returned.Load() != nil {
		s.takeBack()
	}
	if s.voided != 0 && s.voided < s.now {
		s.flushAt, s.voided = s.now, 0 // what was stored in that second goes, too
	}
	if s.flushAt != 0 && s.flushAt <= s.now {
		s.flush()
	}
}

// reap is expire for Reap. It frees also what a flush in an earlier second has removed.
func (s *shard) reap(n int) int {
	found := 0
	switch s.flushed.second {
	case 0:
		found = s.expire(n)
	case s.now: // look-ups may still count it
	default:
		found = s.freeFlushed()
	}
	s.reaped += int64(found)
	return found
}
