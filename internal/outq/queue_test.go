package outq

import (
	"bytes"
	"slices"
	"testing"
)

func str(bufs [][]byte) string { return string(bytes.Join(bufs, []byte("|"))) }

func peekAll(q *Queue) string { return str(q.Peek(make([][]byte, 0, 100), 1<<30)) }

// An answer that fits is one slice, however many Appends it took, and needs nothing but the first block.
func TestSmallAnswerIsOneSlice(t *testing.T) {
	q := Get()
	q.Append([]byte("head "))
	q.Append(nil)
	q.Append([]byte("body"))
	if got := peekAll(q); got != "head body" || cap(q.segs) > 0 && len(q.segs) > 0 {
		t.Errorf("peeked %q, %d segments", got, len(q.segs))
	}
	if dones := q.Advance(9, nil); len(dones) > 0 || !q.Empty() {
		t.Error("not empty")
	}
	q.Free()
}

// An Append that does not fit into the first block of an empty queue is one slice, too.
func TestLargerAnswerIsOneSlice(t *testing.T) {
	for _, q := range []*Queue{Get(), new(Queue)} {
		q.Append(make([]byte, largeBlock))
		if bufs := q.Peek(make([][]byte, 0, 9), 1<<30); len(bufs) != 1 || len(bufs[0]) != largeBlock {
			t.Errorf("%d slices", len(bufs))
		}
	}
}

// Short copies between slices of the user's share a block, and what is copied behind another copy extends its slice.
func TestCopiesShareABlock(t *testing.T) {
	for _, q := range []*Queue{Get(), new(Queue)} {
		for range 3 {
			q.Append([]byte("4\r"))
			q.Append([]byte("\n"))
			q.AppendOwned([]byte("text"), nil)
			q.Append([]byte("\r\n"))
		}
		if got, want := peekAll(q), "4\r\n|text|\r\n4\r\n|text|\r\n4\r\n|text|\r\n"; got != want {
			t.Errorf("peeked %q, want %q", got, want)
		}
		if q.first.buf != nil && len(blocks(q)) > 0 || len(blocks(q)) > 1 {
			t.Errorf("%d blocks", len(blocks(q)))
		}
	}
}

// The first block is followed by large ones, and the room of the last one is used up, though it came by a Splice.
func TestRoomIsUsed(t *testing.T) {
	q := Get()
	q.Append(make([]byte, smallBlock))
	q.Append([]byte("x"))
	q.Append(make([]byte, largeBlock-100))
	other := Get()
	other.Append(make([]byte, largeBlock/2))
	q.Splice(other)
	q.Append(make([]byte, largeBlock/2))
	q.Append(make([]byte, largeBlock/2))
	var got []int
	for _, p := range q.Peek(make([][]byte, 0, 9), 1<<30) {
		got = append(got, len(p))
	}
	if want := []int{smallBlock, largeBlock - 99, largeBlock, largeBlock / 2}; !slices.Equal(got, want) {
		t.Errorf("slices of %v, want %v", got, want)
	}
}

// Completions wait for the bytes before them and no longer. A nil one is none.
func TestCompletionsComeWithTheLastByte(t *testing.T) {
	var m marks
	q := Get()
	q.Notify(nil)
	q.AppendOwned(nil, nil)
	if !q.Empty() {
		t.Error("nothing has been appended, and it waits")
	}
	q.Notify(m.done(1))
	if q.Empty() || q.Len() != 0 {
		t.Error("a completion waits, and is not seen")
	}
	q.Append([]byte("ab"))
	q.Notify(m.done(2))
	q.AppendOwned([]byte("cd"), m.done(3))
	q.AppendOwned(nil, m.done(4))
	q.AppendFile(&File{Done: m.done(5)})
	q.Append([]byte("e"))
	for _, step := range []struct {
		n    int
		want []int
	}{{0, []int{1}}, {1, nil}, {1, []int{2}}, {1, nil}, {1, []int{3, 4, 5}}, {1, nil}} {
		if got := m.call(q.Advance(step.n, nil)); !slices.Equal(got, step.want) {
			t.Errorf("completions %v, want %v", got, step.want)
		}
	}
	q.Free()
}

// A file stands between the bytes before and behind it. One that turns out to be too short is dropped without what follows.
func TestFileInOrder(t *testing.T) {
	var m marks
	q := Get()
	q.Append([]byte("head"))
	f := &File{Offset: 10, Remain: 1 << 40, Done: m.done(1)}
	q.AppendFile(f)
	q.Notify(m.done(2))
	q.Append([]byte("tail"))
	if q.Len() != 1<<40+8 || q.File() != nil || peekAll(q) != "head" {
		t.Errorf("Len %d, File %v, peeked %q", q.Len(), q.File(), peekAll(q))
	}
	dones := q.Advance(4, nil)
	if len(dones) > 0 || q.File() != f || peekAll(q) != "" {
		t.Errorf("%d completions, File %v, peeked %q", len(dones), q.File(), peekAll(q))
	}
	dones = q.AdvanceFile(1<<39, nil)
	if len(dones) > 0 || f.Offset != 10+1<<39 || f.Remain != 1<<39 {
		t.Errorf("%d completions, %+v", len(dones), f)
	}
	dropped, dones := q.DropFile(nil)
	if dropped != f || len(dones) > 0 || q.Len() != 4 {
		t.Errorf("dropped %v, %d completions, Len %d", dropped, len(dones), q.Len())
	}
	if got := m.call(q.Fail(nil)); !slices.Equal(got, []int{2}) || !q.Empty() {
		t.Errorf("completions %v", got)
	}
	q.Free()
}

// Wrong calls panic, instead of going on with a stream that is not what was appended.
func TestWrongCallsPanic(t *testing.T) {
	copied := func(q *Queue) { q.Append(make([]byte, 10)) }
	file := func(q *Queue) { q.AppendFile(&File{Remain: 5}) }
	owned := func(q *Queue) { q.AppendOwned(make([]byte, 10), nil) }
	for name, c := range map[string]struct {
		fill func(*Queue)
		call func(*Queue)
	}{
		"Advance too far":                {copied, func(q *Queue) { q.Advance(11, nil) }},
		"Advance too far, no copy":       {owned, func(q *Queue) { q.Advance(11, nil) }},
		"Advance back":                   {copied, func(q *Queue) { q.Advance(-1, nil) }},
		"Advance back, no copy":          {owned, func(q *Queue) { q.Advance(-1, nil) }},
		"Advance into a file":            {file, func(q *Queue) { q.Advance(1, nil) }},
		"AdvanceFile too far":            {file, func(q *Queue) { q.AdvanceFile(6, nil) }},
		"AdvanceFile back":               {file, func(q *Queue) { q.AdvanceFile(-1, nil) }},
		"AdvanceFile without a file":     {copied, func(q *Queue) { q.AdvanceFile(0, nil) }},
		"AppendFile of less than 0":      {copied, func(q *Queue) { q.AppendFile(&File{Remain: -1}) }},
		"Splice into itself":             {copied, func(q *Queue) { q.Splice(q) }},
		"Free with bytes":                {copied, (*Queue).Free},
		"Free with bytes of the user's":  {owned, (*Queue).Free},
		"Free with a file":               {file, (*Queue).Free},
		"Free with a completion":         {func(q *Queue) { q.Notify(func(error) {}) }, (*Queue).Free},
		"Free of a zero Queue, too":      {func(q *Queue) { *q = Queue{}; q.Append([]byte("x")) }, (*Queue).Free},
		"Free of one spliced into":       {func(q *Queue) { o := Get(); copied(o); q.Splice(o) }, (*Queue).Free},
		"Advance of one that is drained": {func(q *Queue) { copied(q); q.Advance(10, nil) }, func(q *Queue) { q.Advance(1, nil) }},
	} {
		q := Get()
		c.fill(q)
		if !panics(func() { c.call(q) }) {
			t.Errorf("%s: no panic", name)
		}
	}
}

// The zero Queue holds no memory of the pools while it is empty, and Free leaves it alone.
func TestZeroQueueHoldsNothing(t *testing.T) {
	q := new(Queue)
	q.Append([]byte("text"))
	if q.last == nil || len(q.last.buf) != smallBlock {
		t.Error("a short text is not in a small block")
	}
	q.Advance(4, nil)
	if q.last != nil || q.first.buf != nil || len(blocks(q)) > 0 {
		t.Error("a block is left")
	}
	q.Free()
}
