package server

// readAhead makes the loop read for a request of a CancelHandler that has not asked for input, so that the end of the peer's half is noticed.
// It is called when the kernel reports input: requests that end before cost nothing. It reports whether the connection may be read now.
func (c *loopConn) readAhead() bool {
	if !c.holds.has(holdWorker) || c.holds&holdsRead != holdInput || !c.in.request.cancels {
		return false
	}
	c.mu.Lock()
	s := c.in.stream
	may := s == nil || !s.full || c.peerHalf != peerSends && c.in.room() > 0 // full after peerSends: to see whether anything is unread
	c.mu.Unlock()
	if !may {
		return false
	}
	c.holds.remove(holdInput)
	c.draining = c.draining.unread()
	return c.mayRead()
}

// cancelAtEnd is called when the end of the peer's half was read. It ends Context if a request of a CancelHandler is in progress and no input
// is unread.
func (c *loopConn) cancelAtEnd() {
	if !c.hasRequests() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasCanceling() && !c.hasUnread() && !c.state.isDead() {
		c.extra().canceled = true
		c.endContext()
	}
}

// hasCanceling reports whether the requests in progress are of a CancelHandler.
func (c *loopConn) hasCanceling() bool {
	if c.holds.has(holdWorker) {
		return c.in.request.cancels
	}
	return c.holds.has(holdRequests) && c.ext.conc.cancels
}

// hasUnread reports whether input is not consumed. Under mu.
func (c *loopConn) hasUnread() bool { return c.in != nil && c.in.unread() > 0 }

// endsWithPeer reports whether a reset ends the connection at once, because a request of a CancelHandler is deferred.
func (c *loopConn) endsWithPeer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil && c.ext.deferrals != nil && c.hasCanceling()
}
