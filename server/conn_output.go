package server

import (
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/tlsio"
)

// queuedBytes returns the number of bytes that will be sent before those of a reply. It does not include deferred writes. Under mu.
func (c *Conn) queuedBytes() int {
	if c.out == nil {
		return 0
	}
	return c.out.Mem()
}

// outputMemory returns the memory that the output occupies or will occupy: with TLS, the bytes that are encrypted next are counted twice
// until the kernel has them. Under mu.
func (c *Conn) outputMemory() int {
	n := 0
	if c.out != nil {
		n = c.out.Footprint()
	}
	if c.ext != nil {
		n += c.ext.outputMemory(c.out)
	}
	return n
}

// outputMemory is the part of Conn.outputMemory that few connections have. out is the connection's queue.
func (x *ext) outputMemory(out *outq.Queue) int {
	n := 0
	if out != nil && x.tls != nil {
		n += int(min(out.Len(), 2*tlsio.MaxRecord))
	}
	if x.deferred != nil {
		n += x.deferred.Footprint()
	}
	if x.afterTLS != nil {
		n += x.afterTLS.Footprint()
	}
	return n
}

// output returns the queue that the loop writes. Under mu.
func (c *Conn) output() *outq.Queue {
	if c.out == nil {
		if spare := &c.loop.running.spare; c.sched&schedRunning != 0 && *spare != nil {
			c.out, *spare = *spare, nil
		} else {
			c.out = outq.Get()
		}
	}
	return c.out
}

// freeOutput releases the queue if it is empty. Under mu, during the loop's work on the connection, at whose end the output is counted.
func (c *loopConn) freeOutput() {
	if c.out == nil || !c.out.Empty() {
		return
	}
	if spare := &c.loop.running.spare; *spare == nil {
		*spare = c.out
	} else if !c.loop.keepSpare(c.out) {
		c.out.Free()
	}
	c.out = nil
}

// failOutput fails all output that waits, including deferred output, and reports whether there was any. Its completions are added to
// loop.dones. No other function removes output that was not given to the kernel. Under mu, on the loop.
func (c *loopConn) failOutput() (failed bool) {
	counted := c.countedOutput()
	x := c.ext
	if x != nil {
		c.stopFetching()
		if f := x.fetched; f != nil && !f.busy && f.completion == nil {
			x.fetched = nil
		}
		if x.tls != nil {
			x.tls.encrypted = 0
			x.tls.pipe.TakeOutput()
			c.recountTLS()
		}
	}
	failed = c.failQueue(&c.out)
	if x != nil {
		deferred, later := c.failQueue(&x.deferred), c.failQueue(&x.afterTLS)
		failed = failed || deferred || later
	}
	c.countOutput(counted)
	return failed
}

// failQueue is failOutput for one queue.
func (c *loopConn) failQueue(q **outq.Queue) (failed bool) {
	if *q == nil {
		return false
	}
	c.loop.dones = (*q).Fail(c.loop.dones)
	(*q).Free()
	*q = nil
	return true
}

// outputBytes returns the number of bytes of output that wait, as MaxOutput counts them, including deferred writes and answers that wait
// for older ones. Under mu.
func (c *Conn) outputBytes() int {
	n := 0
	if c.out != nil {
		n = c.out.Mem()
	}
	if x := c.ext; x != nil {
		if x.deferred != nil {
			n += x.deferred.Mem()
		}
		if x.afterTLS != nil {
			n += x.afterTLS.Mem()
		}
		if x.conc != nil {
			n += x.conc.earlyBytes
		}
	}
	return n
}

// isDeferring reports whether output waits for the end of a reply that is sent in pieces. Under mu.
func (c *loopConn) isDeferring() bool { return c.ext != nil && c.ext.deferred != nil }

// wroteOut removes n bytes, which were given to the kernel, from the head of the output, and counts them. Under mu, during the loop's work
// on the connection, at whose end the output is counted exactly.
func (c *loopConn) wroteOut(n int) {
	l := c.loop
	if c.out.File() != nil {
		l.dones = c.out.AdvanceFile(int64(n), l.dones)
	} else {
		l.dones = c.out.Advance(n, l.dones)
	}
	c.countWritten(n)
	if n > maxUncounted {
		c.countOutput(l.running.counted)
	}
	if c.ext != nil {
		c.wakeWriters()
	}
}

// countWritten counts n bytes that the kernel has taken. Under mu, during the loop's work on the connection.
func (c *loopConn) countWritten(n int) {
	c.wrote += uint64(n)
	c.loop.running.written += uint64(n)
}

// countRead counts n bytes that the loop has read. Under mu, on the loop.
func (c *loopConn) countRead(n int) {
	c.nread += uint64(n)
	c.loop.running.read += uint64(n)
}

// wakeWriters wakes the goroutines that wait for room in the output. Under mu.
func (c *Conn) wakeWriters() {
	if c.ext.room != nil && c.queuedBytes() < c.loop.srv.cfg.MaxOutput {
		c.retryWriters()
	}
}

// retryWriters makes the goroutines that wait for room look again, at the room and at whether they may wait. Under mu.
func (c *Conn) retryWriters() {
	if x := c.ext; x != nil && x.room != nil {
		close(x.room)
		x.room = nil
	}
}

// While a loop works on a connection, output that the handler writes and the loop gives to the kernel in the same turn is not counted in
// Server.buffered. Only the output that is left at the end, and output above maxUncounted, is counted.

// running is the state that the loop keeps for the connection that it works on, the one whose sched has schedRunning. Under that
// connection's mu; of the loop's goroutine while there is no such connection.
type running struct {
	counted int         // bytes by which its output is counted in Server.buffered
	spare   *outq.Queue // for output(); nil for none
	wrote   bool        // writeNow has written since the last flush
	err     error       // of writeNow, for the flush

	read, written uint64 // bytes of all connections that are not yet counted in traffic; see countTraffic
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
