package store

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// shard is a store for the keys whose hashes begin with its number. mu guards all fields except returned, waiters and the atomic ones.
type shard struct {
	mu             sync.Mutex
	limit          int64  // bytes
	now            uint32 // the latest second that has been seen
	flushAt        uint32 // the second at whose beginning everything is flushed; 0: never
	flushedThrough uint32 // a flush covers this second to its end: items stored in it are not found by later look-ups; 0: none
	noEvict        bool
	shrinking      bool   // evicts even with noEvict, and returns the last chunks first
	over           bool   // has more memory than limit, since pages were held when limit was lowered
	busy           bool   // is being changed; if still set after mu was acquired, a panic has interrupted the change
	generation     uint32 // number of times that the content was dropped after a panic
	maxItem        int
	onEvicted      func(Evicted) // Config.Evicted

	entry entry // of the goroutine that has called Lock

	arena
	policy
	index   index
	wheel   wheel
	leases  leases
	flushed flushed

	receiving receiving

	returned atomic.Pointer[Lease] // list of leases that takeBack ends
	returns  uint64                // number of times that held memory was returned
	waiters  waiters

	pin            ref    // the item of the current operation, which is neither moved nor removed to make room
	reinserts      int    // items that the operation may still reinsert
	walked         uint32 // slots that walk has returned
	steps          int    // work of all operations, in items
	classes        [classCount]Class
	reaped         int64 // items that Reap has freed
	lateLookups    int64 // look-ups that found an item that had expired,
	flushedLookups int64 // and an item that had been flushed
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
	s.entry.shard = s
	s.setCapacity(int(limit / chunkBytes))
	s.wheel.second = now
	s.index.init()
}

// memory returns the size of the shard in bytes: itself, its tables and its chunks.
func (s *shard) memory() int64 { return shardBytes + s.tables() + int64(s.chunks)*chunkBytes }

// tables returns the size of the tables in bytes.
func (s *shard) tables() int64 {
	return int64(cap(s.slots))*slotBytes + int64(cap(s.table))*pageEntry + int64(cap(s.region.pieces))*pieceBytes +
		int64(cap(s.index.segments))*pointer + int64(len(s.index.segments))*segmentSize
}

// enter begins an operation: it updates the clock, ends returned leases, and carries out a flush whose time has come.
func (s *shard) enter(now uint32) {
	s.now = max(s.now, now)
	s.reinserts = maxReinserts
	if s.returned.Load() != nil {
		s.takeBack()
	}
	if s.flushedThrough != 0 && s.flushedThrough < s.now {
		s.flushAt, s.flushedThrough = s.now, 0 // items stored in that second are flushed, too
	}
	if s.flushAt != 0 && s.flushAt <= s.now {
		s.flush()
	}
}

// reap is expire for Reap. It also frees the items of a flush in an earlier second.
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
