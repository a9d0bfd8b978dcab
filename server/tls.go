package server

import (
	"crypto/tls"
	"fmt"
)

// beginWithTLS adds TLS to a connection whose handshake comes before Open.
func (c *loopConn) beginWithTLS(config *tls.Config, client bool) {
	t := newTLSState(&c.Conn, config, client)
	c.mu.Lock()
	counted := c.countedOutput() // a dialled connection may have output
	c.extra().tls, c.ext.unopened = t, true
	c.countOutput(counted)
	c.mu.Unlock()
	c.layers.add(layerTLS)
	if c.handshake() == handshakeProxy { // the header comes first
		return
	}
	c.setHandshake(handshakeHello)
	c.life = c.life.to(lifeHandshake)
}

// checkClientTLS returns an error if a client's configuration uses features that the server does not support.
func checkClientTLS(config *tls.Config) error {
	if config.Renegotiation != tls.RenegotiateNever {
		return fmt.Errorf("%w: TLS.Renegotiation is %d; renegotiation is not supported", ErrInvalid, config.Renegotiation)
	}
	return nil
}

// TLS returns the state of the TLS connection: version, ALPN protocol, client certificates. It reports false without TLS and before the
// handshake has ended. Any goroutine.
func (c *Conn) TLS() (tls.ConnectionState, bool) {
	c.mu.Lock()
	var t *tlsState
	if c.ext != nil {
		t = c.ext.tls
	}
	c.mu.Unlock()
	if t == nil || !t.pipe.Succeeded() {
		return tls.ConnectionState{}, false
	}
	return t.conn.ConnectionState(), true
}
