package outq

// Peek appends the slices at the head to bufs: at most limit bytes, and at most as many slices as bufs has capacity for. It stops before
// a file, and none of the slices is empty. They may be read without the lock until Advance removes them.
func (q *Queue) Peek(bufs [][]byte, limit int) [][]byte {
	if q.start < q.end && limit > 0 && len(bufs) < cap(bufs) {
		p := q.first.buf[q.start:q.end:q.end]
		if len(p) > limit {
			p = p[:limit:limit]
		}
		bufs = append(bufs, p)
		limit -= len(p)
	}
	if len(q.segs) == 0 {
		return bufs
	}
	return q.peekSegments(bufs, limit)
}

// Single returns all bytes that wait if they are contiguous and nothing else waits, and nil otherwise. They may be read without the lock until
// Advance removes them.
func (q *Queue) Single() []byte {
	if len(q.segs) > 0 {
		return nil
	}
	return q.first.buf[q.start:q.end:q.end]
}

func (q *Queue) peekSegments(bufs [][]byte, limit int) [][]byte {
	for i := q.removed; i < len(q.segs) && limit > 0 && len(bufs) < cap(bufs); i++ {
		s := &q.segs[i]
		if s.file != nil && s.file.Remain > 0 {
			break
		}
		if n := min(len(s.data), limit); n > 0 {
			bufs = append(bufs, s.data[:n:n])
			limit -= n
		}
	}
	return bufs
}

// Advance removes n bytes, which have been written, and appends the completions that are due then to dones. It panics if there
// are fewer bytes before the end or the next file.
func (q *Queue) Advance(n int, dones []Done) []Done {
	if len(q.segs) > 0 {
		return q.advanceSegments(n, dones)
	}
	if uint(n) > uint(q.end-q.start) {
		panic("outq: Advance beyond the bytes that wait")
	}
	if q.start += n; q.start == q.end {
		q.start, q.end, q.first.w = 0, 0, 0
	}
	return dones
}

func (q *Queue) advanceSegments(n int, dones []Done) []Done {
	if n < 0 {
		panic("outq: Advance by a negative number")
	}
	if q.start < q.end {
		k := min(n, q.end-q.start)
		n -= k
		if q.start += k; q.start < q.end {
			return dones
		}
		q.start, q.end = 0, 0
		if q.first.views == 0 {
			q.first.w = 0
		}
	}
	q.size -= int64(n)
	for q.removed < len(q.segs) {
		s := &q.segs[q.removed]
		if s.file != nil && s.file.Remain > 0 {
			break
		}
		k := min(n, len(s.data))
		s.data = s.data[k:]
		if s.block != nil {
			q.copied -= int64(k)
		}
		n -= k
		if len(s.data) > 0 {
			break
		}
		dones = q.pop(dones)
	}
	if n > 0 {
		panic("outq: Advance beyond the bytes that wait")
	}
	q.tidy()
	return dones
}

// File returns the file at the head, of which at least a byte waits. It is nil if bytes are at the head, or the queue is empty.
func (q *Queue) File() *File {
	if q.start < q.end {
		return nil
	}
	for i := q.removed; i < len(q.segs); i++ {
		if s := &q.segs[i]; s.len() > 0 {
			return s.file
		}
	}
	return nil
}

// AdvanceFile removes n bytes of the file at the head, which have been sent, and appends the completions that are due then to
// dones. It panics if no file is at the head or fewer of its bytes wait.
func (q *Queue) AdvanceFile(n int64, dones []Done) []Done {
	f := q.File()
	if f == nil || n < 0 || n > f.Remain {
		panic("outq: AdvanceFile beyond the bytes that wait")
	}
	f.Offset += n
	f.Remain -= n
	q.size -= n
	q.fileBytes -= n
	return q.advanceSegments(0, dones)
}

// DropFile removes the file at the head with its remaining bytes, because it is shorter than announced or cannot be read. The
// completions before it are appended to dones. The caller, which knows the reason, calls the completion of the file itself. Later completions
// stay in the queue. DropFile returns nil if no file is at the head.
func (q *Queue) DropFile(dones []Done) (*File, []Done) {
	f := q.File()
	if f == nil {
		return nil, dones
	}
	for q.segs[q.removed].len() == 0 {
		dones = q.pop(dones)
	}
	q.size -= f.Remain
	q.fileBytes -= f.Remain
	q.cost -= FileCost
	q.files--
	q.segs[q.removed] = segment{}
	q.removed++
	q.tidy()
	return f, dones
}

// Fail empties q and appends all completions to dones.
func (q *Queue) Fail(dones []Done) []Done {
	q.start, q.end, q.first.w, q.size, q.fileBytes, q.copied = 0, 0, 0, 0, 0, 0
	for q.removed < len(q.segs) {
		dones = q.pop(dones)
	}
	q.tidy()
	return dones
}
