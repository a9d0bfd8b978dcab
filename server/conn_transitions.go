package server

import (
	"fmt"
)

// applyTransitions is called after the output of a connection was written as far as possible. It applies the water marks, continues a close
// or another request that waits for the output, and resumes reading.
func (c *loopConn) applyTransitions(r *flushResult) {
	if !r.again && r.drained && !r.refused && r.state == connOpen && c.isQuiescent() && c.isReading() {
		return
	}
	if r.refused && c.isSettingUp() {
		c.keepRefusal()
	} else if r.refused && !c.holds.has(holdOutput) {
		c.applyWaterMarks(c.loop.srv.cfg.HighWater) // as if HighWater was reached, so that LowWater is called even if a write has refilled the output since
	}
	c.applyWaterMarks(r.waiting)
	if c.peerHalf.isEndRead() && !c.peerHalf.isEndReported() && !c.holds.has(holdsEnd|holdPause|holdOutput) && !c.isSettingUp() && !c.hasCommands() {
		c.endOfInput()
		if c.life.isGone() {
			return
		}
	}
	switch {
	case !r.drained:
	case !c.hasRequests():
		if !c.whenDrained(r) {
			return
		}
	case r.shuts && !c.life.isShut() && !c.shutWrite():
		return
	}
	c.resumeReading()
	c.arm()
}

// whenDrained continues StartTLS, Detach, a close or a shutdown, which wait until no output is left and no request is in progress. It
// reports whether the connection is still open.
func (c *loopConn) whenDrained(r *flushResult) (alive bool) {
	switch {
	case c.isSettingUp(): // the write side cannot be closed, and the connection not be detached; both wait
		if c.draining.isDraining() && (!c.handshake().isBegun() || c.isTLSClient()) { // otherwise the handshake ends, or its deadline passes
			c.closeWith(ErrServerClosed)
		}
	case r.upgrading:
		c.beginUpgrade()
		return !c.life.isGone()
	case r.detaching:
		c.detachNow()
		return false
	case c.life.isClosing():
		return c.finishClosing()
	case r.state == connHalf && !c.life.isShut():
		if !c.shutWrite() {
			return false
		}
		if c.draining.isDraining() {
			c.requeue() // if nothing may be read any more, no event would end the connection
		}
	case c.draining.isDraining() && (!c.draining.isRead() || c.hasMoreTLS()) && c.mayReadAgain():
		c.requeue() // for the last read; see advance
	case c.draining.isDraining() && r.state < connClosing && (!c.holds.has(holdYield) || !c.mayGiveInput()) && !c.hasCommands():
		if c.callShutdown() { // of a handler that was set since the shutdown began
			c.draining = drainNone
		} else {
			c.closeWith(ErrServerClosed)
		}
	}
	return true
}

// keepRefusal keeps the flag of a refused write until LowWater may be called.
func (c *loopConn) keepRefusal() {
	c.mu.Lock()
	c.sched |= schedRefused
	c.mu.Unlock()
}

// hasCommands reports whether commands wait for the loop, or a call of LowWater because a write was refused.
func (c *loopConn) hasCommands() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commands != 0 || c.sched&schedRefused != 0
}

// applyWaterMarks is given the number of bytes of output that wait. It stops reading at the high-water mark and resumes it at the low one, and
// calls the methods of a MarkHandler.
func (c *loopConn) applyWaterMarks(waiting int) {
	s := c.loop.srv
	switch {
	case waiting >= s.cfg.HighWater && !c.holds.has(holdOutput) && !c.isSettingUp(): // a handshake must be read
		c.holds.add(holdOutput)
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isUnopened() {
			c.guard(func() { h.HighWater(&c.Conn) })
		}
	case waiting <= s.cfg.LowWater && c.holds.has(holdOutput):
		c.holds.remove(holdOutput)
		c.restartReadDeadline()
		if c.in != nil && !c.holds.has(holdWorker) {
			c.requeue() // input that was read before is handled first
		}
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isUnopened() {
			c.guard(func() { h.LowWater(&c.Conn) })
		}
	}
}

// flush writes the output that waits, within the turn's budget, calls the completions of writes that have ended, and applies the
// transitions that follow. It ends the loop's work on the connection: a goroutine that writes or adds a command from then on queues it.
func (c *loopConn) flush() {
	c.mu.Lock()
	c.flushAndUnlock()
}

// flushAndUnlock is flush under mu, which it unlocks. mu is also unlocked while the kernel works.
func (c *loopConn) flushAndUnlock() {
	if r := c.writeAndUnlock(); r != nil {
		c.flushed(r)
	}
}

// flushed is the part of flush after writeAndUnlock.
func (c *loopConn) flushed(result *flushResult) {
	l, r := c.loop, *result // a copy, since a completion may flush the connection
	if len(l.dones) > 0 {
		var outcome error
		if r.failed {
			outcome = c.failure()
		}
		l.report(c, outcome)
	}
	c.enqueue(r.again)
	switch {
	case r.quiet:
	case r.err == nil:
		c.applyTransitions(&r)
	case isPeerGone(r.err):
		c.markBroken(fmt.Errorf("write: %w", r.err))
	default:
		c.fail(fmt.Errorf("write: %w", r.err))
	}
}
