package server

import (
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
)

// onReadable reads if nothing holds reading. Input that is left is read in the next turn, after the other connections.
func (c *loopConn) onReadable(what event.Flags) {
	switch {
	case !c.isReading():
		if what&(event.Closed|event.HangUp) != 0 {
			c.onPeerEnd(what)
		}
		return
	case !c.mayRead() && !c.readAhead():
		c.stopReading()
		return
	}
	c.read()
}

// read reads once.
func (c *loopConn) read() {
	if c.layers != 0 {
		c.readLayered()
		return
	}
	buf := c.loop.buf
	if c.holds.has(holdWorker) {
		if buf = buf[:c.roomOfRequest(len(buf))]; len(buf) == 0 {
			return
		}
	}
	n, err := c.loop.srv.calls.Read(c.ev.FD(), buf)
	if n <= 0 {
		c.readNothing()
	}
	switch {
	case err != nil:
		if !wouldBlock(err) {
			c.readFailed(err)
		}
	case n == 0:
		if err := c.takeFailure(); err != nil {
			c.readFailed(err)
		} else {
			c.endRead()
		}
	default:
		c.received(buf[:n])
		if c.draining.isDraining() || c.life.isClosing() || c.peerHalf.hasHungUp() {
			c.countLateRead(n)
		}
	}
}

// maxLateReads limits the reads of a connection that a shutdown waits for, so that a client that continues to send does not delay it. A
// read is 64 KB at most.
const maxLateReads = 64

// countLateRead counts a read of n bytes of a connection that has to end even if its peer continues to send: the server shuts down, the
// connection is being closed, or the peer has hung up. The reads for a request in progress do not count; see mergeStream.
func (c *loopConn) countLateRead(n int) {
	if !c.draining.isDraining() && !c.life.isClosing() && !c.peerHalf.hasHungUp() || c.holds.has(holdWorker) && !c.life.isClosing() {
		return
	}
	c.mu.Lock()
	x := c.extra()
	c.mu.Unlock()
	if x.lateReads++; x.lateReads >= maxLateReads && c.draining.isDraining() {
		c.peerHalf = c.peerHalf.reach(peerDiscarded)
	}
	if c.peerHalf.hasHungUp() || c.timeouts().Close == event.NoTimeout { // otherwise CloseTimeout ends the connection
		x.lastBytes += int64(n)
		c.endAtLimit(x.lastBytes)
	}
}

// received gives p to the handler, or adds it to the input that is kept. p is in l.buf, l.plain or the buffer of ReadInto.
func (c *loopConn) received(p []byte) {
	c.deadlines.received(c.loop.now())
	if c.life.isClosing() || c.peerHalf.isDiscarded() {
		return
	}
	if c.holds.has(holdWorker) {
		c.receivedForRequest(p)
		return
	}
	c.mu.Lock()
	c.countRead(len(p))
	h, ok := c.prepareInput()
	c.mu.Unlock()
	if in := c.in; in != nil {
		in.add(p)
		p = in.rest()
	}
	if c.mayGiveInput() {
		c.process(p, h, ok)
		if c.life.isGone() {
			return
		}
	} else {
		c.keep(p, c.keptCursor())
	}
	c.flush()
}

// prepareInput prepares the connection for giving input to its handler: a new handler begins with a new cursor and waits for the requests
// in progress, and a pause that was requested begins. It returns the handler and whether it may be given input. Until flush, the
// connection need not be queued for output and commands: the loop checks for them itself. Under mu.
func (c *loopConn) prepareInput() (h Handler, ok bool) {
	c.startRunning()
	if !c.holds.has(holdWorker) && c.takeNewHandler() { // with holdWorker, the worker checks whether the handler is new
		c.loop.cursor = 0
		if c.in != nil {
			c.in.cursor = 0
		}
		c.limitRequests(0)
	}
	if c.isPaused() {
		c.holds.add(holdPause)
	}
	h = c.handlerLocked()
	return h, c.state < connClosing && !c.holds.has(holdPause|holdLimit)
}

// process gives p, the input that is not consumed, to h until h consumes nothing more, if ok is set. p is in the loop's buffer or in c.in's.
func (c *loopConn) process(p []byte, h Handler, ok bool) {
	l := c.loop
	l.cursor = c.keptCursor()
	consumed := false
	for ok && len(p) > 0 {
		n, err := c.callData(h, p)
		if c.holds.has(holdWorker) || c.life.isGone() {
			return // a worker has all of it
		}
		yields := false
		if err != nil && errors.Is(err, ErrYield) {
			err = nil
			yields = n > 0 // otherwise Data would be called forever
		}
		if err == nil && (n < 0 || n > len(p)) {
			err = fmt.Errorf("%w: Data returned %d of %d bytes", ErrHandler, n, len(p))
		}
		if err != nil {
			c.refuseInput(err)
			return
		}
		p = p[n:]
		if n > 0 {
			consumed = true
			c.deadlines.stop(firstRequestDeadline)
		}
		if yields && len(p) > 0 {
			c.holds.add(holdYield)
			c.requeue()
		}
		if n == 0 || c.holds.has(holdYield) {
			break
		}
		if !c.mayGiveInput() {
			break
		}
		if len(p) > 0 {
			c.mu.Lock()
			h, ok = c.prepareInput()
			waiting := c.outputBytes()
			c.mu.Unlock()
			c.applyWaterMarks(waiting) // otherwise a handler that answers one message in each call would be given more input than its output has room for
			ok = ok && c.mayGiveInput()
		}
	}
	if consumed {
		c.deadlines.stop(readDeadline)
	}
	if c.in != nil || len(p) > 0 {
		c.keep(p, l.cursor)
	}
}

// callData calls the handler's Data. The effect of an earlier ReadInto ends.
func (c *loopConn) callData(h Handler, p []byte) (n int, err error) {
	if c.layers != 0 {
		c.ext.readBuf = nil
	}
	c.loop.inData = true
	if c.loop.srv.cfg.OnPanic == nil {
		n, err = h.Data(&c.Conn, p)
	} else {
		n, err = c.guardData(h, p)
	}
	c.loop.inData = false
	return n, err
}

// guardData is guard for Data. It calls Data directly, since a closure would make every message slower.
func (c *loopConn) guardData(h Handler, p []byte) (n int, err error) {
	defer c.recoverPanic()
	return h.Data(&c.Conn, p)
}

// keptCursor returns the cursor of the input that is kept, or 0 if there is none.
func (c *loopConn) keptCursor() int {
	if c.in == nil {
		return 0
	}
	return c.in.cursor
}

// keep stores p, the end of c.in or of the bytes that were read, and the framing's cursor in p, until more input arrives. It closes the
// connection if p is longer than MaxInput and the handler consumes nothing of it, or if the connection holds more memory than before and the
// server more than MaxBuffered bytes.
func (c *loopConn) keep(p []byte, cursor int) {
	in := c.in
	if len(p) == 0 {
		c.dropInput()
		return
	}
	if in == nil {
		in = c.newInput()
		in.fill(c.loop, p, largeRest)
	}
	in.pos = len(in.buf) - len(p)
	in.compact()
	in.cursor = cursor
	if now := c.loop.now(); !c.holds.has(holdYield) && !c.life.isClosing() && !c.deadlines.runs(readDeadline) {
		c.deadlines.start(readDeadline, now)
		c.armAt(c.deadlines.end(readDeadline, now, c.timeouts().Read))
	}
	before := in.counted
	c.count(in, in.memory())
	s := c.loop.srv
	var err error
	switch {
	case len(p) > c.maxInput() && c.mayGiveInput() && !c.holds.has(holdYield):
		if c.holds.has(holdRequests) {
			c.limitRequests(0) // the answers to earlier requests are sent first; then the handler is called again
			return
		}
		err = fmt.Errorf("%w: %d bytes are not consumed, the limit is %d", ErrTooLong, len(p), c.maxInput())
	case in.counted > before && s.buffered.Load() > s.cfg.MaxBuffered: // otherwise the connection holds no more than before
		err = s.overloaded()
	default:
		return
	}
	c.refuseInput(err)
}
