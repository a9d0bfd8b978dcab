package memcache

import (
	"runtime/debug"

	"github.com/evmq/evmq/server"
)

// A panic is a fault of the program. It costs the client whose request it was, and nothing else: locks are released by defer, a worker
// begins each visit anew, and the store drops a shard whose change was interrupted.

// clientPanicked is told, as a server.Server's OnPanic, of a panic while a client was served. conn is nil for a datagram; otherwise the
// server aborts it. Any goroutine.
func (c *Cache) clientPanicked(conn *server.Conn, value any, stack []byte) {
	c.panics.Add(1)
	if conn == nil {
		c.log.Error("memcache: panic", "in", "datagram", "value", value, "stack", string(stack))
		return
	}
	c.log.Error("memcache: panic", "in", "connection", "conn", conn.ID(), "peer", conn.RemoteAddr(), "value", value, "stack", string(stack))
}

// isolated calls fn, and reports whether it returned: a panic of it is logged and counted, and goes no further. It is for goroutines that
// the cache starts. what names the work in the log.
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
