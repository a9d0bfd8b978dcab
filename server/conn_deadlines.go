package server

import (
	"time"

	"github.com/evmq/evmq/event"
)

// A deadline is one of the time limits of a connection. They are independent of each other; the connection's timer is set for the nearest
// one.
type deadline uint8

const (
	noDeadline           deadline = iota
	dialDeadline                  // from Dial to the end of its TLS handshake
	handshakeDeadline             // from the accept, or the beginning of StartTLS, to the end of a PROXY header and a TLS handshake
	firstRequestDeadline          // from Open to the first request
	readDeadline                  // from the first byte of a request to its last
	idleDeadline                  // since the last byte was read or written
	writeDeadline                 // since the peer last took output, while output waits for it
	closeDeadline                 // since the peer last took output, or since the close began
	drainDeadline                 // during Shutdown, when the write side is closed: since the last byte was read or written
	numDeadlines
)

// String returns the deadline's name.
func (d deadline) String() string {
	return [...]string{"none", "dial", "handshake", "first request", "read", "idle", "write", "close", "drain"}[d]
}

// reason returns the reason of a connection whose deadline d has passed.
func (d deadline) reason() error {
	return [...]error{
		dialDeadline: ErrDialTimeout, handshakeDeadline: errHandshakeTimeout, firstRequestDeadline: ErrFirstRequest, readDeadline: ErrReadTimeout,
		idleDeadline: ErrIdle, writeDeadline: ErrWriteTimeout, closeDeadline: ErrCloseTimeout, drainDeadline: ErrCloseTimeout,
	}[d]
}

// deadlineState says whether a deadline counts.
type deadlineState uint8

const (
	deadlineStopped deadlineState = iota // it was not started, or was stopped
	deadlineRunning
	deadlineSuspended // the server does not wait for the peer now
)

// String returns the state's name.
func (s deadlineState) String() string { return [...]string{"stopped", "running", "suspended"}[s] }

// deadlineSet is a set of deadlines.
type deadlineSet uint16

func setOf(all ...deadline) (s deadlineSet) {
	for _, d := range all {
		s |= 1 << d
	}
	return s
}

func (s deadlineSet) has(d deadline) bool { return s>>d&1 != 0 }

// deadlines has the times from which the deadlines of an established connection count. The limits are in Timeouts, since they may change
// while a deadline runs. Loop only.
type deadlines struct {
	began [5]coarseTime // of firstRequestDeadline and those that follow; 0 while it is stopped
}

// at returns the place of d's beginning. d must be one of those in began.
func (ds *deadlines) at(d deadline) *coarseTime { return &ds.began[d-firstRequestDeadline] }

// start makes d count from now.
func (ds *deadlines) start(d deadline, now time.Duration) { *ds.at(d) = coarse(now) }

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

// stop stops d.
func (ds *deadlines) stop(d deadline) { *ds.at(d) = 0 }

// runs reports whether d was started and not stopped. It may still be suspended.
func (ds *deadlines) runs(d deadline) bool { return *ds.at(d) != 0 }

// received records that the peer has sent bytes.
func (ds *deadlines) received(now time.Duration) { ds.start(idleDeadline, now) }

// sent records that the kernel has taken output.
func (ds *deadlines) sent(now time.Duration) {
	ds.start(idleDeadline, now)
	ds.restart(writeDeadline, now)
	ds.restart(closeDeadline, now)
}

// state returns the state of d while the deadlines in suspended are suspended.
func (ds *deadlines) state(d deadline, suspended deadlineSet) deadlineState {
	switch {
	case !ds.runs(d):
		return deadlineStopped
	case suspended.has(d):
		return deadlineSuspended
	}
	return deadlineRunning
}

// end returns the time at which d passes, given its limit.
func (ds *deadlines) end(d deadline, now, limit time.Duration) time.Duration {
	return saturatedAdd(ds.at(d).time(now), limit)
}

// nearest returns the deadline that passes first, and its time. A suspended deadline does not pass. Since nothing reports when it counts
// again, it has to be checked when its limit has passed from now; for such a check nearest returns noDeadline.
func (ds *deadlines) nearest(now time.Duration, limits *Timeouts, suspended deadlineSet) (at time.Duration, which deadline) {
	at = event.NoTimeout
	for d := firstRequestDeadline; d <= closeDeadline; d++ {
		limit := limits.of(d)
		switch ds.state(d, suspended) {
		case deadlineRunning:
			if end := ds.end(d, now, limit); end < at {
				at, which = end, d
			}
		case deadlineSuspended:
			if again := saturatedAdd(now, limit); again < at {
				at, which = again, noDeadline
			}
		}
	}
	return at, which
}

// of returns the limit of d, or event.NoTimeout if Timeouts has no field for d.
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

// saturatedAdd returns t+d, or event.NoTimeout if the sum overflows. d is not negative.
func saturatedAdd(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return event.NoTimeout
}

// coarseTime is a time in units of 2^24 ns, about 17 ms, for deadlines, which need not be exact. Times within a year of each other can be
// compared. 0 is no time.
type coarseTime uint32

// coarse rounds t up, so that no deadline that counts from it is early.
func coarse(t time.Duration) coarseTime { return max(1, coarseTime(t>>24)+1) }

// time returns m as a time of the clock whose time is now. The two are within a year of each other.
func (m coarseTime) time(now time.Duration) time.Duration {
	return now&^(1<<24-1) - time.Duration(int32(uint32(now>>24)-uint32(m)))<<24
}

// resumeCloseDeadline makes the close deadline count from now when a request has ended, unless it has run meanwhile. See
// suspendedDeadlines.
func (c *loopConn) resumeCloseDeadline() {
	if c.writing != writeBlocked {
		c.deadlines.restart(closeDeadline, c.loop.now())
	}
}
