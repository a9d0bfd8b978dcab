package server

// readSpecial reads a connection whose bytes do not go straight to the loop's buffer and then to the handler: they begin with a
// PROXY header, are encrypted, are limited in their rate, or are to lie elsewhere. Such a connection has its ext, since it began or
// since the loop made it, so that the loop may look for it without the lock.
func (c *loopConn) readSpecial() {
	l := c.loop
	buf := l.buf
	if !c.layers.has(layerTLS) && c.life != lifeHandshake {
		buf = c.readBuffer(buf)
	}
	buf = buf[:c.readAllowance(len(buf))]
	if len(buf) == 0 {
		return
	}
	n, err := l.srv.calls.Read(c.ev.FD(), buf)
	if err != nil {
		if !wouldBlock(err) {
			c.readFailed(err)
		}
		return
	}
	x := c.ext
	if n == 0 {
		c.specialEOF(x)
		return
	}
	c.spendRead(n)
	p := buf[:n]
	if c.handshake() == handshakeProxy {
		if p = c.readProxyHeader(x.proxied, p); p == nil {
			return
		}
	}
	switch {
	case c.layers.has(layerTLS):
		c.receivedTLS(p)
		if !c.handshake().isUnderWay() || c.life.isClosing() { // a handshake is no request, and has a deadline
			c.countLook()
		}
	case len(p) > 0:
		c.received(p)
		c.countLook()
	default:
		c.flush()
	}
}

// specialEOF is endRead for such a connection.
func (c *loopConn) specialEOF(x *ext) {
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
		c.setHandshake(handshakeFull) // until it has ended, and what came before the end is read
		if err := c.watchRead(false); err != nil {
			c.fail(err)
		}
	default:
		c.endRead()
	}
}
