package server

import "context"

// A connContext is the context of Conn.Context, and the function that ends it.
type connContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Context returns a context that ends with the connection, and at the latest with Server.Close or the end of the context of
// Server.Shutdown. Its cause is the reason of the connection's end, or ErrClosed after Conn.Close. It also ends when the peer resets the
// connection and when a write fails, although input that has arrived is still handled then.
//
// It does not end when the peer closes its sending half, because the answers are still sent: to the server, a peer that has closed the whole
// connection looks the same. With a CancelHandler, such as a Dispatcher with CancelOnEOF, it ends also when the peer closes its sending half
// while a request is in progress, and its cause is ErrPeerClosed.
//
// From the first call until the connection ends, the context takes up about 500 bytes; see Reply.OnCancel. Any goroutine.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.extra()
	if x.ctx == nil {
		ctx, cancel := context.WithCancelCause(c.loop.srv.baseCtx)
		x.ctx = &connContext{ctx, cancel}
		if c.state.isDead() || x.canceled {
			c.endContext()
		}
	}
	return x.ctx.Context
}

// isCanceled reports whether the contexts have ended because the peer has closed its sending half; see CancelHandler. x may be nil. Under the
// connection's mu.
func (x *ext) isCanceled() bool { return x != nil && x.canceled }

// cancelCause returns the cause of the contexts when they have ended: the reason of the connection's end, or ErrPeerClosed. x may be nil. Under
// the connection's mu.
func (x *ext) cancelCause() error {
	switch {
	case x == nil:
		return ErrClosed
	case x.canceled:
		return ErrPeerClosed
	}
	return orClosed(x.reason)
}

// endContext ends the contexts of Context and of the TLS handshake, if there are any, and starts the functions of Reply.OnCancel. Under mu.
func (c *Conn) endContext() {
	x := c.ext
	cause := x.cancelCause()
	c.loop.cancels.end(c, cause)
	if x == nil {
		return
	}
	if x.ctx != nil {
		x.ctx.cancel(cause)
	}
	if x.tls != nil && x.tls.cancel != nil {
		x.tls.cancel(cause)
	}
}
