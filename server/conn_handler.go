package server

import (
	"fmt"
	"reflect"
)

// SetHandler makes h the connection's handler, for example for an upgrade or for another framing. The input that is not consumed yet is
// given to h, after the requests in progress have ended. h's Open is not called. Errors: ErrInvalid if h is nil or an
// ExecutorNamesHandler with a name that the server does not have; the error of a CheckHandler. Any goroutine.
func (c *Conn) SetHandler(h Handler) error {
	if h == nil {
		return fmt.Errorf("set handler: %w: nil", ErrInvalid)
	}
	if err := c.loop.srv.cfg.checkChain(h); err != nil {
		return fmt.Errorf("set handler: %w", err)
	}
	c.mu.Lock()
	x := c.extra()
	if x.handler, x.newHandler = h, true; isSame(h, c.loop.srv.cfg.Handler) {
		x.handler = nil // the server's
	}
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// isSame reports whether two handlers are equal. Handlers that == cannot compare never are.
func isSame(a, b Handler) bool { return reflect.ValueOf(a).Comparable() && a == b }

// Handler returns the connection's handler: that of the last SetHandler, or the one that the connection began with. Any goroutine.
func (c *Conn) Handler() Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handlerLocked()
}

// handlerLocked is Handler under mu.
func (c *Conn) handlerLocked() Handler {
	if c.ext != nil && c.ext.handler != nil {
		return c.ext.handler
	}
	return c.loop.srv.cfg.Handler
}

// takeNewHandler reports whether SetHandler was called since the last call, so that the framing of the new handler begins with a new
// cursor. Under mu.
func (c *loopConn) takeNewHandler() bool {
	if c.ext == nil || !c.ext.newHandler {
		return false
	}
	c.ext.newHandler = false
	return true
}

// maxInput returns the number of bytes that may be stored without being consumed. Any goroutine.
func (c *Conn) maxInput() int {
	n := c.loop.srv.cfg.MaxInput
	if h, ok := FindHandler[LimitHandler](c.Handler()); ok {
		n = max(n, h.MaxInput())
	}
	return n
}
