package server

// onTimeout ends the connection if a deadline has passed, and sets the timer for the next one otherwise.
func (c *loopConn) onTimeout() (alive bool) {
	now := c.loop.now()
	if c.isThrottled() && c.nextRefill() <= now {
		c.unthrottle()
		if c.life.isGone() {
			return false
		}
	}
	if c.life == lifeLingering && c.isIdleInShutdown() && c.endIdle() {
		return false
	}
	at, which := c.nearestDeadline()
	if at <= now && which != noDeadline {
		if !c.catchUp() {
			return false
		}
		at, which = c.nearestDeadline()
	}
	if at <= now && which == closeDeadline && c.hasProgressed() {
		c.deadlines.start(closeDeadline, now)
		which = noDeadline
	}
	if at > now || which == noDeadline {
		c.arm()
		return !c.life.isGone()
	}
	c.fail(c.timedOut(which))
	return false
}

// catchUp writes and reads once before a deadline ends the connection. When the loop is late, for example after a slow callback, the peer
// may have been in time. It reports whether the connection stays.
func (c *loopConn) catchUp() (alive bool) {
	if c.writing == writeBlocked {
		c.onWritable()
	}
	if c.isReading() && c.mayRead() {
		c.read()
	}
	return !c.life.isGone()
}

// timedOut returns the reason of a connection whose deadline d has passed.
func (c *loopConn) timedOut(d deadline) error {
	switch {
	case d == dialDeadline:
		return c.dialTimedOut()
	case d == handshakeDeadline && c.handshake() == handshakeProxy:
		return errProxyTimeout
	case c.life == lifeLingering:
		return nil // all output was written; only the peer's end is missing
	}
	return d.reason()
}

// unthrottle ends the throttling of reads and of writes if their time has come.
func (c *loopConn) unthrottle() {
	r, now := c.ext.rates, c.loop.now()
	if r.readAt <= now {
		c.holds.remove(holdRate)
	}
	if c.writing == writeThrottled && r.writeAt <= now {
		c.writing = writeIdle
		c.deadlines.restart(closeDeadline, now) // the output has waited for the limit, not for the peer
	}
	c.flush()
}
