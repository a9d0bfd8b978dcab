package outq

import (
	"fmt"
	"os"
	"sync"
)

// A Queue holds bytes that wait to be written. The zero value is an empty queue that takes its memory from the pools as bytes are added;
// a queue from Get is faster. A queue must not be copied.
type Queue struct {
	// first is the block of a queue from Get; in other queues it has no memory. The bytes first.buf[start:end] wait before all
	// segments. Without segments end equals first.w, and both are increased when bytes are added. start and end are 0 if no
	// bytes wait between them.
	first      block
	start, end int

	last       *block // the latest block that has room, to which a segment refers; nil means first
	segs       []segment
	removed    int   // segs[:removed] have been removed; 0 if segs is empty
	size       int64 // bytes that wait in the segments
	fileBytes  int64 // those of them that are in files
	copied     int64 // those of them that are copies, in blocks
	blockBytes int   // size of all blocks except first, the bytes in them and the room
	cost       int64 // sum of the segments' cost
	files      int   // segments of files
}

// A Done is a completion: the queue's owner calls it with nil when all bytes before it have been written, or with the reason
// why they have not.
type Done func(error)

// A File is a part of a file. From AppendFile on only the queue changes the struct; the caller of Queue.File sends the bytes.
// The queue does not close F; Done may.
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
func (q *Queue) Len() int64 { return int64(q.end-q.start) + q.size }

// Mem returns the number of bytes that wait in memory, plus SegmentCost for each AppendOwned or Notify and FileCost for each
// file. This size depends only on what was appended, and is for the limits of a connection's output.
func (q *Queue) Mem() int { return int(q.Len() - q.fileBytes + q.cost) }

// The memory of a queue besides its bytes.
const (
	queueSize   = 256 // the queue itself
	segmentSize = 48  // each entry in the list of segments
	closureSize = 64  // a completion, which is usually a closure
)

// SmallFootprint is the Footprint of a queue from Get for which IsSmall reports true.
const SmallFootprint = queueSize + smallBlock

// Footprint returns an estimate of the memory that is allocated for the queue, for a limit on the memory of all queues: the
// queue, its blocks, regardless of the bytes that wait in them, the user's slices, and the list of segments, completions and
// files.
func (q *Queue) Footprint() int {
	if q.IsSmall() && q.first.buf != nil { // most of the time
		return SmallFootprint
	}
	n := q.blockBytes + int(q.size-q.fileBytes-q.copied) + cap(q.segs)*segmentSize + q.files*FileCost
	n += int(q.cost-int64(q.files)*FileCost) / SegmentCost * closureSize
	if q.first.buf != nil {
		n += SmallFootprint
	}
	return n
}

// Files returns the number of files that wait.
func (q *Queue) Files() int { return q.files }

// IsSmall reports whether the queue has no memory but its first block.
func (q *Queue) IsSmall() bool { return cap(q.segs) == 0 && q.last == nil }

// Empty reports whether neither bytes nor completions wait.
func (q *Queue) Empty() bool { return q.start == q.end && len(q.segs) == 0 }

// Append appends a copy of p.
func (q *Queue) Append(p []byte) {
	if len(q.segs) == 0 && len(p) <= q.first.room() {
		q.first.w += copy(q.first.buf[q.first.w:], p)
		q.end = q.first.w
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
	q.blockBytes += len(q.last.buf)
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
		q.end = b.w
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

// AppendOwned appends p without a copy. The queue refers to p until all its bytes are removed; the caller must not change p
// before. Then done, if it is not nil, is returned by the method that removes them. p may be empty, and may be in other queues,
// too.
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

// Splice moves the bytes, files and completions of other to the end of q and leaves other empty. It may copy small slices that
// other has copied already.
func (q *Queue) Splice(other *Queue) {
	if q == other {
		panic("outq: Splice of a queue into itself")
	}
	if other.start < other.end {
		q.Append(other.first.buf[other.start:other.end])
		other.start, other.end = 0, 0
	}
	if len(other.segs) == 0 {
		other.first.w = 0
		return
	}
	for i := other.removed; i < len(other.segs); i++ {
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
	q.blockBytes += other.blockBytes
	other.last, other.first.w, other.size, other.fileBytes, other.cost, other.files, other.removed = nil, 0, 0, 0, 0, 0, len(other.segs)
	other.copied, other.blockBytes = 0, 0
	other.tidy()
}
