package server

import (
	"fmt"

	"golang.org/x/sys/unix"
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
	c.applyWaterMarks(r.held)
	if c.peerHalf.isEndRead() && !c.peerHalf.isEndReported() && !c.holds.has(holdsEnd|holdPause|holdOutput) && !c.isSettingUp() && !c.hasCommands() {
		c.endOfInput()
		if c.life.isGone() {
			return
		}
	}
	if r.drained && !c.hasRequests() && !c.whenDrained(r) {
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
		c.closeWith(ErrServerClosed)
	}
	return true
}

// isQuiescent reports whether the connection needs no work of the loop until its next event.
func (c *loopConn) isQuiescent() bool {
	return c.life == lifeOpen && c.holds&^(holdWorker|holdInput) == 0 && c.writing == writeIdle && c.layers == 0 && c.peerHalf == peerSends && c.draining == drainNone
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

// applyWaterMarks stops reading at the high-water mark and resumes it at the low one, and calls the methods of a MarkHandler.
func (c *loopConn) applyWaterMarks(held int) {
	s := c.loop.srv
	switch {
	case held >= s.cfg.HighWater && !c.holds.has(holdOutput) && !c.isSettingUp(): // a handshake must be read
		c.holds.add(holdOutput)
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isUnopened() {
			c.guard(func() { h.HighWater(&c.Conn) })
		}
	case held <= s.cfg.LowWater && c.holds.has(holdOutput):
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

// shutWrite closes the write side.
func (c *loopConn) shutWrite() (alive bool) {
	if !c.closeTLS() {
		return !c.life.isGone() // close_notify waits for room in the kernel
	}
	c.life = c.life.shut()
	if c.peerHalf.isEndRead() && !c.holds.has(holdYield) {
		c.tearDown(nil)
		return false
	}
	if err := c.loop.srv.calls.Shutdown(c.ev.FD(), unix.SHUT_WR); err != nil {
		c.fail(fmt.Errorf("close write: %w", err))
		return false
	}
	return true
}
