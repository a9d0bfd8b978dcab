package memcache

import (
	"runtime/debug"

	"github.com/evmq/evmq/server"
)

// A panic is a fault of the program. It affects only the client whose request it was: locks are released by defer, a worker resets its state at
// each visit, and the store drops the content of a shard whose change was interrupted.

// clientPanicked is the OnPanic function of a server.Server: it counts and logs a panic while a client was served. conn is nil for a datagram;
// otherwise the server aborts it. Any goroutine.
func (c *Cache) clientPanicked(conn *server.Conn, value any, stack []byte) {
	c.panics.Add(1)
	if conn == nil {
		c.log.Error("memcache: panic", "in", "datagram", "value", value, "stack", string(stack))
		return
	}
	c.log.Error("memcache: panic", "in", "connection", "conn", conn.ID(), "peer", conn.RemoteAddr(), "value", value, "stack", string(stack))
}

// isolated calls fn, and reports whether it returned. A panic of fn is recovered, counted and logged. It is for goroutines of the cache. what
// describes the work in the log.
func (c *Cache) isolated(what string, fn func()) (returned bool) {
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			c.panics.Add(1)
			c.log.Error("memcache: panic", "in", what, "value", v, "stack", string(debug.Stack()))
		}
	}()
	fn()
	return true
}
