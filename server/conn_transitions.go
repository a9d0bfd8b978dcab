package server

import (
	"golang.org/x/sys/unix"
)

// applyTransitions does what follows when the output of a connection was written as far as possible: it applies the water marks, goes on
// with an end or a close that was requested, and resumes reading.
func (c *loopConn) applyTransitions(r flushResult) {
	if !r.again && r.drained && !r.refused && r.state == connOpen && c.isUndisturbed() && c.isReading() {
		return
	}
	if r.refused && c.isConnecting() {
		c.keepRefusal()
	} else if r.refused && !c.holds.has(holdOutput) {
		c.applyWaterMarks(c.loop.srv.cfg.HighWater) // whatever was written since: LowWater follows
	}
	c.applyWaterMarks(r.held)
	if c.peerHalf.isEndRead() && !c.peerHalf.isEndTold() && !c.holds.has(holdsEnd|holdPause|holdOutput) && !c.isConnecting() && !c.hasCommands() {
		c.endOfInput()
		if c.life.isGone() {
			return
		}
	}
	if r.drained && !c.inWork() && !c.whenDrained(r) {
		return
	}
	c.resumeReading()
	c.arm()
}

// whenDrained goes on with what waits until no output is left and no request is in work. It reports whether the connection stays.
func (c *loopConn) whenDrained(r flushResult) (alive bool) {
	switch {
	case c.isConnecting(): // there is nothing yet to shut or to hand out; requests wait
		if c.draining.isDraining() && (!c.handshake().isBegun() || c.isClient()) { // else the handshake's end, or its deadline, follows
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
			c.requeue() // nothing may be read any more, so that no event would end the connection
		}
	case c.draining.isDraining() && (!c.holds.has(holdLastRead) || c.hasMoreTLS()) && c.mayReadBut(holdLastRead):
		c.requeue() // for the last read; see advance
	case c.draining.isDraining() && r.state < connClosing && (!c.holds.has(holdYield) || !c.mayGiveInput()) && !c.hasCommands():
		c.closeWith(ErrServerClosed)
	}
	return true
}

// isUndisturbed reports whether nothing is to be done about the connection between two events.
func (c *loopConn) isUndisturbed() bool {
	return c.life == lifeOpen && c.holds&^holdWorker == 0 && c.writing == writeIdle && c.layers == 0 && c.peerHalf == peerSends && c.draining == drainNone
}

// keepRefusal keeps the mark of a refused write until the handler may be told of room.
func (c *loopConn) keepRefusal() {
	c.mu.Lock()
	c.sched |= schedRefused
	c.mu.Unlock()
}

// hasCommands reports whether commands wait for the loop, perhaps to go on with input that was held, or a refused write, which is followed
// by LowWater.
func (c *loopConn) hasCommands() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commands != 0 || c.sched&schedRefused != 0
}

// applyWaterMarks stops reading at the high-water mark and goes on at the low one, and tells a handler that wants to know.
func (c *loopConn) applyWaterMarks(held int) {
	s := c.loop.srv
	switch {
	case held >= s.cfg.HighWater && !c.holds.has(holdOutput) && !c.isConnecting(): // a handshake has to be read
		c.holds.add(holdOutput)
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isConnecting() {
			c.guard(func() { h.HighWater(&c.Conn) })
		}
	case held <= s.cfg.LowWater && c.holds.has(holdOutput):
		c.holds.remove(holdOutput)
		c.deadlines.restart(readDeadline, c.loop.now()) // the peer could not go on meanwhile
		if c.in != nil && !c.holds.has(holdWorker) {
			c.requeue() // what was read before goes first
		}
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isConnecting() {
			c.guard(func() { h.LowWater(&c.Conn) })
		}
	}
}

// shutWrite closes our half.
func (c *loopConn) shutWrite() (alive bool) {
	if !c.closeTLS() {
		return !c.life.isGone() // its last record waits for room
	}
	c.life = c.life.shut()
	if c.peerHalf.isEndRead() && !c.holds.has(holdYield) {
		c.end(nil)
		return false
	}
	if err := c.loop.srv.calls.Shutdown(c.ev.FD(), unix.SHUT_WR); err != nil {
		c.fail(err)
		return false
	}
	return true
}
