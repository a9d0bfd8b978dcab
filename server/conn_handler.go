package server

import (
	"fmt"
)

// SetHandler makes h the connection's handler from its next message on: for an upgrade, or for another framing. In a request
// on a worker it takes effect with the next message, before the request has ended. h's Open is not called. Any goroutine.
func (c *Conn) SetHandler(h Handler) error {
	if h == nil {
		return fmt.Errorf("set handler: %w: nil", ErrInvalid)
	}
	if err := checkHandler(h); err != nil {
		return fmt.Errorf("set handler: %w", err)
	}
	c.mu.Lock()
	x := c.extra()
	x.handler, x.newHandler = h, true
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// Handler returns the connection's handler: that of the last SetHandler, or the one that the connection began with. Any goroutine.
func (c *Conn) Handler() Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handlerLocked()
}

func (c *Conn) handlerLocked() Handler {
	if c.ext != nil && c.ext.handler != nil {
		return c.ext.handler
	}
	return c.loop.srv.cfg.Handler
}

// takeNewHandler reports, once for each handler, that it is new, so that its framing starts anew. Under mu.
func (c *loopConn) takeNewHandler() bool {
	if c.ext == nil || !c.ext.newHandler {
		return false
	}
	c.ext.newHandler = false
	return true
}
