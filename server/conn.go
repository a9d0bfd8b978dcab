package server

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/ratelimit"
	"github.com/evmq/evmq/internal/sock"
)

// A Conn is a connection. It belongs to one loop, which alone reads, writes and closes its descriptor; every other goroutine appends output
// and sets command bits under mu, and puts the connection into the loop's queue. A Conn is never used again for another connection, so a
// handle that outlives its connection is harmless: its methods return ErrClosed.
//
// Who uses what:
//
//	part                               used by              protected by
//	loop, gen                          any goroutine        never change
//	out, ext's handler, pauses,        any goroutine        mu
//	  reason, room, deferred, detach
//	commands, state, sched, counters   any goroutine        mu
//	value                              any goroutine        atomic
//	peerHalf, draining, loopConn       the loop             its goroutine
//	ext's tls, proxied, conc, rates    the loop             its goroutine; the pointer ext is set under mu, and a connection with a
//	                                                        layer or requests in work has its ext for good
//	in                                 the loop             its goroutine; with holdWorker the worker that has the request
//
// Which call holds what:
//
//	call                               mu                   loop
//	Write, Close, PauseRead, ...       held, briefly        adds a command or output; the loop applies it later
//	loop.ready, loop.serve             -                    begin the loop's work on one connection (loop.current)
//	inputHandler                       held                 sets schedRunning: until leave, nothing is queued, since the loop looks itself
//	flushLocked, writeOut, writeTLS    held, released       writes
//	                                   in system calls
//	leave                              held                 clears schedRunning; queues the connection if more waits
//	applyTransitions, callbacks        not held             water marks, ends, reading
//	Reply, input.end                   held, briefly        a worker appends output and sets cmdDone
//
// There is one way across in each direction. To the loop: mark sets a command under mu and enqueue queues the connection. From the loop: it
// takes mu. What a goroutine has requested is in state, commands and ext under mu; what the loop has reached is in life, holds, writing,
// peerHalf and draining. loopPart and connOf lead from one type to the other.
type Conn struct {
	loop *loop
	gen  uint64

	mu    sync.Mutex          // held for a few instructions, or for copying what is written; never in a call
	out   *outq.Queue         // what waits to be written; nil when nothing does
	ext   *ext                // what few connections have; nil for most
	value atomic.Pointer[any] // of SetValue; also read without the lock
	nread uint64              // bytes read, counted when they are given to the handler
	wrote uint64              // bytes given to the kernel
	reqs  uint32              // requests answered by workers

	commands command
	state    connState
	sched    schedState
	peerHalf peerHalf // Loop only, as draining; here they take up no memory
	draining drainState
	peer     sock.Peer
}

// A loopConn is a connection as its loop has it: the Conn that users know, and what only the loop's goroutine may touch. Its methods are
// called on the loop, without the lock unless they say otherwise.
type loopConn struct {
	ev event.Event // of the descriptor, and the timer. First: see connOf
	Conn
	in        *input // what is read and not consumed; while busy, the worker's
	deadlines deadlines
	life      lifecycle
	holds     holds
	writing   writeState
	layers    layers
}

// ext is what only some connections have: a handler of their own, TLS, limits, a context, callers that wait for room.
type ext struct {
	handler               Handler
	fresh                 bool  // handler has not framed anything yet
	pauses                []any // the owners of PauseRead
	reason                error
	ctx                   context.Context
	cancel                context.CancelCauseFunc
	room                  chan struct{} // closed when the output has room; made by the goroutine that waits
	exclusive             bool          // a reply is sent in pieces: what others write is deferred
	deferred              *outq.Queue   // what was written meanwhile
	detach                func(net.Conn, []byte, error)
	upgrade               *upgrade    // StartTLS
	behind                *outq.Queue // what was written after StartTLS: it is to be encrypted
	timers                *ConnTimer  // that run; see AfterFunc
	fetched               *fetched    // of the file at the head of the output, which the kernel cannot send
	tls                   *tlsState
	dial                  *dialing
	stopContext           func() bool // ends the effect of Dial's context; nil if it has none
	outgoing              bool        // Dial has made it, or it was adopted as a client of TLS. Fixed before the loop knows the connection
	handed                bool        // Detach has handed the descriptor out
	unopened              bool        // the handler's Open is still to be called: dialling, TLS or PROXY comes first
	conc                  *concurrency
	proxied               *proxied
	handshake             handshakeState    // Loop only; see loopConn.handshake
	readRate, writeRate   *ratelimit.Bucket // nil for no limit of its own
	readAt, writeAt       time.Duration     // when what the limits hold back may go on. Loop only
	readShare, writeShare ratelimit.Share   // of a group's bucket. Loop only
	timeouts              *Timeouts
	readyBy               time.Duration // when dialling, a PROXY header and a TLS handshake have to have ended; before the loop knows a connection that is dialled, its timeout. Loop only
	unsent                int           // bytes that the peer's system had not acknowledged when its progress was last looked at. Loop only
	looks                 int           // reads since the server began to shut down. Loop only
	into                  []byte        // where the next bytes go: ReadInto. Loop only
}

// extra returns c's ext. Under mu.
func (c *Conn) extra() *ext {
	if c.ext == nil {
		c.ext = new(ext)
	}
	return c.ext
}

// Server is the server that the connection belongs to. Any goroutine.
func (c *Conn) Server() *Server { return c.loop.srv }

// Loop returns the loop that the connection belongs to; see Server.Loops. Any goroutine.
func (c *Conn) Loop() *event.Loop { return c.loop.ev }

// SetValue keeps v with the connection; Value returns it. Any goroutine.
func (c *Conn) SetValue(v any) {
	if v == nil {
		c.value.Store(nil)
		return
	}
	c.value.Store(&v)
}

// Value returns what SetValue kept, nil before. Any goroutine.
func (c *Conn) Value() any {
	if v := c.value.Load(); v != nil {
		return *v
	}
	return nil
}

// Context ends with the connection, and at the latest with Shutdown's deadline or Close. It is not ended by a client that closes its
// sending half, as a client also does when it leaves, since that still has its answers coming. It ends when the client resets the
// connection or a write fails, although input that has arrived is still handled then. Any goroutine.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.extra()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancelCause(c.loop.srv.cutCtx)
		if c.state.isDead() {
			x.cancel(c.reasonLocked())
		}
	}
	return x.ctx
}

// ConnStats counts what has happened on a connection.
type ConnStats struct {
	BytesRead     uint64 // given to the handler, decrypted
	BytesWritten  uint64 // given to the kernel, before encryption
	Requests      uint64 // answered by workers; those that were refused are not
	BufferedBytes int    // output that waits for the kernel
}

// Stats returns the counts of this moment. Any goroutine.
func (c *Conn) Stats() ConnStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConnStats{BytesRead: c.nread, BytesWritten: c.wrote, Requests: uint64(c.reqs), BufferedBytes: c.held()}
}
