package server

import (
	"crypto/tls"
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
