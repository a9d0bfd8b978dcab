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
	switch {
	case !c.hasCanceling():
	case !c.hasUnread():
		c.cancelContext()
	case c.holds.has(holdWorker):
		c.in.request.endRead = true
	}
}

// cancelAfterInput is cancelAtEnd for a request that has used its Input. If it has consumed all input before the end, it does not matter
// whether it has done so before or after the loop has read the end. Under mu. Any goroutine.
func (in *input) cancelAfterInput() {
	if in.request.endRead && in.unread() == 0 {
		in.reply.c.cancelContext()
	}
}

// cancelContext ends Context because the peer has closed its sending half. Under mu. Any goroutine.
func (c *Conn) cancelContext() {
	if x := c.extra(); !x.canceled && !c.state.isDead() {
		x.canceled = true
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
