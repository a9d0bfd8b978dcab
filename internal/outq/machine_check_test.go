package outq

import "bytes"

func (m *machine) dropFile(s *side, _ int) {
	m.endPeek(s)
	i := s.fileAtHead()
	f, dones := s.q.DropFile(nil)
	if i < 0 {
		if f != nil {
			m.t.Fatalf("DropFile without a file at the head")
		}
		i = 0
	} else {
		if f != s.items[i].file || f.Remain != s.items[i].remain {
			m.t.Fatalf("DropFile took another file out")
		}
		s.items[i].done = 0
		i++
	}
	var want []int
	for _, it := range s.items[:i] {
		want = append(want, it.done)
	}
	s.items = s.items[i:]
	m.due(dones, want)
}

func (m *machine) fail(s *side, _ int) {
	m.endPeek(s)
	var want []int
	for _, it := range s.items {
		want = append(want, it.done)
	}
	s.items = nil
	m.due(s.q.Fail(nil), want)
	if !s.q.Empty() {
		m.t.Fatalf("something waits after Fail")
	}
}

func (m *machine) free(s *side, _ int) {
	empty := s.q.Empty()
	if panics(s.q.Free) == empty {
		m.t.Fatalf("Free of a queue that is empty: %v; panics: %v", empty, !empty)
	}
	if empty && s.q.first.buf != nil {
		m.endPeek(s)
		s.q = Get()
	}
}

// compare looks at everything that can be seen of a queue.
func (m *machine) compare(s *side) {
	m.t.Helper()
	invariants(m.t, s.q)
	var length int64
	for _, it := range s.items {
		length += it.len()
	}
	if got := s.q.Len(); got != length {
		m.t.Fatalf("Len is %d, want %d", got, length)
	}
	if got := s.q.Empty(); got != (len(s.items) == 0) {
		m.t.Fatalf("Empty is %v with %d items", got, len(s.items))
	}
	var file *File
	if i := s.fileAtHead(); i >= 0 {
		file = s.items[i].file
	}
	if got := s.q.File(); got != file {
		m.t.Fatalf("File is %v, want %v", got, file)
	}
	bufs := s.q.Peek(make([][]byte, 0, len(s.q.segs)+1), 1<<30)
	if !bytes.Equal(bytes.Join(bufs, nil), s.head()) {
		m.t.Fatalf("the bytes at the head are not those appended")
	}
	if s.peek != nil && !bytes.Equal(bytes.Join(s.peek.bufs, nil), s.peek.was) {
		m.t.Fatalf("peeked bytes have changed")
	}
}
