package server

import (
	"github.com/evmq/evmq/internal/sock"
)

// shortAnswer is the length up to which writeAnswer writes an answer: as much as the first block of a queue has room for.
const shortAnswer = 2 << 10

// flushResult is the state of a connection after its output was written as far as the kernel and the limits permit.
type flushResult struct {
	waiting   int       // bytes of output that wait
	state     connState // the state at the end of the flush
	drained   bool      // no output waits, TLS included
	refused   bool      // a write was refused; LowWater will be called when there is room
	detaching bool      // Detach was called, and neither Close nor Abort since
	upgrading bool      // StartTLS was called
	shuts     bool      // the request in progress has called Reply.CloseWrite
	failed    bool      // output has failed, since the connection is broken
	again     bool      // there is more to do in another turn; flushed puts the connection into the loop's queue
	quiet     bool      // there is nothing to do but to call completions
	err       error     // the error of a write
}

// writeAndUnlock is the part of flush that calls no function of the user. It returns nil if nothing is left to do, else the argument of flushed,
// which the loop owns.
func (c *loopConn) writeAndUnlock() *flushResult {
	c.startRunning()
	l := c.loop
	var err error
	failed := false
	if l.running.wrote {
		l.running.wrote = false
		c.deadlines.sent(l.now())
	}
	switch {
	case c.state == connBroken:
		failed = c.failOutput()
	case l.running.err != nil:
		err, l.running.err = l.running.err, nil
	case c.writing != writeIdle || c.life == lifeDialing:
	case c.layers.has(layerTLS):
		err = c.writeTLS()
	case c.out != nil && c.life != lifeHandshake:
		err = c.writeOut()
	}
	if err == nil && c.needsNothing() { // the usual case; there are no transitions
		c.deadlines.stop(writeDeadline)
		c.deadlines.stop(closeDeadline)
		c.stopRunning()
		c.mu.Unlock()
		if len(l.dones) == 0 {
			return nil
		}
		l.result = flushResult{quiet: true}
		return &l.result
	}
	l.result = flushResult{failed: failed, err: err}
	c.finishFlush(&l.result)
	c.mu.Unlock()
	return &l.result
}

// needsNothing reports whether all output is written and the connection needs no work until its next event or command. Under mu.
func (c *loopConn) needsNothing() bool {
	return c.out == nil && c.ext == nil && c.commands == 0 && c.sched == schedRunning && c.state == connOpen && c.isQuiescent() && c.isReading()
}

// finishFlush ends the loop's work on the connection and completes the result. Under mu.
func (c *loopConn) finishFlush(r *flushResult) {
	if c.writing != writeBlocked {
		c.deadlines.stop(writeDeadline)
		if c.state <= connHalf {
			c.deadlines.stop(closeDeadline)
		}
	}
	r.state, r.drained = c.state, true
	if r.detaching = c.ext != nil && c.ext.detach != nil && c.state == connHalf; r.detaching { // otherwise Close or Abort was called since
		r.state = connOpen // it accepts no output, but the write side stays open
	}
	r.upgrading = c.ext != nil && c.ext.upgrade != nil
	r.shuts = c.shutsWrite() && !r.upgrading
	if c.out != nil || c.ext != nil {
		r.waiting = c.outputBytes()
		r.drained = c.out == nil && !c.recordsWait() && !c.isDeferring()
	}
	if c.isPaused() {
		c.holds.add(holdPause) // before the command is applied; otherwise reading would continue until then
	}
	more := c.out != nil && c.writing == writeIdle && !c.isSettingUp() && !c.isFetching()
	r.refused = c.sched&schedRefused != 0
	c.stopRunning()
	c.dropExt()
	c.sched &^= schedRefused
	if r.again = (more || c.commands != 0) && c.sched == 0; r.again {
		c.sched = schedQueued
	}
}

// writeOut writes as much output as the kernel accepts. Under mu, which is released while the kernel works.
func (c *loopConn) writeOut() error {
	var n int
	var full bool
	var err error
	for budget := writeBudget; c.out != nil && budget > 0; {
		if p := c.out.Single(); c.ext == nil && 0 < len(p) && len(p) <= budget {
			n, full, err = c.writeSingle(p)
		} else {
			n, full, err = c.writeSome(budget)
		}
		if n > 0 {
			budget -= n
			c.deadlines.sent(c.loop.now())
		}
		if err != nil {
			return err
		}
		c.freeOutput()
		if full {
			if c.writing != writeThrottled && !c.isFetching() {
				return c.waitWritable()
			}
			return nil
		}
	}
	return nil
}

// writeSingle is writeSome for contiguous output without completions and files, on a connection without rate limits.
func (c *loopConn) writeSingle(p []byte) (n int, full bool, err error) {
	c.mu.Unlock()
	n, err = c.loop.srv.calls.Write(c.ev.FD(), p)
	c.mu.Lock()
	if err != nil {
		if wouldBlock(err) {
			return 0, true, nil
		}
		return 0, false, err
	}
	c.wroteOut(n)
	return n, n < len(p), nil
}

// writeAnswer writes the output, which is the answer to a request that has ended, if it is short and nothing else is to be done with it before.
// It holds the lock during the system call, because the client waits for the answer, so that other goroutines seldom write. The
// flush that follows writes the rest. Under mu, during the loop's work on the connection.
func (c *loopConn) writeAnswer() {
	if c.out == nil || c.ext != nil || c.layers != 0 || c.writing != writeIdle || c.life != lifeOpen || c.state != connOpen {
		return
	}
	p := c.out.Single()
	if len(p) == 0 || len(p) > shortAnswer {
		return
	}
	n := c.writeUnderLock(p)
	c.loop.dones = c.out.Advance(n, c.loop.dones)
	c.freeOutput()
}

// writeSome makes at most one system call, for at most limit bytes. full reports that the output has to wait: the kernel has accepted
// less than it was given, the rate limit permits nothing, or the next piece of a file is being read. Under mu, which is released during
// the call.
func (c *loopConn) writeSome(limit int) (n int, full bool, err error) {
	l := c.loop
	if c.ext != nil {
		if limit = c.writeAllowance(limit); limit == 0 {
			return 0, true, nil
		}
	}
	if f := c.out.File(); f != nil {
		return c.sendFile(f, limit)
	}
	bufs := c.out.Peek(l.iov[:0], limit)
	offered := 0
	for _, p := range bufs {
		offered += len(p)
	}
	if offered > 0 {
		c.mu.Unlock()
		if len(bufs) == 1 {
			n, err = l.srv.calls.Write(c.ev.FD(), bufs[0])
			bufs[0] = nil // otherwise it would keep the bytes from being garbage-collected
		} else {
			n, err = l.srv.calls.Writev(c.ev.FD(), bufs)
			clear(bufs)
		}
		c.mu.Lock()
		if err != nil {
			if wouldBlock(err) {
				return 0, true, nil
			}
			return 0, false, err
		}
	}
	c.wroteOut(n)
	if c.ext != nil {
		c.spend(n)
	}
	return n, n < min(offered, sock.MaxRaw), nil
}

// onWritable continues writing when the kernel reports room. If no output waits for room, the event stops waiting for it. It does not stop
// earlier, since a connection that has filled the kernel's buffer once is likely to fill it again.
func (c *loopConn) onWritable() {
	if c.writing != writeBlocked {
		if err := c.watch(); err != nil {
			c.fail(err)
		}
		return
	}
	c.writing = writeIdle
	c.flush()
}
