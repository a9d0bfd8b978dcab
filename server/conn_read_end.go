package server

import (
	"errors"
	"fmt"
	"io"
)

// giveLastData gives the handler the input that is left after EOF. It reports whether EOF itself can be handled now: false while a last
// request is in progress, and when the connection is paused or closed.
func (c *loopConn) giveLastData() bool {
	for c.in != nil && c.mayGiveInput() {
		c.mu.Lock()
		if c.takeNewHandler() {
			c.in.cursor = 0
			c.limitRequests(0)
		}
		h, ok := FindHandler[LastDataHandler](c.handlerLocked())
		paused := c.isPaused() || c.holds.has(holdLimit)
		c.mu.Unlock()
		if paused {
			c.peerHalf = c.peerHalf.unreported()
			return false
		}
		if !ok {
			break
		}
		p := c.in.rest()
		c.loop.cursor = c.in.cursor
		var n int
		var err error
		c.loop.inData = true
		c.guard(func() { n, err = h.LastData(&c.Conn, p) })
		c.loop.inData = false
		switch {
		case c.holds.has(holdWorker):
			c.peerHalf = c.peerHalf.unreported() // the last request is in progress; the end is reported after it
			return false
		case err == nil && (n < 0 || n > len(p)):
			err = fmt.Errorf("%w: LastData returned %d of %d bytes", ErrHandler, n, len(p))
		}
		if err != nil {
			c.refuseInput(err)
			c.endHalf()
			return false
		}
		c.in.pos, c.in.cursor = c.in.pos+n, c.loop.cursor
		if n == 0 {
			break
		}
		if len(c.in.rest()) == 0 {
			c.dropInput()
		}
	}
	if c.hasRequests() {
		c.peerHalf = c.peerHalf.unreported()
		return false
	}
	return true
}

// refuseInput closes the connection with err, the reason why its input is not handled any more, after a call of the handler's InputError.
func (c *loopConn) refuseInput(err error) {
	switch {
	case errors.Is(err, ErrHandler):
		c.loop.srv.cfg.Logger.Error("server: a handler broke its contract", "conn", c.ID().String(), "handler", fmt.Sprintf("%T", c.Handler()), "err", err)
	case errors.Is(err, ErrOverload): // the server has no room for an answer either
	default:
		if h, ok := FindHandler[InputErrorHandler](c.Handler()); ok {
			c.guard(func() { h.InputError(&c.Conn, err) })
		}
	}
	c.dropInput()
	c.closeWith(err)
}

// endRead is called when a read has returned EOF.
func (c *loopConn) endRead() {
	c.peerHalf = c.peerHalf.reach(peerEndRead)
	if err := c.watchRead(false); err != nil {
		c.fail(err)
		return
	}
	if c.life == lifeLingering {
		c.tearDown(nil) // the close has waited for EOF
		return
	}
	c.endInput()
	c.cancelAtEnd()
	c.flush()
}

// endOfInput is called when the handler was given all input before EOF.
func (c *loopConn) endOfInput() {
	c.peerHalf = c.peerHalf.reach(peerEndReported)
	if c.peerHalf.isDiscarded() || c.life.isClosing() {
		c.endHalf()
		return
	}
	if c.isBroken() { // the reset has ended the stream
		c.dropInput()
		c.closeWith(io.EOF)
		return
	}
	if !c.giveLastData() {
		return
	}
	if h, ok := FindHandler[EOFHandler](c.Handler()); ok && !c.life.isUnopened() {
		c.guard(func() { h.EOF(&c.Conn) })
		c.endHalf()
		return
	}
	c.dropInput()
	if !c.endHalf() {
		c.closeWith(io.EOF)
	}
}

// discardInput carries out CloseRead.
func (c *loopConn) discardInput() {
	c.peerHalf = c.peerHalf.reach(peerDiscarded)
	c.endInput()
	if !c.holds.has(holdWorker) {
		c.dropInput()
	}
}

// endHalf ends the connection if CloseWrite has closed the write side before the peer's end.
func (c *loopConn) endHalf() (ended bool) {
	if c.life != lifeHalfClosed {
		return false
	}
	c.tearDown(io.EOF)
	return true
}
