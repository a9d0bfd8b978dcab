package server

// CloseIdle closes the accepted connections that wait for their next request, in order: those that have answered a request, of which nothing of another
// one has arrived, and whose output is flushed. A request that arrives at the same time may be lost, as at IdleTimeout. Requests whose
// answers end at the same time may leave a connection open. It does not wait. Before Start it does nothing. Any goroutine.
func (s *Server) CloseIdle() {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.do(l.closeIdle)
	}
}

// closeIdle is CloseIdle for the connections of the loop.
func (l *loop) closeIdle() {
	for c := range l.srv.conns.all() {
		if c.loop == l && !c.isOutgoing() && !c.life.isUnopened() && c.hasAnswered() && c.hasNothingToDo() {
			c.closeWith(nil)
		}
	}
}

// hasAnswered reports whether a request of the connection was answered.
func (c *Conn) hasAnswered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reqs > 0
}
