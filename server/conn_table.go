package server

import (
	"iter"
	"sync"
	"sync/atomic"
)

// A table finds a connection by its descriptor. It consists of chunks that never move, so that reading needs no lock and growth leaves no
// copies behind. Only the loop that owns a descriptor changes the entry of the descriptor.
type table struct {
	mu     sync.Mutex // guards the growth of chunks
	chunks atomic.Pointer[[]*tableChunk]
}

type tableChunk [512]atomic.Pointer[loopConn]

// get returns the entry of fd, or nil if there is none.
func (t *table) get(fd int) *loopConn {
	chunks := t.chunks.Load()
	if i := fd / len(tableChunk{}); chunks != nil && fd >= 0 && i < len(*chunks) {
		return (*chunks)[i][fd%len(tableChunk{})].Load()
	}
	return nil
}

// set makes c the entry of fd; nil removes it.
func (t *table) set(fd int, c *loopConn) {
	i := fd / len(tableChunk{})
	if chunks := t.chunks.Load(); chunks == nil || i >= len(*chunks) {
		t.grow(i + 1)
	}
	(*t.chunks.Load())[i][fd%len(tableChunk{})].Store(c)
}

// grow makes the table have at least n chunks.
func (t *table) grow(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*tableChunk
	if chunks := t.chunks.Load(); chunks != nil {
		all = append(all, *chunks...)
	}
	for len(all) < n {
		all = append(all, new(tableChunk))
	}
	t.chunks.Store(&all)
}

// all returns an iterator over the connections in the table. Connections that are added or removed meanwhile may be included or not.
func (t *table) all() iter.Seq[*loopConn] {
	return func(yield func(*loopConn) bool) {
		chunks := t.chunks.Load()
		if chunks == nil {
			return
		}
		for _, chunk := range *chunks {
			for i := range chunk {
				if c := chunk[i].Load(); c != nil && !yield(c) {
					return
				}
			}
		}
	}
}
