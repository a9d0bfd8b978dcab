package server

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// poke has the loop come by again.
func (c *Conn) poke() {
	c.mu.Lock()
	tell := c.mark(cmdLook)
	c.mu.Unlock()
	c.tell(tell)
}

// begin makes the loop watch a new connection and tells the handler. It is called on the connection's loop.
func (c *loopConn) begin() (alive bool) {
	l := c.loop
	if c.flags&flagIn == 0 { // who chose this loop has counted it, mostly
		c.flags |= flagIn
		l.count.Add(1)
	}
	if l.srv.drains(c.isOutgoing()) {
		c.flags |= flagDrain | flagIdle
	}
	if l.cut {
		c.fail(cmp.Or(l.endReason, ErrServerClosed))
		return false
	}
	if c.flags&flagDialing == 0 {
		if c.flags&flagHandshake != 0 {
			c.ext.readyBy = saturatedAdd(l.now(), l.srv.cfg.HandshakeTimeout)
		}
		c.flags |= flagReading
		l.srv.conns.set(c.ev.FD(), c)
	}
	if c.flags&flagDialing != 0 {
		c.ext.readyBy = saturatedAdd(l.now(), c.ext.readyBy)
		l.dialing[c] = struct{}{}
		c.startLookUp()
	}
	if err := c.ev.Add(event.NoTimeout); err != nil {
		c.fail(err)
		return false
	}
	switch {
	case c.flags&(flagDialing|flagHandshake) == 0:
		c.opened()
	case c.isClient():
		c.shakeHands()
	}
	c.arm()
	return c.flags&flagGone == 0
}

// opened tells the handler of a connection that is ready for it.
func (c *loopConn) opened() {
	c.flags |= flagOpened
	c.deadlines.start(idleDeadline, c.loop.now())
	if c.flags&flagClosing == 0 {
		c.deadlines.start(firstRequestDeadline, c.loop.now())
	}
	c.loop.srv.totals.opened.Add(1)
	c.mu.Lock()
	h := c.handlerLocked()
	if c.ext != nil {
		c.ext.unopened = false
	}
	stopContext := c.takeStopContext()
	c.mu.Unlock()
	if stopContext != nil {
		stopContext()
	}
	c.guard(func() { h.Open(&c.Conn) })
}

// beginClosing is the loop's part of Close: from now on only output matters.
func (c *loopConn) beginClosing() {
	c.flags &^= flagYielded // what is left is not looked at any more
	c.flags |= flagClosing
	c.flags &^= flagLooked // the peer's end is to be seen
	c.deadlines.stop(firstRequestDeadline)
	c.deadlines.stop(readDeadline)
	c.deadlines.start(closeDeadline, c.loop.now())
	if c.flags&flagBusy == 0 {
		c.dropInput()
	}
	if c.flags&(flagDialing|flagHandshake) == 0 {
		return
	}
	c.mu.Lock()
	waits := c.out != nil
	c.mu.Unlock()
	if !waits { // nothing to flush
		c.end(nil)
	}
}

// finishClosing goes on when all is written: our half is closed, and then the peer's is awaited, since a close with unread
// input would make the kernel send a reset, which may overtake what was written.
func (c *loopConn) finishClosing() (alive bool) {
	switch {
	case c.flags&flagShut == 0:
		idle := c.isIdleInShutdown()
		if !c.shutWrite() || idle && c.flags&flagShut != 0 && c.endIdle() {
			return false
		}
		c.noteUnsent()
	case c.flags&flagEOF != 0:
		c.end(nil)
		return false
	case c.isIdleInShutdown():
		return !c.endIdle()
	}
	return true
}

// end closes the connection now, in good order.
func (c *loopConn) end(reason error) { c.tearDown(reason) }

// fail closes the connection now, for a reason that is nobody's wish.
func (c *loopConn) fail(err error) {
	c.mu.Lock()
	c.setReason(err)
	c.mu.Unlock()
	c.tearDown(err)
}

// tearDown takes the connection out of the loop and closes its descriptor. What was accepted and is not written fails with
// the reason; the handler is told as soon as no request is in work.
func (c *loopConn) tearDown(reason error) {
	if c.flags&flagGone != 0 {
		return
	}
	l := c.loop
	c.flags |= flagGone
	c.stopHandshake()
	if c.flags&flagSpecial != 0 && c.ext.proxied != nil {
		c.dropProxyHeader(c.ext.proxied)
	}
	if c.flags&flagIn != 0 {
		l.count.Add(-1)
	}

	c.mu.Lock()
	c.state = connClosed // before the descriptor is another's, lest LocalAddr ask it
	c.setReason(reason)
	reason = c.reasonLocked()
	c.mu.Unlock()
	if c.flags&flagHanded == 0 {
		c.closeFD(errors.Is(reason, ErrAborted))
	}

	c.mu.Lock()
	c.failOutput()
	if x := c.ext; x != nil {
		x.into = nil
		c.stopTimers()
		if x.room != nil {
			close(x.room)
			x.room = nil
		}
		if x.cancel != nil {
			if reason != nil {
				x.cancel(reason)
			} else {
				x.cancel(ErrClosed)
			}
		}
	}
	detach := c.takeDetach()
	var dial *dialing
	if c.ext != nil {
		dial = c.ext.dial
	}
	stopContext := c.takeStopContext()
	busy := c.flags&flagBusy != 0
	c.mu.Unlock()
	if stopContext != nil {
		stopContext()
	}
	if dial != nil {
		dial.stop()
		c.dropAttempts(dial)
	}
	c.leaveServerRoom()
	if !busy {
		c.dropInput()
	}
	if len(l.dones) > 0 {
		l.outcome = c.failure()
	}
	if detach != nil {
		c.guard(func() { detach(nil, nil, fmt.Errorf("detach: %w (%w)", ErrClosed, orClosed(reason))) })
	}
	l.report(c, l.outcome)
	c.depart()
}

// depart ends the loop's visit to a connection that is gone.
func (c *loopConn) depart() {
	c.mu.Lock()
	c.place &^= visited
	tell := c.commands != 0 && c.mark(0) // as a worker that has finished meanwhile
	c.mu.Unlock()
	c.tell(tell)
	c.bury()
}

// closeFD closes the descriptor, if there is one.
func (c *loopConn) closeFD(reset bool) {
	l := c.loop
	_ = c.ev.Del() // it may be what failed
	fd := c.ev.FD()
	if fd < 0 {
		delete(l.dialing, c)
		return
	}
	l.srv.conns.set(fd, nil)
	if reset {
		// Discarding the kernel's buffer makes close send a reset, so that the peer is not left waiting.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err := l.srv.calls.Close(fd); err != nil {
		l.srv.cfg.Logger.Warn("server: close connection", "fd", fd, "err", err)
	}
}

func orClosed(err error) error {
	if err == nil {
		return ErrClosed
	}
	return err
}

// bury tells the handler of the end, when no request is in work and no file is read any more.
func (c *loopConn) bury() {
	if c.flags&inWork != 0 || c.owesFile() && !c.loop.cut {
		c.loop.ending[c] = struct{}{}
		return
	}
	delete(c.loop.ending, c)
	c.dropInput()
	c.tellEnd()
}

// tellEnd tells the handler of the end, once.
func (c *loopConn) tellEnd() {
	if c.flags&flagBuried != 0 {
		return
	}
	c.flags |= flagBuried
	l := c.loop
	defer l.srv.leaveConn(c.isOutgoing()) // after runtime.Goexit, too
	c.mu.Lock()
	reason, h := c.reasonLocked(), c.handlerLocked()
	c.mu.Unlock()
	c.countEnd(reason)
	if c.flags&flagOpened != 0 {
		l.srv.totals.closed.Add(1)
		c.guard(func() { h.Close(&c.Conn, reason) })
	} else if c.flags&flagDialing != 0 || c.isClient() {
		c.guard(func() { h.Close(&c.Conn, reason) }) // Dial promises it
	} else if f := l.srv.cfg.OnReject; f != nil {
		c.guard(func() { f(&c.Conn, reason) })
	}
}

// guard calls the user's fn, and isolates its panic where the server is to survive that.
func (c *Conn) guard(fn func()) {
	if c.loop.srv.cfg.OnPanic == nil {
		fn()
		return
	}
	defer c.survive()
	fn()
}

// survive is deferred by functions that call the user's. It isolates a panic: the connection ends.
func (c *Conn) survive() {
	if v := recover(); v != nil {
		c.loop.srv.OnPanic(c, v, debug.Stack())
		c.abort(ErrPanic)
	}
}

func (l *loop) guard(c *Conn, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			l.srv.OnPanic(c, v, debug.Stack())
		}
	}()
	fn()
}
