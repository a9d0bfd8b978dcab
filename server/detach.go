package server

import (
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/evmq/evmq/internal/sock"
)

// Detach removes the connection from the server when its output is flushed and no request of it is in progress. Then fn is called, on the
// loop, with a net.Conn, which belongs to fn and has the no-delay and keep-alive options of package net, and with a copy of the decrypted
// input that was not consumed. The net.Conn's addresses are those of the socket, not of a PROXY header. The net.Conn and the input count
// towards no limit of the server any more.
//
// If the connection uses TLS, from the beginning or by StartTLS, the net.Conn is a *tls.Conn, which continues the session: input of the
// peer that was not decrypted yet is read from it, and deadlines, CloseWrite and Close are those of package tls. Conn.TLS still returns the
// state. Before Open, Detach waits until the connection is established.
//
// From the call on nothing is read, and no output is accepted but that of requests in progress, for which Detach waits. If the connection
// ends first, for example by Close or Abort, fn is called with an error that matches ErrClosed; if it cannot be removed, with the reason.
// After a successful Detach the handler's Close is called with ErrDetached. Errors: ErrInvalid if fn is nil; ErrClosed. After an error fn
// is not called. Any goroutine.
func (c *Conn) Detach(fn func(nc net.Conn, rest []byte, err error)) error {
	c.mu.Lock()
	var err error
	switch {
	case fn == nil:
		err = fmt.Errorf("%w: function is nil", ErrInvalid)
	case c.state != connOpen:
		err = c.refusal()
	}
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("detach: %w", err)
	}
	c.setState(connHalf)
	c.extra().detach = fn
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// DetachCounted is Detach for a connection that remains one of the server's: it counts in MaxConns and Stats.OpenConns, and Shutdown waits for
// it, until leave is called. fn, or a goroutine that fn gives the net.Conn to, calls leave when it has closed the net.Conn. Further calls of
// leave have no effect; any goroutine may call it. It is nil if err is not. Errors: as Detach. Any goroutine.
func (c *Conn) DetachCounted(fn func(nc net.Conn, rest []byte, leave func(), err error)) error {
	if fn == nil {
		return c.Detach(nil)
	}
	return c.Detach(func(nc net.Conn, rest []byte, err error) {
		if err != nil {
			fn(nil, nil, nil, err)
			return
		}
		c.mu.Lock()
		x := c.extra()
		x.counts = true
		outgoing := x.outgoing
		c.mu.Unlock()
		fn(nc, rest, sync.OnceFunc(func() { c.loop.srv.leaveConn(outgoing) }), nil)
	})
}

// leave ends the counting of the connection, unless DetachCounted has given that to its function.
func (c *loopConn) leave() {
	c.mu.Lock()
	counts := c.ext != nil && c.ext.counts
	c.mu.Unlock()
	if !counts {
		c.loop.srv.leaveConn(c.isOutgoing())
	}
}

// takeDetach returns the function of Detach, or nil if there is none or it was taken before. Under mu.
func (c *loopConn) takeDetach() func(net.Conn, []byte, error) {
	if c.ext == nil {
		return nil
	}
	fn := c.ext.detach
	c.ext.detach = nil
	return fn
}

// detachNow gives the descriptor to the function of Detach. On the loop, when no output and no request waits.
func (c *loopConn) detachNow() {
	var rest []byte
	if c.in != nil {
		rest = slices.Clone(c.in.rest())
	}
	c.mu.Lock()
	fn := c.takeDetach()
	c.extra().detached = true // before the descriptor is closed: LocalAddr must not use its number afterwards
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
