package server

import (
	"errors"
	"time"

	"github.com/evmq/evmq/event"
)

// Timeouts are the deadlines of one connection; see the Server's fields of these names. 0 means the server's, a negative
// duration none.
type Timeouts struct {
	Idle, Read, FirstRequest, Write, Close time.Duration
}

// SetTimeouts gives the connection deadlines of its own. Those that run already count from when they began. Any goroutine.
func (c *Conn) SetTimeouts(t Timeouts) {
	c.mu.Lock()
	c.extra().timeouts = c.loop.srv.timeoutsFrom(t)
	tell := c.mark(cmdLook)
	c.mu.Unlock()
	c.tell(tell)
}

// timeoutsFrom fills in what t leaves open. None is event.NoTimeout.
func (s *Server) timeoutsFrom(t Timeouts) *Timeouts {
	or := func(d, fallback time.Duration) time.Duration {
		if d == 0 {
			d = fallback
		}
		if d < 0 {
			return event.NoTimeout
		}
		return d
	}
	return &Timeouts{
		Idle: or(t.Idle, s.limits.Idle), Read: or(t.Read, s.limits.Read), FirstRequest: or(t.FirstRequest, s.limits.FirstRequest),
		Write: or(t.Write, s.limits.Write), Close: or(t.Close, s.limits.Close),
	}
}

// timeouts are the connection's own deadlines, or the server's.
func (c *Conn) timeouts() *Timeouts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.timeouts != nil {
		return c.ext.timeouts
	}
	return &c.loop.srv.limits
}

// due is the nearest deadline of the connection and what it means. A deadline that a byte moves away is not moved in the timer:
// the alarm goes off, finds another one due, and is set again.
func (c *Conn) due() (at time.Duration, reason error) {
	at = event.NoTimeout
	nearer := func(from, d time.Duration, why error) {
		if t := saturatedAdd(from, d); t < at {
			at, reason = t, why
		}
	}
	t := c.timeouts()
	now := c.loop.now()
	switch {
	case c.flags&flagDialing != 0:
		nearer(c.since, 0, ErrDialTimeout)
	case c.flags&flagHandshake != 0:
		reason = errHandshakeTimeout
		if x := c.ext.proxied; x != nil && !x.done {
			reason = errProxyTimeout
		}
		nearer(c.since, 0, reason)
	case c.flags&flagClosing != 0:
		nearer(c.since, 0, ErrCloseTimeout)
	default:
		if c.flags&flagWriting != 0 {
			nearer(c.since, t.Write, ErrWriteTimeout)
		}
		if c.flags&inWork != 0 {
			nearer(now, t.Idle, nil) // to look again
		} else {
			nearer(c.last.time(now), t.Idle, ErrIdle)
		}
		if c.flags&flagServed == 0 {
			nearer(c.openedAt(), t.FirstRequest, ErrFirstRequest)
		}
		if c.flags&holdsInput == 0 && c.in != nil && c.in.began != 0 {
			nearer(c.in.began, t.Read, ErrReadTimeout)
		}
	}
	if c.flags&(flagThrottled|flagSlowed) != 0 {
		nearer(c.nextRefill(), 0, nil)
	}
	return at, reason
}

// openedAt is when the connection was opened. On the loop, while it is open and its first request is not there.
func (c *Conn) openedAt() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.opened != 0 {
		return c.ext.opened
	}
	return c.since
}

// arm sees to it that the alarm goes off when the next deadline is due, or earlier.
func (c *Conn) arm() {
	if c.flags&flagGone != 0 {
		return
	}
	at, _ := c.due()
	c.armAt(at)
}

// armFor is arm for a deadline that is known, without looking at the others.
func (c *Conn) armFor(from, d time.Duration) { c.armAt(saturatedAdd(from, d)) }

func (c *Conn) armAt(at time.Duration) {
	if at == event.NoTimeout {
		return
	}
	left, ok := c.ev.Remaining()
	if ok && c.loop.now()+left <= at || !ok && c.ev.Pending()&event.Timeout != 0 { // it has gone off, and would be taken back
		return
	}
	if err := c.ev.SetTimeout(max(0, at-c.loop.now())); err != nil {
		c.fail(err)
	}
}

// onTimeout looks at what is due, and sets the alarm for what comes next.
func (c *Conn) onTimeout() (alive bool) {
	now := c.loop.now()
	if c.flags&(flagThrottled|flagSlowed) != 0 && c.nextRefill() <= now {
		c.unthrottle()
		if c.flags&flagGone != 0 {
			return false
		}
	}
	at, reason := c.due()
	if at > now || reason == nil {
		c.arm()
		return c.flags&flagGone == 0
	}
	if errors.Is(reason, ErrCloseTimeout) && c.flags&flagShut != 0 {
		reason = nil // all was written, and the peer has had its time to see it
	}
	if c.flags&flagDialing != 0 {
		reason = c.dialTimedOut()
	}
	c.fail(reason)
	return false
}
