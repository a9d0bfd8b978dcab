package websocket

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxStreamed is the number of bytes of a NetConn that are not read from which on its WebSocket is not read either.
const maxStreamed = 64 << 10

// NetConn returns a net.Conn whose stream is the payload of the messages, for libraries that want one. From now on messages are not given to
// Config.Message; their types are ignored. A program calls it in Config.Opened, or before the handler of the request returns, so that no message is given to
// Config.Message before. Further calls return the same net.Conn.
//
// Each Write sends one message of type t, and waits until the kernel has it. Read and Write block the goroutine that calls them, and no other. While more
// than 64 KB are not read, the WebSocket is not read. Read returns io.EOF when the peer has closed with CloseNormal, CloseGoingAway or CloseNoStatus, and
// otherwise a *CloseError. Close is Conn.Close with CloseNormal, and ends calls of Read and Write that wait. A Write whose deadline passes, or that Close
// ends, fails, but its message may still be sent. A Write fails if t is neither Text nor Binary. Any goroutine.
func (c *Conn) NetConn(t MessageType) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.extra()
	if x.stream == nil {
		x.stream = &stream{c: c, t: t, ready: make(chan struct{}, 1), over: make(chan struct{}), closed: make(chan struct{})}
		x.stream.reading.init()
		x.stream.writing.init()
		if c.state == stateClosed {
			x.stream.end(&CloseError{Code: CloseAbnormal, Err: ErrClosed})
		}
	}
	return x.stream
}

// streamOf returns the stream of NetConn, or nil. Under mu.
func (c *Conn) streamOf() *stream {
	if c.more == nil {
		return nil
	}
	return c.more.stream
}

// A stream is the net.Conn of NetConn.
type stream struct {
	c *Conn
	t MessageType

	reading, writing deadline
	ready            chan struct{} // receives a value when a Read has to look again
	over             chan struct{} // closed when the connection has ended or Close was called
	closed           chan struct{} // closed when Close was called
	readers          sync.Mutex    // held while Read runs

	mu     sync.Mutex // guards what follows
	buf    []byte
	pos    int   // the bytes of buf before it were read
	paused bool  // the WebSocket is not read
	err    error // of Read, when buf is empty; nil before the end
}

// push adds the payload of a message.
func (s *stream) push(p []byte) {
	s.mu.Lock()
	if s.pos == len(s.buf) {
		s.buf, s.pos = s.buf[:0], 0
	}
	if s.err == nil {
		s.buf = append(s.buf, p...)
	}
	pause := !s.paused && len(s.buf)-s.pos > maxStreamed
	if pause {
		s.paused = true
		s.c.sc.PauseRead(s)
	}
	s.mu.Unlock()
	s.wake()
}

// isPaused reports whether the WebSocket is not read. s may be nil.
func (s *stream) isPaused() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused
}

// wake makes a Read look again.
func (s *stream) wake() {
	select {
	case s.ready <- struct{}{}:
	default: // it will look anyway
	}
}

// end records how the WebSocket has ended.
func (s *stream) end(e *CloseError) {
	if e.ByPeer && (e.Code == CloseNormal || e.Code == CloseGoingAway || e.Code == CloseNoStatus) {
		s.fail(io.EOF)
	} else {
		s.fail(e)
	}
}

// fail sets the error of Read unless it is known, and ends calls that wait.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.over)
	}
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	s.readers.Lock()
	defer s.readers.Unlock()
	for blocking := false; ; blocking = true {
		if n, err := s.take(p); n > 0 || err != nil || len(p) == 0 {
			return n, s.opError("read", err)
		}
		if !blocking {
			if err := s.c.sc.Server().Blocking(); err != nil {
				return 0, s.opError("read", err)
			}
		}
		select {
		case <-s.ready:
		case <-s.over:
		case <-s.reading.passed():
		}
	}
}

// take reads what is there.
func (s *stream) take(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading.hasPassed() {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, s.buf[s.pos:])
	s.pos += n
	if s.paused && len(s.buf)-s.pos <= maxStreamed/2 {
		s.paused = false
		s.c.sc.ResumeRead(s)
	}
	if s.pos < len(s.buf) || n > 0 {
		return n, nil
	}
	if cap(s.buf) > maxKept {
		s.buf, s.pos = nil, 0
	}
	return 0, s.err
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	if s.writing.hasPassed() {
		return 0, s.opError("write", os.ErrDeadlineExceeded)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.c.sc.Server().Blocking(); err != nil {
		return 0, s.opError("write", err)
	}
	done := make(chan error, 1)
	if err := s.c.WriteNotify(s.t, p, func(err error) { done <- err }); err != nil {
		return 0, s.opError("write", err)
	}
	select {
	case err := <-done:
		if err != nil {
			return 0, s.opError("write", err)
		}
		return len(p), nil
	case <-s.closed:
		return 0, s.opError("write", net.ErrClosed)
	case <-s.writing.passed():
		return 0, s.opError("write", os.ErrDeadlineExceeded)
	}
}

// opError returns err as package net would.
func (s *stream) opError(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // this very value
		return err
	}
	return &net.OpError{Op: op, Net: "websocket", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// Close implements net.Conn.
func (s *stream) Close() error {
	err := s.c.Close(CloseNormal, "")
	s.fail(net.ErrClosed)
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.buf, s.pos = nil, 0
	if s.paused { // so that the peer's close frame is read
		s.paused = false
		s.c.sc.ResumeRead(s)
	}
	s.mu.Unlock()
	return s.opError("close", err)
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.c.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.c.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	s.reading.set(t)
	s.writing.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.reading.set(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.writing.set(t)
	return nil
}

// String returns a text for logs.
func (s *stream) String() string {
	return fmt.Sprintf("stream of the WebSocket with %v", s.RemoteAddr())
}

// A deadline is that of the calls of Read or Write.
type deadline struct {
	mu    sync.Mutex // guards what follows
	timer *time.Timer
	at    chan struct{} // closed when the time has passed
}

func (d *deadline) init() { d.at = make(chan struct{}) }

// set sets the time; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		d.timer = nil // its function closes at, or has done so
		d.at = make(chan struct{})
	}
	select {
	case <-d.at:
		d.at = make(chan struct{})
	default:
	}
	d.timer = nil
	if t.IsZero() {
		return
	}
	at := d.at
	if left := time.Until(t); left <= 0 {
		close(at)
	} else {
		d.timer = time.AfterFunc(left, func() { close(at) })
	}
}

// passed returns a channel that is closed when the time has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// hasPassed reports whether the time has passed.
func (d *deadline) hasPassed() bool {
	select {
	case <-d.passed():
		return true
	default:
		return false
	}
}
