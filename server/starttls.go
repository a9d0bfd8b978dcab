package server

import (
	"crypto/tls"
	"fmt"
	"io"
)

// StartTLSConfig is the configuration of StartTLS. A nil *StartTLSConfig means the zero value: this side is the server, and no function is
// called.
type StartTLSConfig struct {
	// Client makes this side the client of TLS: it sends the ClientHello when the earlier output is flushed.
	Client bool
	// HelloFollows says that the peer's ClientHello may follow its command at once, without waiting for an answer: input that the handler
	// has not consumed is given to TLS. It is for protocols in which the client does not wait, and for a handler that recognizes a
	// ClientHello by its first byte, 22, and consumes none of it. If it is false, such input is an error, since an attacker in the network
	// may have inserted it after the command. Together with Client it is ErrInvalid.
	HelloFollows bool
	// Done, if set, is called once on the connection's loop: with nil when the handshake has succeeded, so that Conn.TLS returns its state
	// and further input is decrypted, and otherwise with the reason, before the handler's Close is called.
	Done func(c *Conn, err error)
}

// upgrade is a StartTLS that waits for the output before it. Under the connection's mu.
type upgrade struct {
	config *tls.Config
	StartTLSConfig
}

// StartTLS begins TLS on an open connection, as STARTTLS of SMTP, IMAP, POP3 and LDAP and SSLRequest of PostgreSQL require. It is called
// when such a command is handled, after its answer was written: by the handler in Data, or in a request on a worker.
//
// Output that was written before the call, and the whole replies of requests in progress, are sent unencrypted. Output that is written
// after the call is sent encrypted. From the call on the handler is given no input, and the connection is not read, until the requests in
// progress have ended and the unencrypted output is flushed; then the handshake begins. A program that calls StartTLS elsewhere, while Data
// may be called, calls PauseRead before it writes the answer, so that the peer's ClientHello is not given to the handler.
//
// Unencrypted input that follows the command and was not consumed closes the connection with ErrHandshake, unless
// StartTLSConfig.HelloFollows is set, which passes it to TLS. No byte that was received unencrypted is given to the handler after the
// handshake. With Dispatcher.Concurrent, messages that were read together with the command may be in progress already, and are answered
// unencrypted.
//
// HandshakeTimeout counts from the beginning of the handshake. MaxHandshakes applies to the handshake, and MaxBuffered to its input. The
// connection keeps its handler, value, ID and counts. If the handshake fails, the handler's Close is called with ErrHandshake; OnReject
// is not called. Conn.Close ends the handshake if no output waits. A Shutdown closes a connection whose handshake has not begun.
//
// Errors: ErrInvalid if config is nil or incomplete (a server without a certificate, a client with neither ServerName nor
// InsecureSkipVerify), if the connection uses TLS already or after an earlier StartTLS, and if it is not open yet; ErrClosed. After an
// error the connection is as before and Done is not called. Any goroutine.
func (c *Conn) StartTLS(config *tls.Config, cfg *StartTLSConfig) error {
	u := &upgrade{config: config}
	if cfg != nil {
		u.StartTLSConfig = *cfg
	}
	err := u.check()
	c.mu.Lock()
	if err == nil {
		err = c.checkStartTLS()
	}
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("start TLS: %w", err)
	}
	c.extra().upgrade = u
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// check checks the configuration.
func (u *upgrade) check() error {
	config := u.config
	switch {
	case config == nil:
		return fmt.Errorf("%w: the configuration is nil", ErrInvalid)
	case u.Client && u.HelloFollows:
		return fmt.Errorf("%w: Client and HelloFollows are both set", ErrInvalid)
	case u.Client && config.ServerName == "" && !config.InsecureSkipVerify:
		return fmt.Errorf("%w: ServerName is empty and InsecureSkipVerify is false", ErrInvalid)
	case u.Client:
		return checkClientTLS(config)
	case !hasCertificate(config):
		return fmt.Errorf("%w: the configuration has no certificate", ErrInvalid)
	}
	return nil
}

// checkStartTLS checks whether the connection can begin TLS. Under mu.
func (c *Conn) checkStartTLS() error {
	x := c.ext
	switch {
	case c.state != connOpen:
		return c.refusal()
	case x == nil:
		return nil
	case x.tls != nil || x.upgrade != nil || x.dial != nil && x.dial.tls != nil:
		return fmt.Errorf("%w: the connection uses TLS already, or will use it", ErrInvalid)
	case x.unopened:
		return fmt.Errorf("%w: the connection is not open yet", ErrInvalid)
	}
	return nil
}

// beginUpgrade begins TLS on a connection whose earlier requests are answered and whose output is flushed. On the loop.
func (c *loopConn) beginUpgrade() {
	c.mu.Lock()
	u := c.ext.upgrade
	if c.state >= connClosing && c.ext.afterTLS == nil { // there is no output to encrypt
		c.ext.upgrade = nil
		err := fmt.Errorf("start TLS: %w", c.refusal())
		c.mu.Unlock()
		c.requeue()
		u.callDone(&c.Conn, err)
		return
	}
	c.mu.Unlock()
	if err := c.refuseUpgrade(u); err != nil { // the output that was written after StartTLS fails with it
		c.loop.srv.totals.failedHandshakes.Add(1)
		c.fail(err)
		return
	}
	c.mu.Lock()
	counted := c.countedOutput()
	c.out, c.ext.afterTLS, c.ext.upgrade = c.ext.afterTLS, nil, nil
	t := newTLSState(&c.Conn, u.config, u.Client)
	t.upgraded, t.done = true, u.callDone
	c.ext.tls = t
	c.countOutput(counted)
	c.mu.Unlock()
	c.layers.add(layerTLS)
	c.setHandshake(handshakeHello)
	c.holds.remove(holdPause | holdYield)
	c.ext.setupDeadline = saturatedAdd(c.loop.now(), c.loop.srv.cfg.HandshakeTimeout)
	if in := c.in; in != nil {
		c.receivedTLS(in.rest())
		c.dropInput()
	} else if u.Client {
		c.startHandshake()
	}
}

// refuseUpgrade returns an error if TLS cannot begin because of input that is not consumed.
func (c *loopConn) refuseUpgrade(u *upgrade) error {
	switch {
	case c.in != nil && !u.HelloFollows && len(c.in.rest()) > 0:
		return fmt.Errorf("%w: %d unencrypted bytes after the command", ErrHandshake, len(c.in.rest()))
	case c.peerHalf.isEndRead():
		return fmt.Errorf("%w: %w", ErrHandshake, io.ErrUnexpectedEOF)
	}
	return nil
}

// callDone calls StartTLSConfig.Done, if it is set. On the loop.
func (u *upgrade) callDone(c *Conn, err error) {
	if u.Done != nil {
		c.guard(func() { u.Done(c, err) })
	}
}
