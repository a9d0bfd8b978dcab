package server

// FD returns the number of the connection's descriptor, or -1 until a dialled connection is established. It is meant for logs and
// reports: the descriptor belongs to the loop, and when the connection is closed, the system may give its number to another file. Any
// goroutine.
func (c *Conn) FD() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.dial != nil {
		return -1
	}
	return c.descriptor()
}
