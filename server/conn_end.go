package server

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// beginClosing is the loop's part of Close: from now on output is flushed and input discarded. Before Open, a connection without output is
// closed at once, and one with output after Open.
func (c *loopConn) beginClosing() {
	if c.life.isUnopened() {
		c.deadlines.startOnce(closeDeadline, c.loop.now())
		c.endWithoutOutput()
		return
	}
	c.life = c.life.closing()
	c.holds.remove(holdYield) // input is not given to the handler any more; it is read until EOF
	c.draining = c.draining.unread()
	c.deadlines.stop(firstRequestDeadline)
	c.deadlines.stop(readDeadline)
	c.deadlines.start(closeDeadline, c.loop.now())
	if !c.holds.has(holdWorker) {
		c.dropInput()
	} else {
		c.endInput()
	}
	if c.handshake().isUnderWay() { // of StartTLS
		c.endWithoutOutput()
	}
}

// endWithoutOutput ends a connection on which Close was called before it was open or during a handshake, if no output waits.
func (c *loopConn) endWithoutOutput() {
	c.mu.Lock()
	waits := c.out != nil
	c.mu.Unlock()
	if !waits {
		c.tearDown(nil)
	}
}

// finishClosing continues Close when all output is written: it closes the write side, and closes the connection after EOF. A close with
// unread input would make the kernel send a reset, which may destroy output that the peer has not read.
func (c *loopConn) finishClosing() (alive bool) {
	switch {
	case c.life == lifeFlushing:
		idle := c.isIdleInShutdown()
		if !c.shutWrite() || idle && c.life == lifeLingering && c.endIdle() {
			return false
		}
		c.noteUnacked()
	case c.peerHalf.isEndRead():
		c.tearDown(nil)
		return false
	case c.isIdleInShutdown():
		return !c.endIdle()
	}
	return true
}

// fail closes the connection now, because of an I/O error, a deadline, a limit or the end of the server.
func (c *loopConn) fail(err error) {
	err = c.loop.closedError(err)
	c.mu.Lock()
	c.setReason(err)
	c.mu.Unlock()
	c.tearDown(err)
}

// tearDown removes the connection from the loop and closes its descriptor. Output that was accepted and is not written fails with the
// reason. The handler's Close is called as soon as no request is in progress.
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
	c.setState(connClosed) // before the descriptor is closed: LocalAddr must not use its number afterwards
	c.setReason(reason)
	reason = c.reasonLocked()
	detached := c.ext != nil && c.ext.detached
	c.mu.Unlock()
	if !detached {
		c.closeFD(errors.Is(reason, ErrAborted))
	}

	c.mu.Lock()
	c.failOutput()
	c.wakeRequest()
	c.endWaiters()
	lost := c.takeDeferrals()
	detach := c.takeDetach()
	var dial *dialing
	if c.ext != nil {
		dial = c.ext.dial
	}
	stopContext := c.takeStopContext()
	busy := c.holds.has(holdWorker)
	c.mu.Unlock()
	for _, in := range lost {
		in.end()
	}
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
	c.finishTearDown()
}

// endWaiters stops the timers, and wakes the goroutines that wait for room or for the end of Context. Under mu.
func (c *loopConn) endWaiters() {
	x := c.ext
	if x == nil {
		return
	}
	x.readBuf = nil
	c.stopTimers()
	c.retryWriters()
	c.endContext()
}

// finishTearDown ends the loop's work on a connection whose descriptor is closed. It is called again if a callback of tearDown has called
// runtime.Goexit.
func (c *loopConn) finishTearDown() {
	c.mu.Lock()
	done, reason := c.takeUpgradeDone(), c.reasonLocked()
	c.mu.Unlock()
	if done != nil {
		done(&c.Conn, fmt.Errorf("start TLS: %w", orClosed(reason)))
	}
	c.mu.Lock()
	c.stopRunning()
	queue := c.commands != 0 && c.mark(0) // a worker has finished meanwhile
	c.mu.Unlock()
	c.enqueue(queue)
	c.notifyWhenIdle()
}

// closeFD closes the descriptor, if there is one.
func (c *loopConn) closeFD(reset bool) {
	l := c.loop
	_ = c.ev.Del() // its failure may be the reason why the connection is closed
	fd := c.ev.FD()
	if fd < 0 {
		delete(l.dialing, c)
		return
	}
	l.srv.conns.set(fd, nil)
	if reset {
		// A linger time of 0 makes close discard the kernel's buffer and send a reset, so that the peer does not wait.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err := l.srv.calls.Close(fd); err != nil {
		l.srv.cfg.Logger.Warn("server: close connection", "fd", fd, "err", err)
	}
}

// notifyWhenIdle calls notifyClosed if no request is in progress and no file is being read. Otherwise it is called again when that ends.
func (c *loopConn) notifyWhenIdle() {
	if c.hasRequests() || c.holdsCompletion() && !c.loop.aborting {
		c.loop.closedBusy[c] = struct{}{}
		return
	}
	delete(c.loop.closedBusy, c)
	c.dropInput()
	c.notifyClosed()
}

// notifyClosed calls the handler's Close, once.
func (c *loopConn) notifyClosed() {
	if c.life == lifeReleased {
		return
	}
	opened := c.life == lifeClosed
	c.life = c.life.to(lifeReleased)
	l := c.loop
	defer c.leave() // also if the callback calls runtime.Goexit
	c.mu.Lock()
	reason, h := c.reasonLocked(), c.handlerLocked()
	dialOpened := c.takeDialOpened()
	c.mu.Unlock()
	c.countEnd(reason)
	if opened {
		l.srv.totals.closed.Add(1)
		c.guard(func() { h.Close(&c.Conn, reason) })
	} else if dialOpened != nil {
		dialOpened(orClosed(reason))
	} else if c.isOutgoing() {
		c.guard(func() { h.Close(&c.Conn, reason) }) // as the comments of Dial and ConnConfig.Client say
	} else if f := l.srv.cfg.OnReject; f != nil {
		c.guard(func() { f(&c.Conn, reason) })
	}
}

// shutWrite closes the write side.
func (c *loopConn) shutWrite() (alive bool) {
	if !c.writeCloseNotify() {
		return !c.life.isGone() // close_notify waits for room in the kernel
	}
	c.life = c.life.shut()
	if c.peerHalf.isEndRead() && !c.holds.has(holdYield) && !c.hasRequests() {
		c.tearDown(nil)
		return false
	}
	if err := c.loop.srv.calls.Shutdown(c.ev.FD(), unix.SHUT_WR); err != nil {
		c.fail(fmt.Errorf("close write: %w", err))
		return false
	}
	return true
}
