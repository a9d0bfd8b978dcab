package server

import (
	"crypto/tls"
	"net"

	"github.com/evmq/evmq/internal/sock"
)

// start is what a connection begins with, before its handler's Open is called.
type start struct {
	proxy  bool        // a PROXY header
	tls    *tls.Config // a TLS handshake; nil for none
	client bool        // as its client
}

// accepted is what the connections of a listener without options begin with.
func (s *Server) accepted() start { return start{proxy: s.cfg.ProxyProtocol, tls: s.cfg.TLS} }

// prepare gives a new connection what it begins with, and the server's rate limits. Before its loop knows it.
func (c *loopConn) prepare(begins start) {
	s := c.loop.srv
	if begins.proxy {
		c.extra().proxied = new(proxied)
		c.extra().unopened = true
		c.layers.add(layerProxy)
		c.setHandshake(handshakeProxy)
		c.life = c.life.to(lifeHandshake)
	}
	if s.cfg.limited() {
		x := c.extra()
		x.readRate, x.writeRate = s.cfg.ReadLimit.bucket(), s.cfg.WriteLimit.bucket()
		c.layers.add(layerRate)
	}
	if begins.tls != nil {
		c.beginWithTLS(begins.tls, begins.client)
	}
}

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

// isClient reports whether the connection was made by Dial. Under no lock; on the loop.
func (c *loopConn) isClient() bool {
	return c.layers.has(layerTLS) && c.ext.tls.client
}

// LocalAddr is the connection's own address; nil when it is closed or detached. Any goroutine.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connClosed || c.ext != nil && (c.ext.dial != nil || c.ext.handed) || c.descriptor() < 0 {
		return nil
	}
	p, err := sock.LocalPeer(c.descriptor())
	if err != nil {
		return nil
	}
	if p.IsUnix() {
		return &net.UnixAddr{Name: sock.UnixName(c.descriptor()), Net: "unix"}
	}
	return p.Addr(c.loop.srv.network(p))
}
