package outq

import (
	"bytes"
	"slices"
)

// machine makes one call after the other on some queues and on a simple model of each, and compares. The property test and the
// fuzz test draw the calls.
type machine struct {
	t     fataler
	sides []*side
	bytes pattern
	marks marks
	ids   int
}

// side is a queue and its model.
type side struct {
	q     *Queue
	items []item
	peek  *peek // that has not ended yet
}

// item is bytes, or a file of which remain bytes wait, or nothing; then completion done, if it is not 0.
type item struct {
	data   []byte
	file   *File
	remain int64
	done   int
}

func (it item) len() int64 { return int64(len(it.data)) + it.remain }

type peek struct {
	bufs [][]byte
	was  []byte
}

func newMachine(t fataler) *machine {
	return &machine{t: t, sides: []*side{{q: Get()}, {q: Get()}, {q: new(Queue)}}}
}

type op struct {
	name string
	do   func(m *machine, s *side, n int)
}

// Of each op n is a size, a limit or a choice.
var ops = []op{
	{"append", (*machine).append},
	{"appendOwned", (*machine).appendOwned},
	{"notify", func(m *machine, s *side, _ int) { m.appendOwned(s, 0) }},
	{"appendFile", (*machine).appendFile},
	{"splice", (*machine).splice},
	{"peek", func(m *machine, s *side, n int) { m.peek(s, 1+n%20, n) }},
	{"peekMany", func(m *machine, s *side, _ int) { m.peek(s, 100, 1<<30) }},
	{"advance", (*machine).advance},
	{"advanceAll", func(m *machine, s *side, _ int) { m.advance(s, 1<<30) }},
	{"advanceFile", (*machine).advanceFile},
	{"dropFile", (*machine).dropFile},
	{"fail", (*machine).fail},
	{"free", (*machine).free},
}

func (m *machine) step(o op, side, n int) {
	o.do(m, m.sides[side%len(m.sides)], n)
	scribble()
	for _, s := range m.sides {
		m.compare(s)
	}
}

// expect puts it into the model, unless it is neither bytes nor a completion.
func (s *side) expect(it item) {
	if len(it.data) > 0 || it.done != 0 {
		s.items = append(s.items, it)
	}
}

func (m *machine) id() int { m.ids++; return m.ids }

func (m *machine) append(s *side, n int) {
	p := m.bytes.next(n)
	s.q.Append(p)
	s.expect(item{data: slices.Clone(p)})
	clear(p) // the caller's again
}

func (m *machine) appendOwned(s *side, n int) {
	p, id := m.bytes.next(n), 0
	var done Done
	if n%3 != 1 {
		id = m.id()
		done = m.marks.done(id)
	}
	s.q.AppendOwned(p, done)
	s.expect(item{data: p, done: id})
}

func (m *machine) appendFile(s *side, n int) {
	f, id := &File{Offset: int64(m.ids), Remain: int64(n)}, 0
	if n%3 != 1 {
		id = m.id()
		f.Done = m.marks.done(id)
	}
	s.q.AppendFile(f)
	s.items = append(s.items, item{file: f, remain: f.Remain, done: id})
}

func (m *machine) splice(s *side, n int) {
	other := m.sides[n%len(m.sides)]
	if other == s {
		return
	}
	m.endPeek(other)
	s.q.Splice(other.q)
	s.items = append(s.items, other.items...)
	other.items = nil
}

// head is the bytes before the first file or the end.
func (s *side) head() (b []byte) {
	for _, it := range s.items {
		if it.remain > 0 {
			break
		}
		b = append(b, it.data...)
	}
	return b
}

func (m *machine) peek(s *side, most, limit int) {
	m.endPeek(s)
	bufs := make([][]byte, 1, 1+most)
	got := s.q.Peek(bufs, limit)
	if &got[0] != &bufs[0] || len(got) > 1+most {
		m.t.Fatalf("Peek of %d slices appended %d", most, len(got)-1)
	}
	got = got[1:]
	p := peek{bufs: got}
	for _, b := range got {
		if len(b) == 0 || cap(b) > len(b) {
			m.t.Fatalf("a slice of %d bytes with room for %d", len(b), cap(b))
		}
		p.was = append(p.was, b...)
	}
	want := s.head()
	want = want[:min(len(want), limit)]
	if len(got) == most {
		want = want[:min(len(want), len(p.was))]
	}
	if !bytes.Equal(p.was, want) {
		m.t.Fatalf("Peek of %d slices, %d bytes: %d slices, %d bytes, want %d", most, limit, len(got), len(p.was), len(want))
	}
	s.peek = &p
}

// endPeek is the moment when the writer has written: all that it was given is as it was.
func (m *machine) endPeek(s *side) {
	if s.peek != nil && !bytes.Equal(bytes.Join(s.peek.bufs, nil), s.peek.was) {
		m.t.Fatalf("peeked bytes have changed")
	}
	s.peek = nil
}

func (m *machine) advance(s *side, n int) {
	m.endPeek(s)
	n = min(n, len(s.head()))
	dones := s.q.Advance(n, nil)
	m.due(dones, s.take(n))
}

// take takes n bytes and what is due then out of the model, and returns the completions.
func (s *side) take(n int) (due []int) {
	for len(s.items) > 0 {
		it := &s.items[0]
		k := min(n, len(it.data))
		it.data = it.data[k:]
		n -= k
		if it.len() > 0 {
			break
		}
		due = append(due, it.done)
		s.items = s.items[1:]
	}
	return due
}

// due compares completions that were handed out with those that should have been, among which 0 stands for none.
func (m *machine) due(dones []Done, want []int) {
	m.t.Helper()
	want = slices.DeleteFunc(want, func(id int) bool { return id == 0 })
	if got := m.marks.call(dones); !slices.Equal(got, want) {
		m.t.Fatalf("completions %v, want %v", got, want)
	}
}

// fileAtHead is the place of the file that File should return, or -1.
func (s *side) fileAtHead() int {
	i := slices.IndexFunc(s.items, func(it item) bool { return it.len() > 0 })
	if i >= 0 && s.items[i].file == nil {
		return -1
	}
	return i
}

func (m *machine) advanceFile(s *side, n int) {
	m.endPeek(s)
	i := s.fileAtHead()
	if i < 0 {
		return
	}
	it := &s.items[i]
	k := min(int64(n), it.remain)
	offset := it.file.Offset + k
	dones := s.q.AdvanceFile(k, nil)
	it.remain -= k
	if it.file.Offset != offset || it.file.Remain != it.remain {
		m.t.Fatalf("the file goes on at %d with %d, want %d with %d", it.file.Offset, it.file.Remain, offset, it.remain)
	}
	m.due(dones, s.take(0))
}
