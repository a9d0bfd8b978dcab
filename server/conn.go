package server

import (
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/sock"
)

// A Conn is a connection of a Server. One event loop reads it, writes it and closes its descriptor. Any goroutine may call its methods,
// unless their comments say Loop only.
//
// A Conn is never reused for another connection. After the connection has ended, methods that write to it or close it return ErrClosed,
// and the others have no effect or return their last values.
type Conn struct {
	loop *loop
	// ident has the generation of the connection, which differs from those of the server's other connections, and deadMark. It is changed
	// under mu; see isDead.
	ident atomic.Uint64

	// mu guards the fields that the comment of loopConn names. It is not held during reads, callbacks or long writes of output that waits, but
	// may be held during short system calls (getsockname, SIOCOUTQ, epoll_ctl) and during a write of a short answer, or of bytes that do not
	// become output first; see writeAnswer and writeNow.
	mu    sync.Mutex
	out   *outq.Queue         // the output that waits to be written; nil if there is none
	ext   *ext                // state that few connections need; nil for most
	value atomic.Pointer[any] // set by SetValue; nil for none
	nread uint64              // bytes of ConnStats.BytesRead
	wrote uint64              // bytes given to the kernel
	reqs  uint32              // requests answered, for ConnStats.Requests

	commands command
	state    connState
	sched    schedState
	peerHalf peerHalf // Loop only, like draining. Both are here because they fit into the padding
	draining drainState
	peer     sock.Peer
}

// A loopConn is a Conn with the fields that only its loop's goroutine may use. Its methods are called on the loop, without the lock unless
// they say otherwise. Other goroutines append output and set commands under mu, and put the connection into the loop's queue.
//
// The goroutines that use each part, and its protection:
//
//	part                               used by              protected by
//	loop                               any goroutine        never changes
//	ident                              any goroutine        atomic; changed under mu
//	out, ext's handler, pauses,        any goroutine        mu
//	  reason, room, deferred, detach
//	commands, state, sched, counters   any goroutine        mu
//	value                              any goroutine        atomic
//	peerHalf, draining, loopConn       the loop             its goroutine
//	ext's tls, proxied, conc, rates    the loop             its goroutine; the pointer ext is set under mu, and a connection with a
//	                                                        layer or requests in progress keeps its ext
//	in                                 the loop             its goroutine; with holdWorker the goroutine that has the request
//
// Calls and the lock:
//
//	call                               mu                   loop
//	Write, Close, PauseRead, ...       held, briefly        adds a command or output; the loop applies it later
//	loop.ready, loop.serve             -                    begin the loop's work on one connection (loop.current)
//	prepareInput                       held                 calls startRunning: until stopRunning, nothing is queued, since the loop checks itself
//	flushAndUnlock, writeOut,          held, released       writes
//	  writeTLS                         in system calls
//	writeAnswer                        held                 writes a short answer, before flushAndUnlock
//	finishFlush                        held                 calls stopRunning; marks the connection as queued if more waits, and flushed
//	                                                        then queues it
//	applyTransitions, callbacks        not held             water marks, ends, reading
//	writeNow                           held                 writes what would become the only output, during the loop's work
//	Reply, input.end                   held, briefly        a worker appends output and sets cmdDone
//
// Every goroutine passes work to the loop in the same way: mark sets a command under mu, and enqueue queues the connection. The loop passes
// results to other goroutines under mu. The states that goroutines request are in state, commands and ext; the states that the loop has
// reached are in life, holds, writing, peerHalf and draining. loopPart returns the loopConn of a Conn, and connOf that of an event.
type loopConn struct {
	ev event.Event // of the descriptor, and the timer. First: see connOf
	Conn
	in        *input // input that was read and is not consumed; with holdWorker it belongs to the request
	deadlines deadlines
	life      lifecycle
	holds     holds
	writing   writeState
	layers    layers
}

// takeStopContext returns the function that ends the effect of Dial's context, or nil if there is none. Under mu; the function must be
// called without it.
func (c *loopConn) takeStopContext() (stop func() bool) {
	if c.ext != nil {
		stop, c.ext.stopContext = c.ext.stopContext, nil
	}
	return stop
}

// Server returns the server that the connection belongs to. Any goroutine.
func (c *Conn) Server() *Server { return c.loop.srv }

// Loop returns the loop that the connection belongs to; see Server.Loops. Any goroutine.
func (c *Conn) Loop() *event.Loop { return c.loop.ev }

// SetValue stores v in the connection. Value returns it. Any goroutine.
func (c *Conn) SetValue(v any) {
	if v == nil {
		c.value.Store(nil)
		return
	}
	c.value.Store(&v)
}

// Value returns the value of the last SetValue, or nil. Any goroutine.
func (c *Conn) Value() any {
	if v := c.value.Load(); v != nil {
		return *v
	}
	return nil
}

// ConnStats has the counts of a connection.
type ConnStats struct {
	BytesRead     uint64 // bytes received, after decryption, including those that the handler has not been given yet; discarded bytes do not count
	BytesWritten  uint64 // bytes given to the kernel, before encryption
	Requests      uint64 // requests that RequestHandlers have answered, on workers or on the loop; refused requests do not count
	BufferedBytes int    // output that waits, as MaxOutput counts it
}

// Stats returns the current counts. Any goroutine.
func (c *Conn) Stats() ConnStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConnStats{BytesRead: c.nread, BytesWritten: c.wrote, Requests: uint64(c.reqs), BufferedBytes: c.outputBytes()}
}

// takeDialOpened returns the function that DialContext waits for, the first time; nil if there is none. Under mu.
func (c *loopConn) takeDialOpened() (opened func(error)) {
	if c.ext != nil {
		opened, c.ext.dialOpened = c.ext.dialOpened, nil
	}
	return opened
}

// isOutgoing reports whether the connection was made by Dial, or added as a client of TLS. On the loop.
func (c *loopConn) isOutgoing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil && c.ext.outgoing
}
