package server

import (
	"errors"
	"fmt"
	"io"

	"github.com/evmq/evmq/internal/tlsio"
)

// receivedTLS passes p, bytes from the socket, to TLS: to the handshake, which it starts when the ClientHello is complete, and afterwards to
// decrypt. It may close the connection. On the loop.
func (c *loopConn) receivedTLS(p []byte) {
	t := c.ext.tls
	if !c.handshake().isUnderWay() {
		t.pipe.Lend(p)
		c.decrypt()
		return
	}
	if err := c.loop.srv.overloads(len(p)); err != nil { // before it is copied
		c.fail(err)
		return
	}
	full := t.pipe.Feed(p)
	if !c.countTLS() {
		return
	}
	if c.handshake() == handshakeHello {
		complete, err := t.pipe.HelloComplete()
		switch {
		case err != nil:
			c.refuseNotTLS(err)
			return
		case complete:
			c.startHandshake()
		}
	}
	switch {
	case full && c.handshake() == handshakeRuns: // the client does not wait for the end of the handshake; its further input stays in the kernel
		c.setHandshake(handshakeFull)
	case full:
		c.fail(fmt.Errorf("%w: more than %d bytes before its end", ErrHandshake, tlsio.MaxHandshakeInput))
	}
}

// decrypt decrypts the input of the pipe, a record at a time, and gives it to the handler, at most readSize bytes and a record. If more input
// waits then, it sets more. It flushes the connection, or closes it after an error. On the loop, after the handshake.
func (c *loopConn) decrypt() {
	l := c.loop
	t := c.ext.tls
	t.more = false
	if l.plain == nil {
		l.plain = make([]byte, readSize)
	}
	for budget := readSize; ; {
		if c.holds.has(holdsRead) || c.life.isGone() || budget <= 0 {
			t.more = true
			break
		}
		plain := c.readBuffer(l.plain)
		plain = plain[:c.roomOfRequest(len(plain))]
		n, err := t.conn.Read(plain) // at most one record
		empty := false
		if n > 0 {
			t.pipe.Delivered()
			empty = n < len(plain) && t.pipe.Decrypted() // if plain is full, the record may have more
			budget -= n
			if c.draining.isDraining() {
				c.draining = c.draining.busy() // also if the input arrived with the end of the handshake
			}
			c.received(plain[:n])
			if c.life.isGone() {
				return
			}
		}
		if c.writing == writeBlocked && t.pipe.Output() > maxRecordsWait {
			t.pipe.Keep()
			c.fail(fmt.Errorf("%w: %d bytes of answers to key updates wait", ErrOverload, t.pipe.Output()))
			return
		}
		switch {
		case err == nil && empty:
		case err == nil:
			continue
		case errors.Is(err, tlsio.ErrWouldBlock):
			t.pipe.AllDecrypted()
		case errors.Is(err, io.EOF):
			t.pipe.Keep()
			c.endRead()
			return
		default:
			c.writeAlert()
			c.fail(err)
			return
		}
		break
	}
	if err := c.loop.srv.overloads(t.pipe.Uncopied()); err != nil {
		c.fail(err)
		return
	}
	t.pipe.Keep()
	if !c.countTLS() {
		return
	}
	c.flush()
}

// countTLS counts the memory of the pipe. If it has grown and the server holds more than MaxBuffered, countTLS closes the connection and
// returns false.
func (c *loopConn) countTLS() (alive bool) {
	s := c.loop.srv
	if c.recountTLS() > 0 && s.buffered.Load() > s.cfg.MaxBuffered {
		c.fail(s.overloaded())
		return false
	}
	return true
}
