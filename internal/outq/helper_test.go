package outq

import (
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// pattern continues without end, and shows bytes that are lost, doubled, changed or moved.
type pattern uint64

func (p *pattern) next(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		x := (uint64(*p) + 1) * 0x9e3779b97f4a7c15
		b[i] = byte(x >> 56)
		*p++
	}
	return b
}

// marks makes completions that note in called that they have been called.
type marks struct{ called []int }

func (m *marks) done(id int) Done { return func(error) { m.called = append(m.called, id) } }

// call calls dones, and returns what has been noted since the last time.
func (m *marks) call(dones []Done) []int {
	for _, done := range dones {
		done(nil)
	}
	called := m.called
	m.called = nil
	return called
}

// blocks is the blocks that q holds, its first one aside.
func blocks(q *Queue) map[*block]int {
	views := make(map[*block]int)
	for _, s := range q.segs {
		if s.block != nil && s.block != &q.first {
			views[s.block]++
		}
	}
	return views
}

// checkMemory compares what the blocks take up, and the copies in them, with what q has counted.
func checkMemory(t fataler, q *Queue, views map[*block]int, copied int64) {
	t.Helper()
	held := 0
	for b := range views {
		held += len(b.buf)
	}
	if held != q.blockBytes || copied != q.copied {
		t.Fatalf("blocks of %d bytes are held, %d bytes are copies, counted %d and %d", held, copied, q.blockBytes, q.copied)
	}
}

// invariants is what holds between any two calls.
func invariants(t fataler, q *Queue) {
	t.Helper()
	var size, cost, copied int64
	files := 0
	first := 0
	end := make(map[*block]int) // of what has been shown up to here
	for i := range q.segs {
		s := &q.segs[i]
		size += s.len()
		if i >= q.removed {
			cost += s.cost()
		}
		if s.file != nil {
			files++
		}
		if s.block == nil {
			continue
		}
		copied += s.len()
		if s.block == &q.first {
			first++
		}
		stop := len(s.block.buf) - (cap(s.data) - len(s.data))
		start := stop - len(s.data)
		if start == stop || start < end[s.block] || stop > s.block.w {
			t.Fatalf("segment %d shows [%d:%d] of a block written up to %d, shown up to %d", i, start, stop, s.block.w, end[s.block])
		}
		end[s.block] = stop
	}
	checkUnused(t, q)
	views := blocks(q)
	checkMemory(t, q, views, copied)
	for b, n := range views {
		if b.views != n || b.w > len(b.buf) {
			t.Fatalf("a block is shown %d times and counts %d; %d written", n, b.views, b.w)
		}
	}
	switch {
	case cost != q.cost || files != q.files:
		t.Fatalf("the segments take up %d bytes and %d files, counted %d and %d", cost, files, q.cost, q.files)
	case size != q.size:
		t.Fatalf("%d bytes in the segments, counted %d", size, q.size)
	case first != q.first.views:
		t.Fatalf("the first block is shown %d times and counts %d", first, q.first.views)
	case q.last != nil && views[q.last] == 0:
		t.Fatalf("the last block is not shown")
	case q.start > q.end || q.end > q.first.w || q.start == q.end && q.start != 0:
		t.Fatalf("head of the queue is [%d:%d] of %d", q.start, q.end, q.first.w)
	case q.end == 0 && first == 0 && q.first.w != 0:
		t.Fatalf("%d bytes of the first block are lost", q.first.w)
	case len(q.segs) == 0 && q.first.w != q.end || len(q.segs) > 0 && q.removed == len(q.segs):
		t.Fatalf("segments [%d:%d]; the first block is written up to %d, shown up to %d", q.removed, len(q.segs), q.first.w, q.end)
	}
	if live := len(q.segs) - q.removed; cap(q.segs) > max(2*keepSegments, 8*live+8) {
		t.Fatalf("room for %d segments, for %d", cap(q.segs), live)
	}
}

// checkUnused checks that the segments outside the queue refer to nothing.
func checkUnused(t fataler, q *Queue) {
	t.Helper()
	for i, s := range q.segs[:cap(q.segs)] {
		if (i < q.removed || i >= len(q.segs)) && (s.data != nil || s.block != nil || s.file != nil || s.done != nil) {
			t.Fatalf("segment %d of [%d:%d] is not in the queue and refers to something", i, q.removed, len(q.segs))
		}
	}
}

// scribble writes over what lies in the pools, so that bytes given back too soon are seen to change.
func scribble() {
	small, large := smallBlocks.Get().(*block), largeBlocks.Get().(*block)
	for _, b := range []*block{small, large} {
		for i := range b.buf {
			b.buf[i] ^= 0x5a
		}
	}
	smallBlocks.Put(small)
	largeBlocks.Put(large)
}

// skipIfRaced is for what counts allocations: with the race detector pools forget at random.
func skipIfRaced(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("pools forget at random with the race detector")
	}
}

func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return false
}
