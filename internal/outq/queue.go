package outq

import (
	"fmt"
	"os"
	"sync"
)

// A Queue holds bytes that wait to be written. The zero value is an empty queue that takes its memory from the pools as bytes are added;
// a queue from Get is faster. A queue must not be copied.
type Queue struct {
	// first is the block of a queue from Get; in other queues it has no memory. first.buf[r:f] is the head of the queue, before
	// all segments. Without segments f equals first.w, and both are increased when bytes are added. r and f are 0 if
	// no bytes wait between them.
	first block
	r, f  int

	last   *block // the latest block that has room, to which a segment refers; nil means first
	segs   []segment
	head   int   // segs[:head] have been removed; 0 if the list would be empty
	size   int64 // bytes that wait in the segments
	file   int64 // those of them that are in files
	copied int64 // those of them that are copies, in blocks
	held   int   // size of all blocks except first
	cost   int64 // of the segments, without their bytes
	files  int   // segments of files
}

// A Done is a completion: the queue's owner calls it with nil when all bytes before it have been written, or with the reason
// why they have not.
type Done func(error)

// A File is a part of a file. The queue owns it from AppendFile on. The caller of Queue.File sends it and must not change it.
type File struct {
	F      *os.File
	Offset int64 // of the first byte that waits
	Remain int64 // number of bytes that wait
	Done   Done  // may be nil
}

var queues = sync.Pool{New: func() any { return &Queue{first: block{buf: make([]byte, smallBlock)}} }}

// Get returns an empty queue with a block of 2 KB.
func Get() *Queue { return queues.Get().(*Queue) }

// Free returns q to the pool. It panics if q is not empty. A queue that is not from Get is left to the garbage collector.
func (q *Queue) Free() {
	if !q.Empty() {
		panic("outq: Free of a queue that is not empty")
	}
	if q.first.buf != nil {
		queues.Put(q)
	}
}

// Len returns the number of bytes that wait, those of files included.
func (q *Queue) Len() int64 { return int64(q.f-q.r) + q.size }

// Mem returns Len without the bytes of files, which take no memory, plus SegmentCost for each slice of the
// user and each completion, and FileCost for each file.
func (q *Queue) Mem() int { return int(q.Len() - q.file + q.cost) }

// The memory of a queue besides its bytes.
const (
	queueSize   = 256 // the queue itself
	segmentSize = 48  // each entry in the list of segments
	closureSize = 64  // a completion, which is usually a closure
)

// Footprint returns the memory of the queue: the blocks that it holds, regardless of the bytes that wait in them, the user's slices, and the memory of
// segments, completions and files. It also counts the memory of an empty queue.
func (q *Queue) Footprint() int {
	n := q.held + int(q.size-q.file-q.copied) + cap(q.segs)*segmentSize + q.files*FileCost
	n += int(q.cost-int64(q.files)*FileCost) / SegmentCost * closureSize
	if q.first.buf != nil {
		n += queueSize + smallBlock
	}
	return n
}

// Files returns the number of files that wait.
func (q *Queue) Files() int { return q.files }

// Empty reports whether neither bytes nor completions wait.
func (q *Queue) Empty() bool { return q.r == q.f && len(q.segs) == 0 }

// Append appends a copy of p.
func (q *Queue) Append(p []byte) {
	if len(q.segs) == 0 && len(p) <= q.first.room() {
		q.first.w += copy(q.first.buf[q.first.w:], p)
		q.f = q.first.w
		return
	}
	q.appendMore(p)
}

func (q *Queue) appendMore(p []byte) {
	// In an empty queue p is not divided between the first block and another one, since one slice is written faster than two.
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

// tail returns the block whose room is used next.
func (q *Queue) tail() *block {
	if q.last != nil {
		return q.last
	}
	return &q.first
}

// grow takes a block for n more bytes, which becomes the tail. It is a small one only if the queue has no block.
func (q *Queue) grow(n int) *block {
	pool := &largeBlocks
	if n <= smallBlock && q.first.buf == nil && q.last == nil {
		pool = &smallBlocks
	}
	q.last = pool.Get().(*block)
	q.held += len(q.last.buf)
	return q.last
}

// put copies p, which fits, into b and appends it to the queue.
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
		// The capacity of a segment's data reaches to the end of its block, which gives the position of the segment's end.
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

// AppendOwned appends p without a copy. p must not change until a method has returned done, which may be nil. p may be empty, and may be in
// other queues, too.
func (q *Queue) AppendOwned(p []byte, done Done) {
	if len(p) > 0 || done != nil {
		q.push(segment{data: p, done: done})
	}
}

// Notify appends a completion. In an empty queue it is due at once: Advance(0) returns it.
func (q *Queue) Notify(done Done) { q.AppendOwned(nil, done) }

// AppendFile appends a part of a file. The queue does not send it: File returns f when it is at the head.
func (q *Queue) AppendFile(f *File) {
	if f.Remain < 0 {
		panic(fmt.Sprintf("outq: AppendFile of %d bytes", f.Remain))
	}
	q.push(segment{file: f})
}

// Splice moves the content of other to the end of q. Small copies may be copied again.
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
			other.release(s.block)
		} else {
			q.push(*s) // with its reference to a block
		}
		*s = segment{}
	}
	// If other still has a last block, segments of q refer to it now, and it may have more room than q's own.
	if b := other.last; b != nil && b.room() > q.tail().room() {
		q.last = b
	}
	q.held += other.held
	other.last, other.first.w, other.size, other.file, other.cost, other.files, other.head = nil, 0, 0, 0, 0, 0, len(other.segs)
	other.copied, other.held = 0, 0
	other.tidy()
}
