package server

// ReadInto asks that the next bytes of the connection are read into p instead of the loop's buffer, so that what is to stay, as the
// body of a message whose length is known, need not be copied. It is for one read, of at most len(p) bytes and 64 KB, and is
// called in Data, when that consumes all it was given; the next call of Data forgets it, and may call it again. Data is called with
// what has come as ever. It lies in p if &data[0] == &p[0]; where something else was kept or the handler may have no
// input just now, it lies elsewhere, and has to be copied after all. p is the connection's until Data or Close is called next. An
// empty p takes the wish back. Loop only.
func (c *Conn) ReadInto(p []byte) { c.loopPart().readInto(p) }

func (c *loopConn) readInto(p []byte) {
	if c.flags&flagSpecial == 0 {
		if len(p) == 0 {
			return
		}
		c.mu.Lock()
		c.extra()
		c.mu.Unlock()
		c.flags |= flagSpecial
	}
	c.ext.into = p
}

// readPlace is where the next bytes for the handler are read: buf, the loop's own, unless the handler has said otherwise. The
// connection is special.
func (c *loopConn) readPlace(buf []byte) []byte {
	if into := c.ext.into; len(into) > 0 && c.in == nil {
		return into[:min(len(into), len(buf))]
	}
	return buf
}
