package server

import (
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/tlsio"
)

// ahead is how many bytes of output wait that go before what a reply adds: not those that wait for the reply. Under mu.
func (c *Conn) ahead() int {
	if c.out == nil {
		return 0
	}
	return c.out.Mem()
}

// outputMemory is what the output takes up, or is going to: with TLS, what is encrypted next is held twice until the kernel has it. Under mu.
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
	if c.ext != nil && c.ext.behind != nil {
		n += c.ext.behind.Footprint()
	}
	return n
}

// countOutput counts the output's memory, which was before. Under mu.
func (c *Conn) countOutput(before int) { c.loop.srv.hold(c.outputMemory() - before) }

// freeOutput gives the queue back if it is empty. Under mu.
func (c *loopConn) freeOutput() {
	if c.out != nil && c.out.Empty() {
		before := c.outputMemory()
		c.out.Free()
		c.out = nil
		c.countOutput(before)
	}
}

// failOutput fails all output that waits, also behind a reply, and reports whether there was any. Its completions are added to those that
// the loop is to call. No other function takes output away that the kernel has not. Under mu, on the loop.
func (c *loopConn) failOutput() (failed bool) {
	before := c.outputMemory()
	x := c.ext
	if x != nil {
		c.stopFetching()
		if f := x.fetched; f != nil && !f.busy && f.owed == nil {
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
		deferred, behind := c.failQueue(&x.deferred), c.failQueue(&x.behind)
		failed = failed || deferred || behind
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

// held is how much output waits, as MaxOutput counts it, answers that have ended before older ones included. Under mu.
func (c *Conn) held() int {
	n := 0
	if c.out != nil {
		n = c.out.Mem()
	}
	if x := c.ext; x != nil {
		if x.deferred != nil {
			n += x.deferred.Mem()
		}
		if x.behind != nil {
			n += x.behind.Mem()
		}
		if x.conc != nil {
			n += x.conc.held
		}
	}
	return n
}

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
		c.makeRoom()
	}
}

// countWritten counts n bytes that the kernel has taken. Under mu.
func (c *loopConn) countWritten(n int) {
	c.wrote += uint64(n)
	c.loop.traffic.written.Add(uint64(n))
}

// makeRoom lets the goroutines continue that wait for room in the output. Under mu.
func (c *Conn) makeRoom() {
	if c.ext.room != nil && c.ahead() < c.loop.srv.cfg.MaxOutput {
		close(c.ext.room)
		c.ext.room = nil
	}
}
