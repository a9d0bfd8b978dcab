package server

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

const (
	maxRefusals   = 64          // refusals under way on a loop, and those that wait for it; a client above that is disconnected at once
	refusalLinger = time.Second // how long a client may take to read its refusal
)

// alertInternalError is the TLS record that ends a connection before its handshake. It is not encrypted: there is no key yet.
var alertInternalError = []byte{21, 3, 1, 0, 2, 2, 80}

// refusal is a connection that is only sent a text, for example BusyText. It is closed when the client has closed its half, since a close with
// unread input would make the kernel send a reset, which discards the text.
type refusal struct {
	l    *loop
	fd   int
	e    event.Event
	done func()
}

// refuse sends BusyText on fd, and closes fd. done, if not nil, is called when it is closed.
func (l *loop) refuse(fd int, setup connSetup, done func()) {
	s := l.srv
	defer s.totals.refused.Add(1) // after the close, so that the descriptor of a counted client is closed
	text := []byte(s.cfg.BusyText)
	if setup.tls != nil {
		text = alertInternalError
	}
	l.dismiss(fd, text, done)
}

// dismiss sends text on fd, and closes fd. done, if not nil, is called when it is closed.
func (l *loop) dismiss(fd int, text []byte, done func()) {
	r := &refusal{l: l, fd: fd, done: done}
	if l.ended.Load() || l.ev.InitEvent(&r.e, fd, event.Read|event.Persist, r.read) != nil {
		r.closeFD() // the loop is closed or being closed; with UseLoops, the program may still run it
		return
	}
	var err error
	if len(text) > 0 {
		_, err = l.srv.calls.Write(fd, text)
	}
	if err == nil {
		err = l.srv.calls.Shutdown(fd, unix.SHUT_WR)
	}
	if err != nil || len(l.refusals) >= maxRefusals {
		r.close()
		return
	}
	if err = r.e.Add(event.NoTimeout); err == nil {
		err = r.e.SetTimeout(refusalLinger)
	}
	if err != nil {
		r.close()
		return
	}
	l.refusals[r] = struct{}{}
}

// read reads and discards the client's input, until its end.
func (r *refusal) read(_ *event.Event, what event.Flags) {
	r.l.assertInLoop("a refusal")
	if what&event.Timeout == 0 {
		n, err := r.l.srv.calls.Read(r.fd, r.l.buf)
		if n > 0 || err != nil && wouldBlock(err) {
			return
		}
	}
	r.close()
}

func (r *refusal) close() {
	delete(r.l.refusals, r)
	_ = r.e.Del() // the event may not be added, and the loop may be closed
	r.closeFD()
}

// closeFD ends a refusal.
func (r *refusal) closeFD() {
	if err := r.l.srv.calls.Close(r.fd); err != nil {
		r.l.srv.cfg.Logger.Warn("server: close refused connection", "err", err)
	}
	if r.done != nil {
		r.done()
	}
}

// reserve is a descriptor that is kept for refusing a client when the process has no other descriptor. The listeners of all loops share
// it.
type reserve struct {
	mu sync.Mutex
	fd sock.Reserve
}

func (r *reserve) open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fd.Open()
}

// release closes the descriptor, and reports whether there was one.
func (r *reserve) release() (had bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fd.Held(), r.fd.Release()
}

// refuseWithReserve refuses one client with the descriptor in reserve, since the process has no other. The reserve is opened again when
// that client's connection is closed; until then other clients wait in the kernel's queue.
func (a *acceptor) refuseWithReserve() {
	s := a.loop.srv
	if had, err := s.reserve.release(); !had || err != nil {
		return // an earlier client is being refused with it
	}
	reopen := func() {
		if err := s.reserve.open(); err != nil {
			s.cfg.Logger.Warn("server: open reserve descriptor", "err", err)
		}
	}
	fd, _, err := s.calls.Accept(a.fd)
	if err != nil {
		reopen()
		return
	}
	a.ln.count()
	a.loop.refuse(fd, a.ln.setup, reopen)
}
