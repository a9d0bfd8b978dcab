package outq

import "sync"

const (
	smallBlock = 2 << 10  // enough for most answers; the block of a queue from Get
	largeBlock = 16 << 10 // large enough for few slices in a writev, and small enough to be freed soon
)

// A block is memory for copies. It is filled once, from the start to the end. Several segments may refer to parts of it, if bytes that are not
// copied are between them. So many small copies share a block.
type block struct {
	buf   []byte
	w     int // buf[:w] has been written
	views int // segments that refer to a part
}

var (
	smallBlocks = sync.Pool{New: func() any { return &block{buf: make([]byte, smallBlock)} }}
	largeBlocks = sync.Pool{New: func() any { return &block{buf: make([]byte, largeBlock)} }}
)

func (b *block) room() int { return len(b.buf) - b.w }

// free returns b, which is no longer used, to its pool.
func (b *block) free() {
	b.w = 0
	if len(b.buf) == smallBlock {
		smallBlocks.Put(b)
	} else {
		largeBlocks.Put(b)
	}
}
