package server

import (
	"fmt"
	"net"
	"slices"

	"github.com/evmq/evmq/internal/sock"
)

// Detach takes the connection out of the server once its output is flushed and no request of it is in progress: fn is called, on the loop, with
// a net.Conn, which belongs to fn and has the no-delay and keep-alive of package net, and with a copy of the input that was read and not
// consumed, decrypted. A connection that speaks TLS, or has begun to with StartTLS, is handed out as a *tls.Conn, which continues the
// session: input of the peer that was not decrypted yet is read from it; deadlines, CloseWrite and Close are those of package tls, and TLS
// of the Conn still reports the state. A connection that is not established yet is handed out when it is. The net.Conn's addresses are those of the
// socket, not of a PROXY header. Its memory and the unconsumed input count towards no limit of the server any more.
//
// Until then nothing is read and no output is accepted. If the connection ends first, or cannot be handed out, fn is called with the
// reason. Close and Abort before that end the connection, and fn is called with ErrClosed. Otherwise the handler's Close is called with
// ErrDetached. Errors: ErrInvalid if fn is nil; ErrClosed. After an error fn is not called. Any goroutine.
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
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// takeDetach returns the function of Detach, once; nil if there is none. Under mu.
func (c *loopConn) takeDetach() func(net.Conn, []byte, error) {
	if c.ext == nil {
		return nil
	}
	fn := c.ext.detach
	c.ext.detach = nil
	return fn
}

// detachNow hands the descriptor out. On the loop, when no output and no request waits.
func (c *loopConn) detachNow() {
	var rest []byte
	if c.in != nil {
		rest = slices.Clone(c.in.rest())
	}
	c.mu.Lock()
	fn := c.takeDetach()
	c.extra().detached = true // before its number may be used again, which LocalAddr would read
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
