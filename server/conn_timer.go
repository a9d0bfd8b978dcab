package server

import (
	"errors"
	"time"

	"github.com/evmq/evmq/event"
)

// Timeouts has deadlines of one connection; see the fields of Server with the names IdleTimeout, ReadTimeout and so on. 0 means the
// server's deadline, a negative duration none.
type Timeouts struct {
	Idle, Read, FirstRequest, Write, Close time.Duration
}

// SetTimeouts sets the deadlines of the connection. A deadline that runs already, also during a close, still counts from its beginning. Any
// goroutine.
func (c *Conn) SetTimeouts(t Timeouts) {
	c.mu.Lock()
	if x := c.extra(); t == (Timeouts{}) {
		x.timeouts = nil // the server's
	} else {
		x.timeouts = c.loop.srv.sharedTimeouts(t)
	}
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// sharedTimeouts returns the deadlines of SetTimeouts(t). They are not changed, and connections that are given the same ones one after the
// other share them: usually all connections of a protocol have the same.
func (s *Server) sharedTimeouts(t Timeouts) *Timeouts {
	own := s.cfg.timeoutsFrom(t)
	if last := s.timeouts.Load(); last != nil && *last == own {
		return last
	}
	s.timeouts.Store(&own)
	return &own
}

// timeouts returns the connection's own deadlines, or the server's.
func (c *loopConn) timeouts() *Timeouts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.timeouts != nil {
		return c.ext.timeouts
	}
	return &c.loop.srv.cfg.timeouts
}

// suspendedDeadlines returns the deadlines that do not count now, because the server does not wait for the peer. With requests in progress
// the read deadline runs if more requests are read meanwhile, as with Concurrent, and the write deadline always.
func (c *loopConn) suspendedDeadlines() (suspended deadlineSet) {
	if c.hasRequests() {
		suspended |= setOf(idleDeadline)
		if c.writing != writeBlocked { // otherwise the requests may wait until the peer takes output
			suspended |= setOf(closeDeadline)
		}
	}
	if !c.mayGiveInput() { // the rest of a request may wait in the kernel
		suspended |= setOf(readDeadline)
	}
	if c.writing == writeThrottled {
		suspended |= setOf(writeDeadline, closeDeadline)
	}
	if c.isSettingUp() {
		suspended |= setOf(idleDeadline)
	}
	return suspended
}

// nearestDeadline returns the deadline of the connection that passes first, and its time. A byte that restarts a deadline does not change
// the timer: when the timer expires, onTimeout finds that the deadline is later, and sets the timer again.
func (c *loopConn) nearestDeadline() (at time.Duration, which deadline) {
	now := c.loop.now()
	at, which = c.deadlines.nearest(now, c.timeouts(), c.suspendedDeadlines())
	nearer := func(end time.Duration, d deadline) {
		if end < at {
			at, which = end, d
		}
	}
	if limit := c.timeouts().Read; limit != event.NoTimeout && c.asksForInput() {
		nearer(c.inputDeadline(now, limit))
	}
	switch {
	case c.life == lifeDialing:
		nearer(c.ext.setupDeadline, dialDeadline)
	case c.handshake().isUnderWay():
		nearer(c.ext.setupDeadline, handshakeDeadline)
	case c.draining.isDraining() && c.life == lifeLingering:
		nearer(c.deadlines.end(idleDeadline, now, c.loop.srv.cfg.DrainTimeout), drainDeadline)
		if c.draining.isIdle() {
			nearer(saturatedAdd(now, unackedInterval), noDeadline)
		}
	}
	if c.isThrottled() {
		nearer(c.nextRefill(), noDeadline)
	}
	return at, which
}

// arm sets the timer to expire at the next deadline, or earlier.
func (c *loopConn) arm() {
	if c.life.isGone() {
		return
	}
	at, _ := c.nearestDeadline()
	c.armAt(at)
}

// armAt sets the timer to expire at the given time, unless it expires earlier.
func (c *loopConn) armAt(at time.Duration) {
	if at == event.NoTimeout {
		return
	}
	left, ok := c.ev.Remaining()
	if ok && c.loop.now()+left <= at || !ok && c.ev.Pending()&event.Timeout != 0 { // it has expired, and setting it would cancel the report
		return
	}
	err := c.ev.SetTimeout(max(0, at-c.loop.now()))
	if err != nil && !errors.Is(err, event.ErrClosed) { // the end of a loop ends its connections
		c.fail(err)
	}
}
