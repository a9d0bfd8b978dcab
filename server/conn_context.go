package server

import "context"

// A connContext is what a connection has for Context.
type connContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Context returns a context that ends with the connection, and at the latest with Server.Close or the end of the context of
// Server.Shutdown. Its cause is the reason of the connection's end, and ErrClosed after Conn.Close. It does not end when the client closes
// its sending side, because the answers are still sent; an ordinary close by the client looks the same to the server. With a CancelHandler,
// such as a Dispatcher with CancelOnEOF, it ends then, too, and the cause is ErrPeerClosed. It ends when the client resets the connection, when a write fails, at a timeout and by Abort. Input that has arrived is still handled after a reset or a
// failed write. From its first call until the connection ends, it takes up about 500 bytes; see Reply.OnCancel. Any goroutine.
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

// isCanceled reports whether the contexts have ended because the peer has closed its sending half. Under the connection's mu.
func (x *ext) isCanceled() bool { return x != nil && x.canceled }

// cancelCause returns the cause of the end of the contexts: the reason of the connection's end, or ErrPeerClosed. Under the connection's mu.
func (x *ext) cancelCause() error {
	switch {
	case x == nil:
		return ErrClosed
	case x.canceled:
		return ErrPeerClosed
	}
	return orClosed(x.reason)
}

// endContext ends the contexts of Context and of the TLS handshake, if there are any, and calls the functions of Reply.OnCancel. Under mu.
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
