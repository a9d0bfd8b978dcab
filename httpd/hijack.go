package httpd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/server"
)

// Hijack implements http.Hijacker. The connection stays on its loop. Read and Write of the net.Conn block only the goroutine that calls them.
// The bufio.ReadWriter reads and writes that net.Conn. Input that the handler has not read before can be read from either. The deadlines
// of the server do not apply any more.
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
	r.c.h.s.hijacked.Add(1)
	r.c.extra().isHijacked.Store(true)
	nc := &hijackedConn{c: *r.c, w: r.w, in: r.w.Input()}
	_ = nc.in.SetReadDeadline(time.Time{}) // fails if the connection has ended, which Read reports
	r.c.notify(http.StateHijacked)
	return nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil
}

// A hijackedConn is a connection that the handler has hijacked. It is a net.Conn, with a method CloseWrite.
type hijackedConn struct {
	c       conn // a copy, so that the request need not be kept
	w       server.Reply
	in      server.Input
	reading sync.Mutex // held while Read runs, since an Input is for one goroutine
	writing sync.Mutex // held while Write runs, so that its bytes are contiguous
	limits  sync.Mutex // held while the write deadline is set, so that the one that Close sets stays
	closed  atomic.Bool
}

// Read implements net.Conn.
func (c *hijackedConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.in.Read(p)
	return n, c.opError("read", err)
}

// maxPiece is the largest part of a Write that is accepted as a whole or not at all.
const maxPiece = 64 << 10

// Write implements net.Conn. It returns the number of bytes that were accepted, which are sent unless the connection is lost.
func (c *hijackedConn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		piece := slices.Clone(p[n:min(n+maxPiece, len(p))])
		if err := c.w.WriteOwned(piece, nil); err != nil { // Reply.Write could have gathered a part that no later call sends
			return n, c.opError("write", err)
		}
		if n += len(piece); n == len(p) {
			return n, nil
		}
	}
}

// CloseWrite closes the write side when what was written is sent, as the method of *net.TCPConn and *tls.Conn does: the client reads the end
// of the stream, and what it sends is still read. Later calls of Write fail. Close is still necessary.
func (c *hijackedConn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.opError("close", c.w.CloseWrite())
}

// opError returns err as package net would.
func (c *hijackedConn) opError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case c.closed.Load() || errors.Is(err, server.ErrReplyEnded):
		err = net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded): // so that the net.OpError is a timeout
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close implements net.Conn: what was written is sent, and the connection is closed. Calls that wait fail.
func (c *hijackedConn) Close() error {
	c.limits.Lock()
	again := c.closed.Swap(true)
	if !again {
		_ = c.w.SetWriteDeadline(time.Unix(1, 0)) // ends a Write that waits; fails if the connection has ended
	}
	c.limits.Unlock()
	if again {
		return c.opError("close", net.ErrClosed)
	}
	_ = c.w.Close()    // fails if the connection has ended
	_ = c.c.sc.Close() // as above
	c.c.h.s.hijacked.Add(-1)
	return nil
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

// SetWriteDeadline implements net.Conn.
func (c *hijackedConn) SetWriteDeadline(t time.Time) error {
	c.limits.Lock()
	defer c.limits.Unlock()
	if c.closed.Load() {
		return c.opError("set", net.ErrClosed)
	}
	return c.opError("set", c.w.SetWriteDeadline(t))
}
