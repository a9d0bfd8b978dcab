package server

import "github.com/evmq/evmq/internal/outq"

// While a loop works on a connection, output that the handler writes and the loop gives to the kernel in the same turn is not counted in
// Server.buffered. Only the output that is left at the end, and output above maxUncounted, is counted.

// running is the state that the loop keeps for the connection that it works on, the one whose sched has schedRunning. Under that
// connection's mu.
type running struct {
	counted int         // bytes by which its output is counted in Server.buffered
	spare   *outq.Queue // for output(); nil for none
	wrote   bool        // writeNow has written since the last flush
	err     error       // of writeNow, for the flush
}

// startRunning begins the loop's work on the connection, if it has not begun yet: until stopRunning the connection is not queued for output
// and commands, since the loop checks for them itself. Under mu, on the loop.
func (c *loopConn) startRunning() {
	if c.sched&schedRunning != 0 {
		return
	}
	c.sched |= schedRunning
	r := &c.loop.running
	r.counted, r.wrote, r.err = 0, false, nil
	if c.out != nil || c.ext != nil {
		c.loop.running.counted = c.outputMemory()
	}
}

// stopRunning ends the loop's work on the connection, if it has begun, and counts its output exactly. Under mu, on the loop.
func (c *loopConn) stopRunning() {
	if c.sched&schedRunning == 0 {
		return
	}
	c.sched &^= schedRunning
	if c.out != nil || c.ext != nil || c.loop.running.counted != 0 {
		c.loop.srv.addBuffered(c.outputMemory() - c.loop.running.counted)
	}
}

// maxUncounted limits the difference between the memory of the output and its count in Server.buffered, for each loop. It is more than the
// memory of a small answer.
const maxUncounted = 4 << 10

// countedOutput returns the number of bytes by which the output is counted in Server.buffered. It is the argument of countOutput after a
// change of the output. While the loop works on the connection, it may differ from outputMemory. Under mu.
func (c *Conn) countedOutput() int {
	if c.sched&schedRunning != 0 {
		return c.loop.running.counted
	}
	return c.outputMemory()
}

// countOutput counts the output in Server.buffered by the memory that it occupies now. So far it is counted by the result of countedOutput.
// Under mu.
func (c *Conn) countOutput(counted int) {
	if c.sched&schedRunning != 0 && c.ext == nil && c.out != nil && c.out.IsSmall() {
		c.loop.running.counted = counted
		return
	}
	n := c.outputMemory()
	if c.sched&schedRunning != 0 {
		if grown := n - counted; -maxUncounted <= grown && grown <= maxUncounted {
			c.loop.running.counted = counted
			return
		}
		c.loop.running.counted = n
	}
	c.loop.srv.addBuffered(n - counted)
}
