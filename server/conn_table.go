package server

import (
	"iter"
	"sync"
	"sync/atomic"
)

// table finds a connection by its descriptor. It is made of chunks that never move, so that reading takes no lock and ten
// thousand new connections leave no outgrown copies behind. Only the loop that owns a descriptor changes its place.
type table struct {
	mu     sync.Mutex // to add a chunk
	chunks atomic.Pointer[[]*tableChunk]
}

type tableChunk [512]atomic.Pointer[loopConn]

func (t *table) get(fd int) *loopConn {
	chunks := t.chunks.Load()
	if i := fd / len(tableChunk{}); chunks != nil && fd >= 0 && i < len(*chunks) {
		return (*chunks)[i][fd%len(tableChunk{})].Load()
	}
	return nil
}

// set puts c into the place of fd; nil empties it.
func (t *table) set(fd int, c *loopConn) {
	i := fd / len(tableChunk{})
	if chunks := t.chunks.Load(); chunks == nil || i >= len(*chunks) {
		t.grow(i + 1)
	}
	(*t.chunks.Load())[i][fd%len(tableChunk{})].Store(c)
}

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

// all goes through the connections that are in the table as it comes by.
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
