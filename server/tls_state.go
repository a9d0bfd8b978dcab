package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"time"

	"github.com/evmq/evmq/internal/tlsio"
)

// tlsState is the TLS state of a connection. The tls.Conn reads and writes a pipe in memory: the loop puts bytes from the socket into the pipe's
// input, and writes the pipe's output, which are records, to the socket. Only the handshake, in which reads of the pipe block, runs on a
// goroutine of its own. It begins when the ClientHello is complete, so that a silent client needs no goroutine.
type tlsState struct {
	conn      *tls.Conn   // made when the handshake begins
	config    *tls.Config // for conn
	pipe      *tlsio.Pipe
	notTLS    func(first []byte) []byte // of ListenerConfig; nil for none
	client    bool
	upgraded  bool                    // by StartTLS: Open was called before. Loop only
	done      func(*Conn, error)      // callDone of StartTLS; nil without StartTLS, and when takeUpgradeDone has returned it. Under mu
	cancel    context.CancelCauseFunc // ends the context that handshakeContext has made; nil if there is none. Under mu
	waits     *list.Element           // the element of handshakes.waiting; nil if the handshake does not wait for a place. Under the mu of handshakes
	notified  bool                    // close_notify was sent. Loop only
	counted   int                     // bytes of the pipe counted in Server.buffered. Loop only
	more      bool                    // input waits in conn or pipe, which the kernel does not report. Loop only
	encrypted int                     // bytes of the connection's output whose records are in the pipe. Loop only
}

// pipeOwner is the connection as its pipe uses it; see tlsio.Owner.
type pipeOwner struct{ *Conn }

// Changed makes the loop serve the connection. Any goroutine.
func (o pipeOwner) Changed() { o.requeue() }

// Now returns the time of the clock of the server's loops.
func (o pipeOwner) Now() time.Duration { return o.loop.ev.Clock().Now() }

// newTLSState makes the state of a handshake that has not begun.
func newTLSState(c *Conn, config *tls.Config, client bool) *tlsState {
	return &tlsState{client: client, config: config, pipe: tlsio.New(pipeOwner{c})}
}

// recordsWait reports whether TLS records wait for the kernel. Under mu.
func (c *loopConn) recordsWait() bool {
	return c.ext != nil && c.ext.tls != nil && c.ext.tls.pipe.Output() > 0
}

// recountTLS counts the memory of the pipe in Server.buffered, and returns its growth. On the loop.
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

// recordOverhead is an upper bound of the overhead of the records for 2*tlsio.MaxRecord bytes of output. crypto/tls begins with small records,
// each of which fits into a TCP segment.
const recordOverhead = 2 << 10

// takeUpgradeDone returns callDone of the connection's StartTLS, the first time; nil if there is none. Under mu.
func (c *loopConn) takeUpgradeDone() (done func(*Conn, error)) {
	switch x := c.ext; {
	case x == nil:
	case x.upgrade != nil:
		done, x.upgrade = x.upgrade.callDone, nil
	case x.tls != nil:
		done, x.tls.done = x.tls.done, nil
	}
	return done
}
