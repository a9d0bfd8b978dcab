package server

// ReadInto makes the next read of the connection use p instead of the loop's buffer, so that bytes that the handler keeps, as the body of
// a message whose length is known, need not be copied. The handler calls it in Data, in a call that consumes all it was given. It applies
// to one read, of at most len(p) bytes and 64 KB.
//
// The next call of Data is given the bytes that were read. They are at the start of p if &data[0] == &p[0]; otherwise, if input was kept
// before them or reading was stopped in between, they are elsewhere and the handler copies them. That call ends the effect of ReadInto,
// and may call it again. p belongs to the connection until Data or Close is called. An empty p undoes ReadInto. Loop only.
func (c *Conn) ReadInto(p []byte) {
	c.loop.assertInLoop("Conn.ReadInto")
	c.loopPart().readInto(p)
}

func (c *loopConn) readInto(p []byte) {
	if c.layers == 0 {
		if len(p) == 0 {
			return
		}
		c.mu.Lock()
		c.extra()
		c.mu.Unlock()
		c.layers.add(layerReadInto)
	}
	c.ext.readBuf = p
}

// readBuffer returns the buffer of the next read: buf, the loop's own, or that of ReadInto. The connection has its ext.
func (c *loopConn) readBuffer(buf []byte) []byte {
	if into := c.ext.readBuf; len(into) > 0 && c.in == nil {
		return into[:min(len(into), readSize)]
	}
	return buf
}
