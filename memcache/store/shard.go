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
	flushAt   uint32 // the second in which everything stored before it is gone; 0: never
	voided    uint32 // the second in which nothing stored is kept; 0: none
	noEvict   bool
	shrinking bool // evicts all the same, and gives the last chunks back first
	maxItem   int

	arena
	policy
	index  index
	wheel  wheel
	larges larges
	lent   atomic.Int64 // bytes of large values whose items are gone and that somebody still has

	pin     ref    // the item that an operation is about, which is neither moved nor removed to make room
	mercy   int    // items that the operation may still spare
	walked  uint32 // slots that drain has looked at
	steps   int    // what operations have done, item by item
	classes [classCount]Class
	reaped  int64 // items that Reap has freed
}

const (
	shardBytes = int64(unsafe.Sizeof(shard{}))
	slotBytes  = int64(unsafe.Sizeof(slot{}))
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

// memory is all that the shard has: itself, its tables, its chunks and the large values, also those whose items are gone.
func (s *shard) memory() int64 {
	return shardBytes + s.tables() + int64(s.chunks)*chunkBytes + s.larges.bytes + s.lent.Load()
}

// tables is the memory of what is beside the items.
func (s *shard) tables() int64 {
	return int64(cap(s.slots))*slotBytes +
		int64(cap(s.index.segments))*pointer + int64(len(s.index.segments))*segmentSize +
		int64(cap(s.larges.groups))*pointer + int64(len(s.larges.groups))*groupBytes
}

// enter begins an operation: it brings the clock up to now and carries a flush out whose time has come.
func (s *shard) enter(now uint32) {
	s.now = max(s.now, now)
	s.mercy = mercy
	if s.flushAt != 0 && s.flushAt <= s.now {
		s.flush()
	}
}

// flush removes everything: small items chunk by chunk, and large values one by one, since some may be lent.
func (s *shard) flush() {
	s.flushAt = 0
	for i := range s.classes {
		s.classes[i].Items, s.classes[i].Bytes = 0, 0
	}
	s.freeAll()
	s.index.init()
	s.policy = policy{spared: s.spared}
	s.wheel = wheel{second: s.now}
	s.larges.removeAll()
}

const (
	shrinkPiece = 2 * chunkBytes // that a shard shrinks by with its lock held once
	shrinkMercy = 8192           // items that it spares meanwhile
)

// setLimit brings the limit to n, or nearer to it, and says whether it is there.
func (s *shard) setLimit(n int64) bool {
	if n < s.memory() {
		s.shrinking = true
		s.mercy = shrinkMercy
		s.limit = max(n, s.memory()-shrinkPiece)
		s.afford(0)
		s.shrinking = false
		if s.limit > n {
			return false
		}
	}
	s.limit = n
	s.setCapacity(int(n / chunkBytes))
	return true
}

// reap is expire for Reap.
func (s *shard) reap(n int) int {
	found := s.expire(n)
	s.reaped += int64(found)
	return found
}
