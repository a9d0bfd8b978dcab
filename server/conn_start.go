package server

import (
	"crypto/tls"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// connSetup says which layers a connection has before its handler's Open is called.
type connSetup struct {
	proxy  bool                      // a PROXY header
	tls    *tls.Config               // a TLS handshake; nil for none
	notTLS func(first []byte) []byte // of ListenerConfig; nil for none
	client bool                      // this side is the client of the handshake
}

// prepare adds the layers of setup and the server's rate limits to a new connection, before it is given to its loop.
func (c *loopConn) prepare(setup connSetup) {
	s := c.loop.srv
	if setup.proxy {
		c.extra().proxied = new(proxied)
		c.extra().unopened = true
		c.layers.add(layerProxy)
		c.setHandshake(handshakeProxy)
		c.life = c.life.to(lifeHandshake)
	}
	if s.cfg.limited() {
		c.extra().rates = &rates{read: s.cfg.ReadLimit.bucket(), write: s.cfg.WriteLimit.bucket()}
		c.layers.add(layerRate)
	}
	if setup.tls != nil {
		c.beginWithTLS(setup.tls, setup.client)
		c.ext.tls.notTLS = setup.notTLS
	}
}

// newConn makes a connection with the descriptor fd, which is -1 if Dial has not connected it yet. The caller has counted it with
// enterConn.
func (s *Server) newConn(l *loop, fd int, peer sock.Peer, h Handler, setup connSetup) (*loopConn, error) {
	c := &loopConn{Conn: Conn{loop: l, peer: peer}}
	c.ident.Store(s.ids.Add(1))
	flags := event.Read | event.Persist
	if fd < 0 {
		flags = event.Persist
	}
	if err := l.ev.InitEvent(&c.ev, fd, flags, l.callback); err != nil {
		return nil, l.closedError(err)
	}
	l.count.Add(1)
	if h != nil {
		c.extra().handler = h
	}
	c.prepare(setup)
	return c, nil
}
