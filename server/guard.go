package server

import (
	"runtime/debug"
)

// guard calls fn, a function of the user, and recovers from a panic in it if OnPanic is set.
func (c *Conn) guard(fn func()) {
	if c.loop.srv.cfg.OnPanic == nil {
		fn()
		return
	}
	defer c.recoverPanic()
	fn()
}

// recoverPanic is deferred by functions that call one of the user. It recovers from a panic, calls OnPanic and ends the connection.
func (c *Conn) recoverPanic() {
	if v := recover(); v != nil {
		c.loop.srv.cfg.OnPanic(c, v, debug.Stack())
		c.abort(ErrPanic)
	}
}

func (l *loop) guard(c *Conn, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			l.srv.cfg.OnPanic(c, v, debug.Stack())
		}
	}()
	fn()
}
