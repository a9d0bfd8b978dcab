package server

import (
	"golang.org/x/sys/unix"
)

// settle draws the consequences of a visit, after its output was written: marks, ends, and whether to read. again says that
// there is more to do in another turn.
func (c *loopConn) settle(again bool) {
	l := c.loop
	if !again && l.drained && !l.refused && l.state == connOpen && c.isUndisturbed() && c.isReading() {
		return
	}
	s, held, drained, state := l.srv, l.held, l.drained, l.state
	c.tell(again)
	if l.refused && c.life.isConnecting() {
		c.rememberRefusal()
	} else if l.refused && !c.holds.has(holdOutput) {
		c.mindMarks(s.cfg.HighWater) // whatever was written since: LowWater follows
	}
	c.mindMarks(held)
	if c.peerHalf.isEndRead() && !c.peerHalf.isEndTold() && !c.holds.has(holdsEnd|holdPause|holdOutput) && c.life != lifeHandshake && !c.isWished() {
		c.endOfInput()
		if c.life.isGone() {
			return
		}
	}
	if drained && !c.inWork() {
		switch {
		case c.life.isConnecting(): // there is nothing yet to shut or to hand out; what is wished waits
			if c.draining.isDraining() && (!c.isShaking() || c.isClient()) { // else the handshake's end, or its deadline, goes on
				c.closeWith(ErrServerClosed)
			}
		case c.isDetaching():
			c.detachNow()
			return
		case c.life.isClosing():
			if !c.finishClosing() {
				return
			}
		case state == connHalf && !c.life.isShut():
			if !c.shutWrite() {
				return
			}
			if c.draining.isDraining() {
				c.poke() // nothing may be read any more, so that no event would bring the visit that ends it
			}
		case c.draining.isDraining() && (!c.holds.has(holdLastRead) || c.hasMoreTLS()) && c.mayReadBut(holdLastRead):
			c.poke() // for a last look at what has come; see goOn
		case c.draining.isDraining() && state < connClosing && (!c.holds.has(holdYield) || !c.mayGiveInput()) && !c.isWished():
			c.closeWith(ErrServerClosed)
		}
	}
	c.resumeReading()
	c.arm()
}

// isUndisturbed reports whether nothing is to be done about the connection between two events.
func (c *loopConn) isUndisturbed() bool {
	return c.life == lifeOpen && c.holds&^holdWorker == 0 && c.writing == writeIdle && c.layers == 0 && c.peerHalf == peerSends && c.draining == drainNone
}

// isDetaching reports whether Detach has been called and the descriptor is still to be handed out.
func (c *Conn) isDetaching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil && c.ext.detach != nil
}

// rememberRefusal keeps a refusal for the handler until it may be told.
func (c *Conn) rememberRefusal() {
	c.mu.Lock()
	c.place |= refused
	c.mu.Unlock()
}

// isWished reports whether a wish waits for the loop's next visit: perhaps to go on with input that was held back, or with output
// that was refused, which LowWater is going to be told of.
func (c *Conn) isWished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commands != 0 || c.place&refused != 0
}

// mindMarks stops reading at the high-water mark and goes on at the low one, and tells a handler that wants to know.
func (c *loopConn) mindMarks(held int) {
	s := c.loop.srv
	switch {
	case held >= s.cfg.HighWater && !c.holds.has(holdOutput) && !c.life.isConnecting(): // a handshake has to be read
		c.holds.add(holdOutput)
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isConnecting() {
			c.guard(func() { h.HighWater(&c.Conn) })
		}
	case held <= s.cfg.LowWater && c.holds.has(holdOutput):
		c.holds.remove(holdOutput)
		c.deadlines.restart(readDeadline, c.loop.now()) // the peer could not go on meanwhile
		if c.in != nil && !c.holds.has(holdWorker) {
			c.poke() // what was read before goes first
		}
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && !c.life.isConnecting() {
			c.guard(func() { h.LowWater(&c.Conn) })
		}
	}
}

// resumeReading makes the kernel report input again if it is wanted and was not.
func (c *loopConn) resumeReading() {
	if !c.mayRead() {
		return
	}
	if c.hasMoreTLS() {
		c.poke() // what TLS has decrypted goes first; see goOn
	}
	if c.isReading() {
		return
	}
	c.deadlines.restart(readDeadline, c.loop.now()) // what the peer could not send meanwhile is not its fault
	if err := c.watchRead(true); err != nil {
		c.fail(err)
		return
	}
}

// stopReading is called when the kernel reports what is not wanted now. Only here does a pause reach the kernel; most end before.
// The peer's reset is still watched for.
func (c *loopConn) stopReading() {
	if err := c.watchRead(false); err != nil {
		c.fail(err)
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
