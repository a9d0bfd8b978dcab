package server

// callShutdown calls Shutdown of the connection's handler, if it is a ShutdownHandler and the connection is open. It reports whether the
// handler ends the connection. On the loop, in its work on the connection.
func (c *loopConn) callShutdown() bool {
	c.mu.Lock()
	open := c.state == connOpen && c.life == lifeOpen
	h, ok := FindHandler[ShutdownHandler](c.handlerLocked())
	c.mu.Unlock()
	if !open || !ok {
		return false
	}
	c.guard(func() { h.Shutdown(&c.Conn) })
	return true
}
