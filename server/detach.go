package server

import (
	"fmt"
	"net"
	"slices"

	"github.com/evmq/evmq/internal/sock"
)

// Detach takes the connection out of the server once its output is flushed and no request of it is in work: fn is called, on the
// loop, with a net.Conn that is fn's own, with package net's no-delay and keep-alive, and a copy of what was read and not consumed, decrypted.
// A connection that speaks TLS, or has begun to with StartTLS, is handed out as a *tls.Conn, which goes on with the session: what came
// from the peer and was not decrypted yet is read from it, deadlines, CloseWrite and Close are those of package tls, and TLS of the Conn still
// reports the state. One that is not established yet is handed out when it is. The net.Conn's addresses are those of the socket, not of a
// PROXY header. Its memory and rest count towards no limit of the server any more.
//
// Until then nothing is read and no output is accepted. When it cannot be, as because the connection ends first, fn is called with the
// reason. Close is told ErrDetached. Errors: ErrInvalid if fn is nil; ErrClosed. fn is not called then. Any goroutine.
func (c *Conn) Detach(fn func(nc net.Conn, rest []byte, err error)) error {
	c.mu.Lock()
	var err error
	switch {
	case fn == nil:
		err = fmt.Errorf("%w: nil function", ErrInvalid)
	case c.state != connOpen:
		err = c.refusal()
	}
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("detach: %w", err)
	}
	c.state = connHalf
	c.extra().detach = fn
	queue := c.mark(cmdLook)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// takeDetach takes what Detach has left. Under mu.
func (c *loopConn) takeDetach() func(net.Conn, []byte, error) {
	if c.ext == nil {
		return nil
	}
	fn := c.ext.detach
	c.ext.detach = nil
	return fn
}

// detachNow hands the descriptor out. On the loop, when nothing waits.
func (c *loopConn) detachNow() {
	var rest []byte
	if c.in != nil {
		rest = slices.Clone(c.in.rest())
	}
	c.mu.Lock()
	fn := c.takeDetach()
	c.extra().handed = true // before its number is another's, lest LocalAddr ask that
	c.mu.Unlock()
	_ = c.ev.Del() // before the descriptor belongs to another owner
	c.loop.srv.conns.set(c.ev.FD(), nil)
	nc, err := sock.FileConn(c.ev.FD())
	if err == nil && c.layers.has(layerTLS) {
		t := c.ext.tls
		t.pipe.Detach(nc)
		nc = t.conn
	}
	c.guard(func() { fn(nc, rest, err) })
	c.fail(ErrDetached)
}
