package server

import (
	"golang.org/x/sys/unix"
)

// calm are the flags of a connection about which nothing is to be done between two events.
const calm = flagReading | flagOpened | flagIn | flagBusy

// settle draws the consequences of a visit, after its output was written: marks, ends, and whether to read. again says that
// there is more to do in another turn.
func (c *loopConn) settle(again bool) {
	l := c.loop
	if !again && l.drained && !l.refused && l.state == connOpen && c.flags&^calm == 0 && c.flags&flagReading != 0 {
		return
	}
	s, held, drained, state := l.srv, l.held, l.drained, l.state
	c.tell(again)
	if l.refused && c.flags&(flagDialing|flagHandshake) != 0 {
		c.rememberRefusal()
	} else if l.refused && c.flags&flagChoked == 0 {
		c.mindMarks(s.cfg.HighWater) // whatever was written since: LowWater follows
	}
	c.mindMarks(held)
	if c.flags&flagEOF != 0 && c.flags&(flagTold|inWork|flagPaused|flagChoked|flagHandshake) == 0 && !c.isWished() {
		c.endOfInput()
		if c.flags&flagGone != 0 {
			return
		}
	}
	if drained && c.flags&inWork == 0 {
		switch {
		case c.flags&(flagDialing|flagHandshake) != 0: // there is nothing yet to shut or to hand out; what is wished waits
			if c.flags&flagDrain != 0 && (!c.isShaking() || c.isClient()) { // else the handshake's end, or its deadline, goes on
				c.closeWith(ErrServerClosed)
			}
		case c.flags&flagDetach != 0:
			c.detachNow()
			return
		case c.flags&flagClosing != 0:
			if !c.finishClosing() {
				return
			}
		case state == connHalf && c.flags&flagShut == 0:
			if !c.shutWrite() {
				return
			}
			if c.flags&flagDrain != 0 {
				c.poke() // nothing may be read any more, so that no event would bring the visit that ends it
			}
		case c.flags&flagDrain != 0 && c.flags&(flagLooked|flagMore) != flagLooked && c.flags&(holdsRead&^flagLooked) == 0:
			c.poke() // for a last look at what has come; see goOn
		case c.flags&flagDrain != 0 && state < connClosing && (c.flags&flagYielded == 0 || c.flags&holdsInput != 0) && !c.isWished():
			c.closeWith(ErrServerClosed)
		}
	}
	c.resumeReading()
	c.arm()
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
	case held >= s.cfg.HighWater && c.flags&(flagChoked|flagDialing|flagHandshake) == 0: // a handshake has to be read
		c.flags |= flagChoked
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && c.flags&flagOpened != 0 {
			c.guard(func() { h.HighWater(&c.Conn) })
		}
	case held <= s.cfg.LowWater && c.flags&flagChoked != 0:
		c.flags &^= flagChoked
		c.deadlines.restart(readDeadline, c.loop.now()) // the peer could not go on meanwhile
		if c.in != nil && c.flags&flagBusy == 0 {
			c.poke() // what was read before goes first
		}
		if h, ok := FindHandler[MarkHandler](c.Handler()); ok && c.flags&flagOpened != 0 {
			c.guard(func() { h.LowWater(&c.Conn) })
		}
	}
}

// resumeReading makes the kernel report input again if it is wanted and was not.
func (c *loopConn) resumeReading() {
	if c.flags&holdsRead != 0 {
		return
	}
	if c.flags&flagMore != 0 {
		c.poke() // what TLS has decrypted goes first; see goOn
	}
	if c.flags&flagReading != 0 {
		return
	}
	c.deadlines.restart(readDeadline, c.loop.now()) // what the peer could not send meanwhile is not its fault
	c.flags |= flagReading
	if err := c.watch(); err != nil {
		c.fail(err)
		return
	}
}

// stopReading is called when the kernel reports what is not wanted now. Only here does a pause reach the kernel; most end before.
// The peer's reset is still watched for.
func (c *loopConn) stopReading() {
	c.flags &^= flagReading
	if err := c.watch(); err != nil {
		c.fail(err)
	}
}

// shutWrite closes our half.
func (c *loopConn) shutWrite() (alive bool) {
	if !c.closeTLS() {
		return c.flags&flagGone == 0 // its last record waits for room
	}
	c.flags |= flagShut
	if c.flags&(flagEOF|flagYielded) == flagEOF {
		c.end(nil)
		return false
	}
	if err := c.loop.srv.calls.Shutdown(c.ev.FD(), unix.SHUT_WR); err != nil {
		c.fail(err)
		return false
	}
	return true
}
