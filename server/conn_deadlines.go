package server

import (
	"time"

	"github.com/evmq/evmq/event"
)

// A deadline is one of the limits on the time that a connection may take. Each of them runs on its own, whatever the others do; the
// connection's timer is set for the nearest.
type deadline uint8

const (
	noDeadline           deadline = iota
	dialDeadline                  // to be connected, TLS included
	handshakeDeadline             // to end a PROXY header and a TLS handshake
	firstRequestDeadline          // from Open to the first request
	readDeadline                  // from the first byte of a request to its last
	idleDeadline                  // since the last byte that moved
	writeDeadline                 // since the peer took output last, while output waits for it
	closeDeadline                 // since the peer took output last, or since the close began
	drainDeadline                 // during Shutdown: since the last byte that moved, when our half is closed
	numDeadlines
)

// String is the deadline's name.
func (d deadline) String() string {
	return [...]string{"none", "dial", "handshake", "first request", "read", "idle", "write", "close", "drain"}[d]
}

// reason is why a connection ends whose deadline d has passed.
func (d deadline) reason() error {
	return [...]error{
		dialDeadline: ErrDialTimeout, handshakeDeadline: errHandshakeTimeout, firstRequestDeadline: ErrFirstRequest, readDeadline: ErrReadTimeout,
		idleDeadline: ErrIdle, writeDeadline: ErrWriteTimeout, closeDeadline: ErrCloseTimeout, drainDeadline: ErrCloseTimeout,
	}[d]
}

// deadlineState is what a deadline does at a moment.
type deadlineState uint8

const (
	deadlineStopped deadlineState = iota // there is nothing to wait for
	deadlineRunning
	deadlineHeld // the time that passes now is not the peer's
)

// String is the state's name.
func (s deadlineState) String() string { return [...]string{"stopped", "running", "held"}[s] }

// deadlineSet is a set of deadlines.
type deadlineSet uint16

func setOf(all ...deadline) (s deadlineSet) {
	for _, d := range all {
		s |= 1 << d
	}
	return s
}

func (s deadlineSet) has(d deadline) bool { return s>>d&1 != 0 }

// deadlines are the deadlines of a connection that is established, each with the time from which it counts. The limits are not
// here: they may be changed at any time and then count from the same beginning. Loop only.
type deadlines struct {
	began [5]moment // of firstRequestDeadline and those that follow; 0 while it is stopped
}

// at is the place of d, which is one of those with a beginning of its own.
func (ds *deadlines) at(d deadline) *moment { return &ds.began[d-firstRequestDeadline] }

// start makes d count from now.
func (ds *deadlines) start(d deadline, now time.Duration) { *ds.at(d) = momentOf(now) }

// startOnce starts d unless it runs.
func (ds *deadlines) startOnce(d deadline, now time.Duration) {
	if !ds.runs(d) {
		ds.start(d, now)
	}
}

// restart makes d count from now if it runs.
func (ds *deadlines) restart(d deadline, now time.Duration) {
	if ds.runs(d) {
		ds.start(d, now)
	}
}

// stop ends d.
func (ds *deadlines) stop(d deadline) { *ds.at(d) = 0 }

// runs reports whether d was started and not stopped. It may be held all the same.
func (ds *deadlines) runs(d deadline) bool { return *ds.at(d) != 0 }

// received notes that the peer has sent a byte.
func (ds *deadlines) received(now time.Duration) { ds.start(idleDeadline, now) }

// sent notes that the peer, or the kernel for it, has taken output.
func (ds *deadlines) sent(now time.Duration) {
	ds.start(idleDeadline, now)
	ds.restart(writeDeadline, now)
	ds.restart(closeDeadline, now)
}

// state says what d does while those in held are held.
func (ds *deadlines) state(d deadline, held deadlineSet) deadlineState {
	switch {
	case !ds.runs(d):
		return deadlineStopped
	case held.has(d):
		return deadlineHeld
	}
	return deadlineRunning
}

// end is when d is over, by its limit.
func (ds *deadlines) end(d deadline, now, limit time.Duration) time.Duration {
	return saturatedAdd(ds.at(d).time(now), limit)
}

// nearest returns the deadline that ends first, and when. A deadline that is held does not end, but may go on without a
// notice; so it is looked at again when its limit has passed, and noDeadline is returned for that.
func (ds *deadlines) nearest(now time.Duration, limits *Timeouts, held deadlineSet) (at time.Duration, which deadline) {
	at = event.NoTimeout
	for d := firstRequestDeadline; d <= closeDeadline; d++ {
		limit := limits.of(d)
		switch ds.state(d, held) {
		case deadlineRunning:
			if end := ds.end(d, now, limit); end < at {
				at, which = end, d
			}
		case deadlineHeld:
			if again := saturatedAdd(now, limit); again < at {
				at, which = again, noDeadline
			}
		}
	}
	return at, which
}

// of is the limit of a deadline that every connection has.
func (t *Timeouts) of(d deadline) time.Duration {
	switch d {
	case firstRequestDeadline:
		return t.FirstRequest
	case readDeadline:
		return t.Read
	case idleDeadline:
		return t.Idle
	case writeDeadline:
		return t.Write
	case closeDeadline:
		return t.Close
	}
	return event.NoTimeout
}

func saturatedAdd(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return event.NoTimeout
}

// moment is a time in units of 2^24 ns, some 17 ms, for what need not be exact. Two are compared within a year of each other. 0 is no
// time.
type moment uint32

// momentOf rounds up, so that nothing counted from a moment is early.
func momentOf(t time.Duration) moment { return max(1, moment(t>>24)+1) }

// time is m as it was before now.
func (m moment) time(now time.Duration) time.Duration {
	return now&^(1<<24-1) - time.Duration(int32(uint32(now>>24)-uint32(m)))<<24
}

// requestEnded makes the close deadline count from now, since it is held while requests are in work.
func (c *loopConn) requestEnded() {
	if c.writing != writeBlocked {
		c.deadlines.restart(closeDeadline, c.loop.now())
	}
}
