package outq

import (
	"fmt"
	"os"
	"sync"
)

// A Queue holds what waits to be written. The zero value is an empty queue that takes its memory from the pools as bytes come;
// one from Get is quicker. A queue must not be copied.
type Queue struct {
	// first is the block that a queue from Get has, without memory in others. first.buf[r:f] is the head of the queue, before
	// all segments. Without segments f is first.w: then room behind it can be taken by moving both on. r and f are 0 when
	// nothing waits between them.
	first block
	r, f  int

	last   *block // the block with room that was taken last, shown by some segment; nil stands for first
	segs   []segment
	head   int   // segs[:head] have been taken out. 0 if that would be all
	size   int64 // bytes that wait in the segments
	file   int64 // and how many of them are of files
	copied int64 // and how many of them are copies, in blocks
	held   int   // bytes of the blocks but the first
	cost   int64 // of the segments, beside their bytes
	files  int   // segments of files
}

// A Done is a completion: the queue's owner calls it with nil when everything before it has been written, or with the reason
// why not all has been.
type Done func(error)

// A File is a part of a file. It is the queue's from AppendFile on; File gives it to the one who sends it, who only reads it.
type File struct {
	F      *os.File
	Offset int64 // where what waits begins
	Remain int64 // how many bytes wait
	Done   Done  // may be nil
}

var queues = sync.Pool{New: func() any { return &Queue{first: block{buf: make([]byte, smallBlock)}} }}

// Get returns an empty queue with a block of 2 KB.
func Get() *Queue { return queues.Get().(*Queue) }

// Free gives q back to the pool. It panics if something waits in q. A queue that is not from Get is left to the garbage collector.
func (q *Queue) Free() {
	if !q.Empty() {
		panic("outq: Free of a queue that is not empty")
	}
	if q.first.buf != nil {
		queues.Put(q)
	}
}

// Len is how many bytes wait, those of files included.
func (q *Queue) Len() int64 { return int64(q.f-q.r) + q.size }

// Mem is what the queue takes up: Len without the bytes of files, which take no memory, and with SegmentCost for each slice of the
// user's and each completion, and FileCost for each file.
func (q *Queue) Mem() int { return int(q.Len() - q.file + q.cost) }

// What a queue takes up beside its bytes.
const (
	queueSize   = 256 // the queue itself
	segmentSize = 48  // each place in the list of segments
	closureSize = 64  // a completion, which is some function's closure
)

// Footprint is the memory that the queue takes up: the blocks that it holds, however few bytes wait in them, the user's slices, and what
// segments, completions and files need. A queue that waits to be freed has one, too.
func (q *Queue) Footprint() int {
	n := q.held + int(q.size-q.file-q.copied) + cap(q.segs)*segmentSize + q.files*FileCost
	n += int(q.cost-int64(q.files)*FileCost) / SegmentCost * closureSize
	if q.first.buf != nil {
		n += queueSize + smallBlock
	}
	return n
}

// Files is how many files wait.
func (q *Queue) Files() int { return q.files }

// Empty says that neither bytes nor completions wait.
func (q *Queue) Empty() bool { return q.r == q.f && len(q.segs) == 0 }

// Append copies p behind everything.
func (q *Queue) Append(p []byte) {
	if len(q.segs) == 0 && len(p) <= q.first.room() {
		q.first.w += copy(q.first.buf[q.first.w:], p)
		q.f = q.first.w
		return
	}
	q.appendMore(p)
}

func (q *Queue) appendMore(p []byte) {
	// In an empty queue p is not divided between the first block and another one: one slice is quicker to write than two.
	if !q.Empty() {
		b := q.tail()
		n := min(len(p), b.room())
		q.put(b, p[:n])
		p = p[n:]
	}
	for len(p) > 0 {
		b := q.grow(len(p))
		n := min(len(p), b.room())
		q.put(b, p[:n])
		p = p[n:]
	}
}

// tail is the block whose room is used next.
func (q *Queue) tail() *block {
	if q.last != nil {
		return q.last
	}
	return &q.first
}

// grow takes a block for n more bytes, as the tail. A small one does only where there is none.
func (q *Queue) grow(n int) *block {
	pool := &largeBlocks
	if n <= smallBlock && q.first.buf == nil && q.last == nil {
		pool = &smallBlocks
	}
	q.last = pool.Get().(*block)
	q.held += len(q.last.buf)
	return q.last
}

// put copies p, which fits, into b and shows it behind everything.
func (q *Queue) put(b *block, p []byte) {
	if len(p) == 0 {
		return
	}
	start := b.w
	b.w += copy(b.buf[start:], p)
	if b == &q.first && len(q.segs) == 0 {
		q.f = b.w
		return
	}
	if n := len(q.segs); n > 0 {
		// The capacity of a segment reaches to the end of its block, and so says where the segment ends.
		if s := &q.segs[n-1]; s.block == b && cap(s.data)-len(s.data) == len(b.buf)-start {
			s.data = s.data[:len(s.data)+len(p)]
			q.size += int64(len(p))
			q.copied += int64(len(p))
			return
		}
	}
	b.views++
	q.push(segment{data: b.buf[start:b.w], block: b})
}

// AppendOwned puts p itself behind everything, without a copy. p must not change until done, which may be nil, has been handed
// out. p may be empty, and may be in other queues, too.
func (q *Queue) AppendOwned(p []byte, done Done) {
	if len(p) > 0 || done != nil {
		q.push(segment{data: p, done: done})
	}
}

// Notify puts a completion behind everything. In an empty queue it is due at once: Advance(0) hands it out.
func (q *Queue) Notify(done Done) { q.AppendOwned(nil, done) }

// AppendFile puts a part of a file behind everything. The queue sends nothing: it hands f out at the right moment.
func (q *Queue) AppendFile(f *File) {
	if f.Remain < 0 {
		panic(fmt.Sprintf("outq: a file of which %d bytes wait", f.Remain))
	}
	q.push(segment{file: f})
}

// Splice moves all that is in other behind what is in q. What was copied into other may be copied again, if it is small.
func (q *Queue) Splice(other *Queue) {
	if q == other {
		panic("outq: Splice of a queue into itself")
	}
	if other.r < other.f {
		q.Append(other.first.buf[other.r:other.f])
		other.r, other.f = 0, 0
	}
	if len(other.segs) == 0 {
		other.first.w = 0
		return
	}
	for i := other.head; i < len(other.segs); i++ {
		s := &other.segs[i]
		if s.block != nil && (s.block == &other.first || len(s.data) <= min(q.tail().room(), smallBlock)) {
			q.Append(s.data)
			other.unview(s.block)
		} else {
			q.push(*s) // and its view of a block with it
		}
		*s = segment{}
	}
	// If other still has a last block, q's segments show it now, and it may have the more room.
	if b := other.last; b != nil && b.room() > q.tail().room() {
		q.last = b
	}
	q.held += other.held
	other.last, other.first.w, other.size, other.file, other.cost, other.files, other.head = nil, 0, 0, 0, 0, 0, len(other.segs)
	other.copied, other.held = 0, 0
	other.tidy()
}
