package outq

import "sync"

const (
	smallBlock = 2 << 10  // an answer's worth; what a queue from Get has
	largeBlock = 16 << 10 // few enough slices for writev, and soon given back
)

// A block is memory for copies. It is written from front to back, once. Segments show parts of it: several, if what is not
// copied stands between them, so that many small copies share a block.
type block struct {
	buf   []byte
	w     int // buf[:w] has been written
	views int // segments that show a part
}

var (
	smallBlocks = sync.Pool{New: func() any { return &block{buf: make([]byte, smallBlock)} }}
	largeBlocks = sync.Pool{New: func() any { return &block{buf: make([]byte, largeBlock)} }}
)

func (b *block) room() int { return len(b.buf) - b.w }

// free gives b, which nobody looks at any more, back to its pool.
func (b *block) free() {
	b.w = 0
	if len(b.buf) == smallBlock {
		smallBlocks.Put(b)
	} else {
		largeBlocks.Put(b)
	}
}
