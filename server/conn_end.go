package server

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// beginClosing is the loop's part of Close: from now on only output matters. A connection that is still to be opened is closed at once
// if there is nothing to flush, else when it is open.
func (c *loopConn) beginClosing() {
	if c.life.isConnecting() {
		c.deadlines.startOnce(closeDeadline, c.loop.now())
		c.endWithoutOutput()
		return
	}
	c.life = c.life.closing()
	c.holds.remove(holdYield | holdLastRead) // what is left is not given to the handler; the peer's end is to be seen
	c.deadlines.stop(firstRequestDeadline)
	c.deadlines.stop(readDeadline)
	c.deadlines.start(closeDeadline, c.loop.now())
	if !c.holds.has(holdWorker) {
		c.dropInput()
	}
	if c.handshake().isUnderWay() { // of StartTLS
		c.endWithoutOutput()
	}
}

// endWithoutOutput closes a connection that is closed while it connects, if nothing waits to be sent.
func (c *loopConn) endWithoutOutput() {
	c.mu.Lock()
	waits := c.out != nil
	c.mu.Unlock()
	if !waits {
		c.end(nil)
	}
}

// finishClosing goes on when all is written: our half is closed, and then the peer's is awaited, since a close with unread
// input would make the kernel send a reset, which may overtake what was written.
func (c *loopConn) finishClosing() (alive bool) {
	switch {
	case c.life == lifeFlushing:
		idle := c.isIdleInShutdown()
		if !c.shutWrite() || idle && c.life == lifeLingering && c.endIdle() {
			return false
		}
		c.noteUnsent()
	case c.peerHalf.isEndRead():
		c.end(nil)
		return false
	case c.isIdleInShutdown():
		return !c.endIdle()
	}
	return true
}

// end closes the connection now, in good order.
func (c *loopConn) end(reason error) { c.tearDown(reason) }

// fail closes the connection now, after an I/O error, a timeout or a broken limit.
func (c *loopConn) fail(err error) {
	err = c.loop.closedError(err)
	c.mu.Lock()
	c.setReason(err)
	c.mu.Unlock()
	c.tearDown(err)
}

// tearDown takes the connection out of the loop and closes its descriptor. What was accepted and is not written fails with
// the reason; the handler is told as soon as no request is in work.
func (c *loopConn) tearDown(reason error) {
	if c.life.isGone() {
		return
	}
	l := c.loop
	c.stopHandshake()
	c.life = c.life.gone()
	if c.layers.has(layerProxy) {
		c.dropProxyHeader(c.ext.proxied)
	}
	l.count.Add(-1)

	c.mu.Lock()
	c.state = connClosed // before the descriptor is another's, lest LocalAddr ask it
	c.setReason(reason)
	reason = c.reasonLocked()
	handed := c.ext != nil && c.ext.handed
	c.mu.Unlock()
	if !handed {
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
	detach, upgraded := c.takeDetach(), c.takeUpgradeEnd()
	var dial *dialing
	if c.ext != nil {
		dial = c.ext.dial
	}
	stopContext := c.takeStopContext()
	busy := c.holds.has(holdWorker)
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
	if upgraded != nil {
		upgraded(&c.Conn, fmt.Errorf("start TLS: %w", orClosed(reason)))
	}
	l.report(c, l.outcome)
	c.leaveGone()
}

// leaveGone ends the loop's work on a connection whose descriptor is closed.
func (c *loopConn) leaveGone() {
	c.mu.Lock()
	c.sched &^= schedRunning
	queue := c.commands != 0 && c.mark(0) // as a worker that has finished meanwhile
	c.mu.Unlock()
	c.enqueue(queue)
	c.notifyWhenIdle()
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

// notifyWhenIdle tells the handler of the end, when no request is in work and no file is read any more.
func (c *loopConn) notifyWhenIdle() {
	if c.inWork() || c.owesFile() && !c.loop.cut {
		c.loop.ending[c] = struct{}{}
		return
	}
	delete(c.loop.ending, c)
	c.dropInput()
	c.notifyClosed()
}

// notifyClosed tells the handler of the end, once.
func (c *loopConn) notifyClosed() {
	if c.life == lifeReleased {
		return
	}
	opened := c.life == lifeClosed
	c.life = c.life.to(lifeReleased)
	l := c.loop
	defer l.srv.leaveConn(c.isOutgoing()) // after runtime.Goexit, too
	c.mu.Lock()
	reason, h := c.reasonLocked(), c.handlerLocked()
	c.mu.Unlock()
	c.countEnd(reason)
	if opened {
		l.srv.totals.closed.Add(1)
		c.guard(func() { h.Close(&c.Conn, reason) })
	} else if c.isOutgoing() {
		c.guard(func() { h.Close(&c.Conn, reason) }) // Dial promises it
	} else if f := l.srv.cfg.OnReject; f != nil {
		c.guard(func() { f(&c.Conn, reason) })
	}
}
