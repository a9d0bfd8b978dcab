package server

// CloseIdle closes the accepted connections that wait for their next request, in order: those that have answered a request, of which
// nothing of another one has arrived, and whose output is flushed. If fn is not nil, it is called with each of them, on its loop, and those
// for which it returns false stay open. A request that arrives at the same time may be lost, as at IdleTimeout; one whose answer ends at
// the same time may leave its connection open. CloseIdle does not wait. Before Start it does nothing. Any goroutine.
func (s *Server) CloseIdle(fn func(c *Conn) bool) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.do(func() { l.closeIdle(fn) })
	}
}

// closeIdle is CloseIdle for the connections of the loop.
func (l *loop) closeIdle(fn func(c *Conn) bool) {
	for c := range l.srv.conns.all() {
		if c.loop != l || c.isOutgoing() || c.life.isUnopened() || !c.hasAnswered() || !c.hasNothingToDo() {
			continue
		}
		closes := fn == nil
		if fn != nil {
			l.setCurrent(c)
			c.guard(func() { closes = fn(&c.Conn) })
			l.clearCurrent()
		}
		if closes {
			c.closeWith(nil)
		}
	}
}

// hasAnswered reports whether a request of the connection was answered.
func (c *loopConn) hasAnswered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reqs > 0
}
