package server

import (
	"container/list"
	"context"
	"crypto/tls"
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
	notTLS    func(first []byte) []byte // of ListenerConfig; nil for none
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

// cipherWaits reports whether records wait for the kernel. Under mu.
func (c *loopConn) cipherWaits() bool {
	return c.ext != nil && c.ext.tls != nil && c.ext.tls.pipe.Output() > 0
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

// recordOverhead is the overhead of the records of 2*tlsio.MaxRecord bytes. crypto/tls begins with small records, each of which fits into a
// TCP segment.
const recordOverhead = 2 << 10

// takeUpgradeEnd returns the function to call when a StartTLS has ended, or nil if there is none or it was taken before. Under mu.
func (c *loopConn) takeUpgradeEnd() (end func(*Conn, error)) {
	switch x := c.ext; {
	case x == nil:
	case x.upgrade != nil:
		end, x.upgrade = x.upgrade.end, nil
	case x.tls != nil:
		end, x.tls.done = x.tls.done, nil
	}
	return end
}
