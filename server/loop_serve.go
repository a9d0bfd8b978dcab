package server

import (
	"github.com/evmq/evmq/event"
)

// ready is the callback of every connection's event.
func (l *loop) ready(e *event.Event, what event.Flags) {
	l.assertInLoop("a connection's event")
	c := connOf(e)
	if c.life.isGone() {
		return
	}
	l.setCurrent(c)
	switch {
	case what != event.Read || c.life == lifeDialing:
		c.onReady(what)
	case c.isQuiescent() && c.holds == 0 && c.isReading(): // the usual case
		c.read()
	default:
		c.onReadable(what)
	}
	l.clearCurrent()
	if len(l.turnRequests) > 0 && l.isLed() {
		l.suspendForRequest()
	}
}

// onReady handles any report of the kernel or of the timer.
func (c *loopConn) onReady(what event.Flags) {
	if what&event.Timeout != 0 && !c.onTimeout() {
		return
	}
	if c.life == lifeDialing { // each attempt to connect has another event
		return
	}
	if what&event.Write != 0 {
		c.onWritable()
		if c.life.isGone() {
			return
		}
	}
	if what&(event.Read|event.Closed|event.HangUp) != 0 {
		c.onReadable(what)
	}
}

// serve is the callback of the queue: c has output or commands. It begins and ends the loop's work on c.
func (l *loop) serve(c *loopConn) {
	l.assertInLoop("the queue of connections")
	l.setCurrent(c)
	c.serve()
	l.clearCurrent()
}

// serve writes the output and carries out the commands.
func (c *loopConn) serve() {
	c.mu.Lock()
	commands := c.commands
	c.startRunning()
	c.commands, c.sched = 0, c.sched&schedRefused|schedRunning
	if c.state != connClosed && (commands == 0 || commands == cmdDone && c.nothingLeft()) {
		// The usual case: output, perhaps with the end of a request. It needs the lock once.
		if commands == cmdDone {
			c.takeBackLocked()
			c.writeAnswer()
		}
		c.flushAndUnlock()
		return
	}
	c.mu.Unlock()
	c.applyCommands(commands)
}

// applyCommands carries out commands in a fixed order, and calls advance.
func (c *loopConn) applyCommands(commands command) {
	if commands&cmdOpen != 0 && !c.begin() {
		return
	}
	if commands&cmdResolved != 0 && c.life == lifeDialing {
		c.connect()
	}
	if commands&cmdHandshaken != 0 {
		c.handshakeEnded()
	}
	if commands&cmdDone != 0 {
		c.takeBack()
	}
	if commands&cmdInput != 0 {
		c.readForRequest()
	}
	if c.handshake() == handshakeFull && !c.life.isGone() && c.ext.tls.pipe.TakesInput() {
		c.setHandshake(handshakeRuns)
	}
	c.mu.Lock()
	state, reason := c.state, c.reasonLocked()
	paused := c.isPaused()
	if c.leavesServing() {
		c.wakeRequest() // Detach and StartTLS wait for its end
	}
	c.mu.Unlock()
	if c.life.isGone() {
		c.finishTearDown()
		return
	}
	if state == connClosed {
		c.tearDown(reason)
		return
	}
	if commands&cmdCloseRead != 0 {
		c.discardInput()
	}
	if c.holds.has(holdPause) && !paused {
		c.restartReadDeadline()
	}
	c.holds.set(holdPause, paused)
	if state == connBroken && paused && c.timeouts().Close == event.NoTimeout { // otherwise nothing would end it
		c.fail(reason)
		return
	}
	if state == connClosing && !c.life.isClosing() {
		c.beginClosing()
		if c.life.isGone() {
			return
		}
	}
	c.advance()
	c.arm() // a command may have made a deadline earlier
}

// advance processes the input that is left, writes, and ends the work on the connection.
func (c *loopConn) advance() {
	if c.mayGiveInput() {
		c.holds.remove(holdYield)
	}
	if c.in != nil && c.mayGiveInput() {
		c.mu.Lock()
		h, ok := c.prepareInput()
		c.mu.Unlock()
		c.process(c.in.rest(), h, ok)
		if c.life.isGone() {
			return
		}
	}
	switch {
	case c.hasMoreTLS() && c.mayReadAgain() && !c.handshake().isUnderWay():
		c.decrypt()
		return
	case c.draining.isDraining() && c.life.takesInput() && c.mayRead() && !c.handshake().isUnderWay() && !c.holds.has(holdWorker):
		c.read() // requests that arrived before the shutdown are answered; later input is not read, since a busy client would delay the shutdown
		c.draining = c.draining.read()
	case c.draining.isDraining() && c.handshake().isUnderWay() && c.mayRead() && !c.handshake().isBegun():
		c.read() // a ClientHello that has arrived completely is still answered
	}
	if c.life.isGone() {
		return
	}
	c.flush()
}
