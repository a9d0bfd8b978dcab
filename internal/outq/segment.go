package outq

// A segment is a part of the queue: bytes, or a part of a file, or no bytes; and the completion after it.
type segment struct {
	data  []byte // the bytes that wait
	block *block // the memory of data; nil if it is the user's
	file  *File
	done  Done // not for a file, which has its own
}

// len returns the number of bytes of the segment that wait.
func (s *segment) len() int64 {
	if s.file != nil {
		return s.file.Remain
	}
	return int64(len(s.data))
}

// The memory of a segment besides its bytes.
const (
	// SegmentCost is the cost of the segment itself and a completion, which is usually a closure.
	SegmentCost = 128
	// FileCost is the cost of a file: a descriptor, of which a process has few, and memory to copy a part if the kernel cannot send the file.
	FileCost = 16 << 10
)

// cost returns the memory of the segment besides its bytes. Copies share blocks and have no cost of their own.
func (s *segment) cost() int64 {
	switch {
	case s.file != nil:
		return FileCost
	case s.block == nil:
		return SegmentCost
	}
	return 0
}

// keepSegments is the number of segments for which an empty queue keeps memory: 4.5 KB, enough for a megabyte in large blocks.
const keepSegments = 96

// push appends s.
func (q *Queue) push(s segment) {
	q.size += s.len()
	q.cost += s.cost()
	if s.block != nil {
		q.copied += s.len()
	}
	if s.file != nil {
		q.fileBytes += s.file.Remain
		q.files++
	}
	if len(q.segs) == cap(q.segs) && q.removed > len(q.segs)/2 {
		// Most segments have been removed. The number of segments that are moved is at most the number of pushes since the last move.
		n := copy(q.segs, q.segs[q.removed:])
		clear(q.segs[n:])
		q.segs, q.removed = q.segs[:n], 0
	}
	q.segs = append(q.segs, s)
}

// pop removes the first segment, whose bytes have been removed or will not be sent.
func (q *Queue) pop(dones []Done) []Done {
	s := &q.segs[q.removed]
	done := s.done
	q.cost -= s.cost()
	if s.file != nil {
		done = s.file.Done
		q.files--
	}
	if done != nil {
		dones = append(dones, done)
	}
	if s.block != nil {
		q.release(s.block)
	}
	*s = segment{}
	q.removed++
	return dones
}

// release removes the reference of a segment to b. After the last one b is freed even if it has room, so that memory is not kept for bytes
// that may be added later.
func (q *Queue) release(b *block) {
	if b.views--; b.views > 0 {
		return
	}
	if b == &q.first {
		b.w = 0 // the bytes before the segments were removed earlier
		return
	}
	if b == q.last {
		q.last = nil
	}
	q.blockBytes -= len(b.buf)
	b.free()
}

// tidy is called after pops. It replaces a list of segments that has become much larger than its content.
func (q *Queue) tidy() {
	live := len(q.segs) - q.removed
	switch {
	case live == 0 && cap(q.segs) > keepSegments:
		q.segs, q.removed = nil, 0
	case live == 0:
		q.segs, q.removed = q.segs[:0], 0
	case cap(q.segs) > keepSegments && live < cap(q.segs)/8:
		// The new list is half full, so that many pushes or pops follow before the next change.
		segs := make([]segment, live, max(2*live, keepSegments))
		copy(segs, q.segs[q.removed:])
		q.segs, q.removed = segs, 0
	}
}
