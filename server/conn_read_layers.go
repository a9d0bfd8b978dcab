package server

// readLayered reads from a connection with layers: its bytes begin with a PROXY header, are encrypted, are limited in their rate, or are
// read into a buffer of the handler. Such a connection has its ext; see layers. When the handler has called ReadInto, and the read before has
// filled its buffer, it reads a second time: the memory that both reads and the handler use is still in the caches.
func (c *loopConn) readLayered() {
	if c.readOnce() && !c.life.isGone() && len(c.readBuffer(nil)) > 0 && c.isReading() && c.mayRead() {
		c.readOnce()
	}
}

// readOnce is one read of readLayered. It reports whether the read has filled its buffer.
func (c *loopConn) readOnce() (filled bool) {
	l := c.loop
	buf := l.buf
	if !c.layers.has(layerTLS) && c.life != lifeHandshake {
		buf = c.readBuffer(buf)
	}
	if !c.layers.has(layerTLS) {
		buf = buf[:c.roomOfRequest(len(buf))]
	}
	buf = buf[:c.readAllowance(len(buf))]
	if len(buf) == 0 {
		return false
	}
	n, err := l.srv.calls.Read(c.ev.FD(), buf)
	if err != nil {
		if !wouldBlock(err) {
			c.readFailed(err)
		}
		return false
	}
	x := c.ext
	if n == 0 {
		c.layeredEOF(x)
		return false
	}
	c.spendRead(n)
	p := buf[:n]
	if c.handshake() == handshakeProxy {
		if p = c.readProxyHeader(x.proxied, p); p == nil {
			return false
		}
	}
	switch {
	case c.layers.has(layerTLS):
		c.receivedTLS(p)
		if !c.handshake().isUnderWay() || c.life.isClosing() { // a handshake is no request, and has a deadline
			c.countLateRead(n)
		}
	case len(p) > 0:
		c.received(p)
		c.countLateRead(n)
	default:
		c.flush()
	}
	return n == len(buf)
}

// layeredEOF is endRead for a connection with layers.
func (c *loopConn) layeredEOF(x *ext) {
	switch {
	case c.handshake() == handshakeProxy:
		c.fail(ErrProxyHeader)
	case c.layers.has(layerTLS):
		x.tls.pipe.FeedEOF()
		if !c.handshake().isUnderWay() {
			c.decrypt()
			return
		}
		if !c.handshake().isBegun() {
			c.fail(ErrHandshake)
			return
		}
		c.peerHalf = c.peerHalf.reach(peerEnded)
		c.setHandshake(handshakeFull) // until the handshake has ended and the input before the end is read
		if err := c.watchRead(false); err != nil {
			c.fail(err)
		}
	default:
		c.endRead()
	}
}
