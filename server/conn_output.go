package server

import (
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/tlsio"
)

// queuedBytes returns the number of bytes that will be sent before those of a reply: without those that are deferred for the reply. Under mu.
func (c *Conn) queuedBytes() int {
	if c.out == nil {
		return 0
	}
	return c.out.Mem()
}

// outputMemory returns the memory that the output occupies or will occupy: with TLS, the bytes that are encrypted next are held twice until
// the kernel has them. Under mu.
func (c *Conn) outputMemory() int {
	n := 0
	if c.out != nil {
		n = c.out.Footprint()
		if c.ext != nil && c.ext.tls != nil {
			n += int(min(c.out.Len(), 2*tlsio.MaxRecord))
		}
	}
	if c.ext != nil && c.ext.deferred != nil {
		n += c.ext.deferred.Footprint()
	}
	if c.ext != nil && c.ext.afterTLS != nil {
		n += c.ext.afterTLS.Footprint()
	}
	return n
}

// countOutput adds the growth of the output's memory since before to the server's count. Under mu.
func (c *Conn) countOutput(before int) { c.loop.srv.addBuffered(c.outputMemory() - before) }

// freeOutput releases the queue if it is empty. Under mu.
func (c *loopConn) freeOutput() {
	if c.out != nil && c.out.Empty() {
		before := c.outputMemory()
		c.out.Free()
		c.out = nil
		c.countOutput(before)
	}
}

// failOutput fails all output that waits, deferred output too, and reports whether there was any. Its completions are added to those that
// the loop is to call. No other function removes output that was not given to the kernel. Under mu, on the loop.
func (c *loopConn) failOutput() (failed bool) {
	before := c.outputMemory()
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
	c.countOutput(before)
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

// outputBytes returns the number of bytes of output that wait, as MaxOutput counts them, including answers that have ended before older ones. Under mu.
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
func (c *Conn) isDeferring() bool { return c.ext != nil && c.ext.deferred != nil }

// wroteOut counts n bytes as given to the kernel, of the file at the head of the output if there is one. Under mu.
func (c *loopConn) wroteOut(n int) {
	l := c.loop
	before := c.outputMemory()
	if c.out.File() != nil {
		l.dones = c.out.AdvanceFile(int64(n), l.dones)
	} else {
		l.dones = c.out.Advance(n, l.dones)
	}
	c.countWritten(n)
	c.countOutput(before)
	if c.ext != nil {
		c.wakeWriters()
	}
}

// countWritten counts n bytes that the kernel has taken. Under mu.
func (c *loopConn) countWritten(n int) {
	c.wrote += uint64(n)
	c.loop.traffic.written.Add(uint64(n))
}

// wakeWriters wakes the goroutines that wait for room in the output. Under mu.
func (c *Conn) wakeWriters() {
	if c.ext.room != nil && c.queuedBytes() < c.loop.srv.cfg.MaxOutput {
		close(c.ext.room)
		c.ext.room = nil
	}
}
