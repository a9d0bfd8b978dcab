package outq

// A segment is a stretch of the queue: bytes, or a part of a file, or nothing; and the completion behind it.
type segment struct {
	data  []byte // what waits of it
	block *block // where data lies; nil if it is the user's
	file  *File
	done  Done // not for a file, which has its own
}

// len is what waits of the segment.
func (s *segment) len() int64 {
	if s.file != nil {
		return s.file.Remain
	}
	return int64(len(s.data))
}

// What a segment takes up beside its bytes.
const (
	// SegmentCost is for the segment itself and a completion, which is some function's closure.
	SegmentCost = 128
	// FileCost is for a file: a descriptor, of which a process has few, and room to copy a piece where the kernel cannot send it.
	FileCost = 16 << 10
)

// cost is what the segment takes up beside its bytes. Many copies share a block, which costs nothing here.
func (s *segment) cost() int64 {
	switch {
	case s.file != nil:
		return FileCost
	case s.block == nil:
		return SegmentCost
	}
	return 0
}

// keepSegments is for how many segments an empty queue keeps room: 4.5 KB, enough for a megabyte in large blocks.
const keepSegments = 96

// push puts s behind everything.
func (q *Queue) push(s segment) {
	q.size += s.len()
	q.cost += s.cost()
	if s.block != nil {
		q.copied += s.len()
	}
	if s.file != nil {
		q.file += s.file.Remain
		q.files++
	}
	if len(q.segs) == cap(q.segs) && q.head > len(q.segs)/2 {
		// Most are gone. At least as many pushes as are moved have passed since the last time.
		n := copy(q.segs, q.segs[q.head:])
		clear(q.segs[n:])
		q.segs, q.head = q.segs[:n], 0
	}
	q.segs = append(q.segs, s)
}

// pop takes the first segment out, of which nothing waits or nothing will be sent.
func (q *Queue) pop(dones []Done) []Done {
	s := &q.segs[q.head]
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
		q.unview(s.block)
	}
	*s = segment{}
	q.head++
	return dones
}

// unview says that a segment less shows b. With the last one b is given up, even if it has room: a few bytes that may come are
// no reason to keep it.
func (q *Queue) unview(b *block) {
	if b.views--; b.views > 0 {
		return
	}
	if b == &q.first {
		b.w = 0 // the bytes before the segments have gone before
		return
	}
	if b == q.last {
		q.last = nil
	}
	q.held -= len(b.buf)
	b.free()
}

// tidy follows pops: it gives up a list of segments that has become too large for what is in it.
func (q *Queue) tidy() {
	live := len(q.segs) - q.head
	switch {
	case live == 0 && cap(q.segs) > keepSegments:
		q.segs, q.head = nil, 0
	case live == 0:
		q.segs, q.head = q.segs[:0], 0
	case cap(q.segs) > keepSegments && live < cap(q.segs)/8:
		// Half full then, so that the next time is many pushes or pops away.
		segs := make([]segment, live, max(2*live, keepSegments))
		copy(segs, q.segs[q.head:])
		q.segs, q.head = segs, 0
	}
}
