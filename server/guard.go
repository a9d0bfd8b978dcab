package server

import (
	"runtime/debug"
)

// guard calls fn, a function of the user. If OnPanic is set, a panic in it aborts the connection.
func (c *Conn) guard(fn func()) {
	if c.loop.srv.cfg.OnPanic == nil {
		fn()
		return
	}
	defer c.recoverPanic()
	fn()
}

// recoverPanic is deferred by functions that call a function of the user when OnPanic is set. After a panic it calls OnPanic and aborts the
// connection.
func (c *Conn) recoverPanic() {
	if v := recover(); v != nil {
		c.loop.srv.cfg.OnPanic(c, v, debug.Stack())
		c.abort(ErrPanic)
	}
}

// guard calls fn, a function of the user that belongs to no connection, and recovers from a panic in it. OnPanic is set.
func (l *loop) guard(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			l.srv.cfg.OnPanic(nil, v, debug.Stack())
		}
	}()
	fn()
}
