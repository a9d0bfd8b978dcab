//go:build linux

package poller_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

// FuzzSet drives epoll and poll(2) side by side with one list of operations on pipes, and compares each answer with a
// model of level-triggered readiness. An operation is two bytes: what (modulo the number of operations), and on which
// end with which conditions.
func FuzzSet(f *testing.F) {
	const a, m, d, w, r, h, l, s = opAdd, opModify, opRemove, opWrite, opDrain, opHangUp, opLook, opLookShort
	f.Add([]byte{a, 0x10, l, 0, w, 0, l, 0, l, 0, r, 0, l, 0})                                     // one pipe, written and drained
	f.Add([]byte{a, 0x10, a, 0x10, m, 0x21, d, 0x01, m, 0x00, l, 0, d, 0, d, 0, a, 0x30, l, 0})    // errors change nothing
	f.Add([]byte{a, 0x21, a, 0x23, a, 0x25, a, 0x27, s, 0, s, 0, d, 0x23, s, 0, s, 0})             // more ready than fit
	f.Add([]byte{a, 0x00, a, 0x01, h, 0x01, l, 0, a, 0x22, a, 0x23, h, 0x02, l, 0, m, 0x10, l, 0}) // hang-ups without a condition
	f.Add([]byte{a, 0x70, w, 0, m, 0x60, l, 0, h, 0x01, l, 0, r, 0, l, 0, d, 0, l, 0})             // data before the end
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newModel(t)
		for i := 0; i+1 < min(len(ops), 400); i += 2 {
			m.step(ops[i]%opCount, ops[i+1])
		}
	})
}

const (
	opAdd = iota
	opModify
	opRemove
	opWrite
	opDrain
	opHangUp
	opLook
	opLookShort // with room for two reports
	opCount
)

// end is one end of a pipe: even numbers read, odd ones write into the one before.
type end struct {
	fd      int
	open    bool
	watched bool
	want    poller.Flags
	tag     uint64
	bytes   int // unread, of a reading end
}

type model struct {
	t       *testing.T
	pollers []poller.Poller
	ends    [8]end
	tags    uint64
}

func newModel(t *testing.T) *model {
	m := &model{t: t}
	for _, open := range []func(poller.WakerKind) (poller.Poller, error){poller.NewEpoll, poller.NewPoll} {
		p, err := open(poller.WakerDefault)
		m.check("open", err)
		m.pollers = append(m.pollers, p)
		t.Cleanup(func() { p.Close() })
	}
	for i := 0; i < len(m.ends); i += 2 {
		var pipe [2]int
		m.check("pipe", unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		m.ends[i], m.ends[i+1] = end{fd: pipe[0], open: true}, end{fd: pipe[1], open: true}
	}
	t.Cleanup(func() {
		for _, e := range m.ends {
			if e.open {
				unix.Close(e.fd)
			}
		}
	})
	return m
}

func (m *model) check(what string, err error) {
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
}

func (m *model) step(op, arg byte) {
	at := int(arg) % len(m.ends)
	e := &m.ends[at]
	want := [...]poller.Flags{0, poller.Read, poller.Write, poller.Closed}[arg>>4&3]
	if arg&0x40 != 0 {
		want |= poller.Read | poller.Closed
	}
	reader, writer := &m.ends[at&^1], &m.ends[at|1]
	switch op {
	case opAdd, opModify, opRemove:
		if e.open {
			m.change(op, e, want)
		}
	case opWrite:
		if reader.open && writer.open {
			_, err := unix.Write(writer.fd, []byte{1})
			m.check("write", err)
			reader.bytes++
		}
	case opDrain:
		if reader.open {
			var buf [512]byte
			_, _ = unix.Read(reader.fd, buf[:]) // at most 400 bytes were written; an empty pipe says EAGAIN
			reader.bytes = 0
		}
	case opHangUp:
		if e.open {
			if e.watched {
				m.change(opRemove, e, 0)
			}
			unix.Close(e.fd)
			e.open = false
		}
	case opLook:
		m.look(16)
	case opLookShort:
		m.look(2)
	}
}

// change makes a change in both pollers, and expects success or the same error.
func (m *model) change(op byte, e *end, want poller.Flags) {
	var refusal error
	switch {
	case op == opAdd && e.watched:
		refusal = unix.EEXIST
	case op != opAdd && !e.watched:
		refusal = unix.ENOENT
	}
	m.tags++
	tag := m.tags * 0x9e3779b97f4a7c15 // all bits are used
	for _, p := range m.pollers {
		var err error
		switch op {
		case opAdd:
			err = p.Add(e.fd, want, tag)
		case opModify:
			err = p.Modify(e.fd, want, tag)
		case opRemove:
			err = p.Remove(e.fd)
		}
		if !errors.Is(err, refusal) {
			m.t.Fatalf("%s: operation %d on %+v: got %v, want %v", p.Name(), op, *e, err, refusal)
		}
	}
	if refusal == nil {
		e.watched, e.want, e.tag = op != opRemove, want, tag
	}
}

// holds returns the conditions that the kernel should report for an end.
func (m *model) holds(at int) (what poller.Flags) {
	e := &m.ends[at]
	if !e.watched {
		return 0
	}
	if at%2 == 0 {
		if e.bytes > 0 {
			what |= poller.Read & e.want
		}
		if !m.ends[at+1].open {
			what |= poller.Read | poller.Write | poller.Closed
		}
		return what
	}
	what = poller.Write & e.want
	if !m.ends[at-1].open {
		what |= poller.Read | poller.Write | poller.Error
	}
	return what
}

// look compares one Wait of each poller with the model.
func (m *model) look(room int) {
	truth := map[uint64]poller.Flags{}
	for i := range m.ends {
		if what := m.holds(i); what != 0 {
			truth[m.ends[i].tag] = what
		}
	}
	for _, p := range m.pollers {
		left := map[uint64]poller.Flags{}
		for tag, what := range truth {
			left[tag] = what
		}
		ready := make([]poller.Ready, room)
		n, err := p.Wait(ready, 0)
		m.check("Wait", err)
		if n != min(room, len(truth)) {
			m.t.Fatalf("%s: %d reports %x, want %d of %x", p.Name(), n, ready[:n], min(room, len(truth)), truth)
		}
		for _, r := range ready[:n] {
			if left[r.Tag] != r.What || r.What == 0 {
				m.t.Fatalf("%s: report %x, want one of %x, each once", p.Name(), r, left)
			}
			delete(left, r.Tag)
		}
	}
}
