package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/evmq/evmq/internal/tlsio"
)

// tlsState is the TLS state of a connection. Package crypto/tls works on a pipe in memory: the loop puts bytes from the socket into the
// pipe's input, and writes the pipe's output to the socket. Only the handshake, in which reads of the pipe block, runs on a goroutine. It
// begins when the ClientHello is complete, so that a silent client needs no goroutine.
type tlsState struct {
	conn      *tls.Conn   // made when the handshake begins
	config    *tls.Config // for conn
	pipe      *tlsio.Pipe
	client    bool
	upgraded  bool                    // by StartTLS: Open was called before. Loop only
	done      func(*Conn, error)      // calls StartTLSConfig.Done; nil without StartTLS, and when it was taken
	cancel    context.CancelCauseFunc // ends the context of the handshake; nil unless it runs, and if the connection had a context before. Under mu
	waits     *list.Element           // its place among the handshakes that wait; nil if it does not wait. Under the mu of handshakes
	notified  bool                    // close_notify was sent. Loop only
	counted   int                     // bytes of the pipe counted in Server.buffered. Loop only
	more      bool                    // input waits in conn or pipe, which the kernel does not report. Loop only
	encrypted int                     // bytes of the connection's output whose records are in the pipe. Loop only
}

// pipeOwner has the methods that the pipe calls.
type pipeOwner struct{ *Conn }

// Changed makes the loop serve the connection. Any goroutine.
func (o pipeOwner) Changed() { o.requeue() }

// Now returns the time of the clock of the server's loops.
func (o pipeOwner) Now() time.Duration { return o.loop.ev.Clock().Now() }

func newTLSState(c *Conn, config *tls.Config, client bool) *tlsState {
	return &tlsState{client: client, config: config, pipe: tlsio.New(pipeOwner{c})}
}

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

// receivedTLS passes p, bytes from the socket, to TLS.
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
			c.fail(fmt.Errorf("%w: %w", ErrHandshake, err))
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

// decrypt decrypts input and gives it to the handler, within the budget of a turn.
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
			empty = n < len(plain) && t.pipe.Decrypted() // otherwise the record may have more
			budget -= n
			if c.draining.isDraining() {
				c.draining = c.draining.busy() // also if the input arrived with the end of the handshake
			}
			c.received(plain[:n])
			if c.life.isGone() {
				return
			}
		}
		if c.writing == writeBlocked && t.pipe.Output() > maxCipherWaits {
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

// recountTLS counts the memory of the pipe, and returns its growth. On the loop.
func (c *loopConn) recountTLS() (grown int) {
	t := c.ext.tls
	n := t.memory()
	grown = n - t.counted
	c.loop.srv.addBuffered(grown)
	t.counted = n
	return grown
}

// memory returns the memory of the pipe without the records of the connection's output, which are counted as output. On the loop.
func (t *tlsState) memory() int {
	in, out := t.pipe.Memory()
	if t.encrypted > 0 {
		out = max(0, out-t.encrypted-recordOverhead)
	}
	return in + out
}

// cipherWaits reports whether records wait for the kernel. Under mu.
func (c *Conn) cipherWaits() bool {
	return c.ext != nil && c.ext.tls != nil && c.ext.tls.pipe.Output() > 0
}

// writeTLS encrypts the output and writes it. Under mu, which is released meanwhile.
func (c *loopConn) writeTLS() error {
	err := c.writeRecords()
	c.ext.tls.pipe.KeepOut()
	c.recountTLS() // not countTLS: the memory of accepted output does not close the connection
	return err
}

// writeRecords is writeTLS without the count of the memory.
func (c *loopConn) writeRecords() error {
	t := c.ext.tls
	for budget := writeBudget; budget > 0 && (c.out != nil || c.cipherWaits()); {
		limit := c.writeAllowance(budget)
		if limit == 0 {
			return nil
		}
		c.mu.Unlock()
		n, all, err := t.pipe.Flush(c.loop.srv.calls, c.ev.FD(), limit)
		c.mu.Lock()
		if n > 0 {
			budget -= n
			c.deadlines.sent(c.loop.now())
			c.spend(n)
		}
		switch {
		case err != nil:
			return err
		case !all && n < limit:
			return c.waitWritable()
		case !all:
			continue
		}
		if err := c.encryptedWritten(); err != nil || c.out == nil || c.handshake().isUnderWay() {
			return err
		}
		if err := c.encrypt(); err != nil || c.isFetching() {
			return err
		}
	}
	return nil
}

// encryptedWritten accounts for the output whose records the kernel has taken. Under mu.
func (c *loopConn) encryptedWritten() error {
	t := c.ext.tls
	if t.encrypted > 0 && c.out != nil {
		n := t.encrypted
		t.encrypted = 0
		if c.ext.fetched != nil && c.out.File() != nil {
			c.wroteFetched(n)
		} else {
			c.wroteOut(n)
		}
	}
	c.freeOutput()
	return nil
}

// maxCipherWaits limits the records that wait for the kernel: those of one flush, and the answers of TLS itself, for example to key
// updates, which no other limit counts.
const maxCipherWaits = 64 << 10

// recordOverhead is the overhead of the records of 2*tlsio.MaxRecord bytes. crypto/tls begins with small records, each of which fits into a
// TCP segment.
const recordOverhead = 2 << 10

// encrypt makes records of the next output. Under mu, released meanwhile.
func (c *loopConn) encrypt() error {
	l := c.loop
	t := c.ext.tls
	if l.plain == nil {
		l.plain = make([]byte, readSize)
	}
	if l.cipher == nil {
		l.cipher = make([]byte, 2*tlsio.MaxRecord+recordOverhead)
	}
	p, err := c.nextPlain()
	if err != nil || c.isFetching() {
		return err
	}
	c.mu.Unlock()
	if len(p) > 0 {
		t.pipe.LendOut(l.cipher)
		_, err = t.conn.Write(p)
	}
	c.mu.Lock()
	t.encrypted = len(p)
	if len(p) == 0 && err == nil { // completions only
		c.wroteOut(0)
	}
	return err
}

// nextPlain returns the next output to encrypt. It is nil while a piece of a file is being read. Under mu, released meanwhile.
func (c *loopConn) nextPlain() ([]byte, error) {
	l := c.loop
	f := c.out.File()
	if f == nil {
		p := l.plain[:0]
		for _, b := range c.out.Peek(l.iov[:0], 2*tlsio.MaxRecord) {
			p = append(p, b...)
		}
		clear(l.iov[:])
		return p, nil
	}
	if c.ext.fetched != nil {
		return c.takeFetched(f, tlsio.MaxRecord)
	}
	p, offset := l.plain[:min(f.Remain, tlsio.MaxRecord)], f.Offset
	c.mu.Unlock()
	n, err := f.F.ReadAt(p, offset)
	c.mu.Lock()
	switch {
	case n > 0:
		return p[:n], nil
	case errors.Is(err, syscall.ESPIPE):
		c.fetch(f)
		return nil, nil
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// closeTLS writes close_notify if the connection has TLS. It reports false while that waits for room in the kernel.
func (c *loopConn) closeTLS() (written bool) {
	if !c.layers.has(layerTLS) {
		return true
	}
	t := c.ext.tls
	if !t.notified && !c.handshake().isUnderWay() {
		t.notified = true
		if err := t.conn.CloseWrite(); err != nil {
			return true // the TLS state is invalid; the connection is closed anyway
		}
	}
	_, all, err := t.pipe.Flush(c.loop.srv.calls, c.ev.FD(), readSize)
	if err != nil || all {
		return true
	}
	c.mu.Lock()
	err = c.waitWritable()
	c.mu.Unlock()
	return err != nil
}
