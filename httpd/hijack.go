package httpd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/server"
)

// Hijack implements http.Hijacker. The net.Conn that it returns is the connection of the server: it stays on its loop, and its Read and
// Write block the goroutine that calls them, and no other. The bufio.ReadWriter reads and writes that net.Conn; what the client has sent
// after the request is read from both. Deadlines of the server do not apply any more.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch r.phase {
	case phaseHijacked, phaseUpgraded:
		return nil, nil, http.ErrHijacked
	case phaseParked:
		return nil, nil, ErrParked
	case phaseEnded:
		return nil, nil, fmt.Errorf("httpd: hijack: %w", server.ErrReplyEnded)
	case phaseStatus:
		r.sendHead(nil)
	}
	if err := r.w.Flush(); err != nil {
		return nil, nil, fmt.Errorf("httpd: hijack: %w", err)
	}
	if err := r.w.Defer(server.Unlimited); err != nil {
		return nil, nil, fmt.Errorf("httpd: hijack: %w", err)
	}
	r.reqBody.stopContinue()
	r.c.stopTimers()
	r.phase = phaseHijacked
	r.dropBuf()
	nc := &hijackedConn{c: r.c, w: r.w, in: r.w.Input(), timer: newPatientTimer(r.c.sc)}
	_ = nc.in.SetReadDeadline(time.Time{}) // fails if the connection has ended, which Read reports
	r.c.h.s.hijacked.Add(1)
	r.c.extra().isHijacked.Store(true)
	r.c.notify(http.StateHijacked)
	return nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil
}

// A hijackedConn is a connection that the handler has taken. It is a net.Conn. It has no method CloseWrite, because server.Conn.CloseWrite waits
// for the end of the request: a proxy that calls CloseWrite for the end of one direction would wait for a client that is not told of it.
type hijackedConn struct {
	c       *conn
	w       server.Reply
	in      server.Input
	timer   *writeTimer
	reading sync.Mutex // held while Read runs, since an Input is for one goroutine
	writing sync.Mutex // held while Write runs, so that its bytes are contiguous
	once    sync.Once
	closed  atomic.Bool // Close was called
}

// Read implements net.Conn.
func (c *hijackedConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.in.Read(p)
	return n, c.opError("read", err)
}

// Write implements net.Conn.
func (c *hijackedConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.timer.begin(); err != nil {
		return 0, c.opError("write", err)
	}
	defer c.timer.end()
	n, err := c.w.Write(p)
	if err == nil {
		err = c.w.Flush()
	}
	return n, c.opError("write", err)
}

// opError returns err as package net would.
func (c *hijackedConn) opError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case c.closed.Load() || errors.Is(err, server.ErrReplyEnded):
		err = net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded): // its method Timeout is to be found
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close implements net.Conn: what was written is sent, and the connection is closed. Calls that wait fail; if one of them is a Write, the
// connection ends at once.
func (c *hijackedConn) Close() error {
	err := c.opError("close", net.ErrClosed) // of a second call
	c.once.Do(func() {
		err = nil
		c.closed.Store(true)
		c.timer.interrupt()
		_ = c.w.Close()    // fails if the connection has ended
		_ = c.c.sc.Close() // as above
		c.c.h.s.hijacked.Add(-1)
	})
	return err
}

// LocalAddr implements net.Conn.
func (c *hijackedConn) LocalAddr() net.Addr { return c.c.localAddr() }

// RemoteAddr implements net.Conn.
func (c *hijackedConn) RemoteAddr() net.Addr { return c.c.sc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *hijackedConn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *hijackedConn) SetReadDeadline(t time.Time) error {
	return c.opError("set", c.in.SetReadDeadline(t))
}

// SetWriteDeadline implements net.Conn. A Write that waits for room at that time fails, and ends the connection, since it may have sent a part of
// its bytes.
func (c *hijackedConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.timer.stop()
	} else {
		c.timer.set(time.Until(t))
	}
	return nil
}
