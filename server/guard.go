package server

import (
	"runtime/debug"
)

// guard calls the user's fn, and isolates its panic where the server is to survive that.
func (c *Conn) guard(fn func()) {
	if c.loop.srv.cfg.OnPanic == nil {
		fn()
		return
	}
	defer c.survive()
	fn()
}

// survive is deferred by functions that call the user's. It isolates a panic: the connection ends.
func (c *Conn) survive() {
	if v := recover(); v != nil {
		c.loop.srv.OnPanic(c, v, debug.Stack())
		c.abort(ErrPanic)
	}
}

func (l *loop) guard(c *Conn, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			l.srv.OnPanic(c, v, debug.Stack())
		}
	}()
	fn()
}
