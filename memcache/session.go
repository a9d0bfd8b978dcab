package memcache

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/server"
)

// A session is one connection's state. It belongs to the connection's loop.
type session struct {
	w                *worker
	value            *value       // the large value that is being received
	waitingSince     time.Time    // when the request began to wait for memory; zero if it does not wait
	lastWait         *wait        // the last wait for memory; nil if there was none
	skip             int          // bytes of input to discard
	afterSkip        []byte       // the answer to send after them: the client does not read it before
	unsent           []byte       // answers for which the connection's output has no room
	getLook          look         // the parameters of the get in progress
	moreKeys         bool         // the input begins with further keys of the get in progress
	closeAfterUnsent bool         // close the connection when unsent is written
	scanned          int          // bytes at the beginning of the input that contain no end of line
	protocol         Protocol     // Auto until the first byte has arrived
	known            bool         // the client has authenticated, or need not
	last             atomic.Int64 // second of the last request. Any goroutine reads it
	login            *login       // with Users, text: the value of the login is being received
	partial          bool         // a command and its value stay in the input: the rest of the value, or memory, is missing
	broken           bool         // the cache closes the connection because of the client's input; false after quit
	fd               int32
	state            atomic.Uint32  // a connState, for stats conns. Any goroutine reads it
	watcher          *watch.Watcher // of the watch command; nil for most
}

// handler implements the interfaces of package server.
type handler struct{ *Cache }

// Handler returns the handler for the connections of servers. Any goroutine.
func (c *Cache) Handler() server.Handler { return handler{c} }

// Open implements server.Handler.
func (h handler) Open(c *server.Conn) {
	s := &session{w: h.worker(c.Loop()), known: h.config.Users == nil, fd: int32(c.FD())}
	s.last.Store(h.clock.Unix())
	c.SetValue(s)
	s.countTLSSession(c)
	s.logOpened(c)
}

// Close implements server.Handler.
func (h handler) Close(c *server.Conn, reason error) {
	if errors.Is(reason, server.ErrIdle) {
		h.idleClosed.Add(1)
	}
	if reason != nil && !errors.Is(reason, io.EOF) && !errors.Is(reason, server.ErrServerClosed) {
		h.logClosed(c, reason)
	}
	s, ok := c.Value().(*session)
	if !ok {
		return
	}
	if s.watcher != nil {
		h.hub.Remove(s.watcher)
	}
	if s.logClosedToWatchers(c, reason); s.value != nil {
		s.value.drop()
	}
	if s.lastWait != nil {
		s.lastWait.end()
	}
}

// Data implements server.Handler: it serves the requests in p, up to the budget.
func (h handler) Data(c *server.Conn, p []byte) (n int, err error) {
	s := c.Value().(*session)
	if s.watcher != nil {
		return len(p), nil
	}
	w := s.w
	w.begin(c)
	if now := h.clock.Unix(); s.last.Load() != now {
		s.last.Store(now)
	}
	if !s.resume(c) {
		return 0, nil
	}
	left := h.config.PerTurn
	for n < len(p) && left > 0 && !w.done() && s.watcher == nil {
		command := s.known && s.value == nil && s.skip == 0 && !s.moreKeys
		used, whole := s.step(p[n:])
		if used == 0 && !whole {
			break
		}
		if command && h.verbosity.Load() > 1 {
			s.logRequest(p[n : n+used])
		}
		n += used
		if whole {
			left--
		}
		if len(w.out) >= maxOut {
			w.flush()
		}
	}
	w.counts.add(bytesRead, uint64(n))
	s.setState()
	w.flush()
	switch {
	case s.watcher != nil:
		return len(p), nil
	case w.overloaded: // the whole server is full: the answers are not kept as well
		return n, server.ErrOverload
	case w.full:
		s.unsent, s.closeAfterUnsent, s.broken = append(s.unsent, w.out...), w.quit, w.quit && !w.bye
	case w.quit:
		s.broken = !w.bye
		c.Close()
		return len(p), nil
	case n < len(p) && (left == 0 || w.sent >= maxOut):
		w.counts.add(connYields, 1)
		return n, server.ErrYield
	case n == len(p):
		s.place(c)
	}
	return n, nil
}

// resume writes the answers that waited for room, and reports whether the session can continue.
func (s *session) resume(c *server.Conn) bool {
	if len(s.unsent) == 0 {
		return true
	}
	n, err := c.Write(s.unsent)
	s.w.counts.add(bytesWritten, uint64(n))
	if errors.Is(err, server.ErrFull) {
		if errors.Is(err, server.ErrServerFull) {
			c.Abort() // the whole server is full: see Data
		}
		return false
	}
	s.unsent = nil
	if s.closeAfterUnsent {
		c.Close()
	}
	return err == nil && !s.closeAfterUnsent
}

// HighWater implements server.MarkHandler.
func (h handler) HighWater(*server.Conn) {}

// LowWater implements server.MarkHandler: it writes the answers that waited for room.
func (h handler) LowWater(c *server.Conn) {
	if s, ok := c.Value().(*session); ok {
		s.resume(c)
	}
}

// step serves one request, or consumes a part of one. If used is 0 and whole is false, it needs more input or waits for memory.
func (s *session) step(p []byte) (used int, whole bool) {
	s.w.mark = len(s.w.out)
	switch {
	case s.moreKeys:
		return s.getOn(p)
	case s.value != nil:
		return s.value.take(s, p)
	case s.skip > 0:
		used = min(s.skip, len(p))
		if s.skip -= used; s.skip == 0 {
			s.w.out = append(s.w.out, s.afterSkip...)
			s.afterSkip = nil
		}
		return used, false
	case s.protocol == Auto && !s.decide(p[0]):
		s.w.quit = true
		return len(p), true
	case s.protocol == Binary:
		return s.frame(p)
	case !s.known:
		return s.authenticate(p)
	}
	return s.command(p)
}

// discard discards the next n bytes of input. The last answer is sent after them.
func (s *session) discard(n int) {
	if n == 0 {
		return
	}
	w := s.w
	s.skip, s.afterSkip = n, bytes.Clone(w.out[w.mark:])
	w.out = w.out[:w.mark]
}

// decide determines the protocol from the first byte of the connection. ok is false if the protocol is not allowed.
func (s *session) decide(first byte) (ok bool) {
	s.protocol = Text
	if first == protocol.RequestMagic {
		s.protocol = Binary
	}
	c := &s.w.config
	switch {
	case c.Protocol == Binary, c.SASL:
		return s.protocol == Binary
	case c.Protocol == Text, c.Users != nil: // binary clients authenticate with SASL only
		s.protocol = Text
	}
	return true
}
