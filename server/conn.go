package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/ratelimit"
	"github.com/evmq/evmq/internal/sock"
)

// A Conn is a connection. It belongs to one loop, which alone reads, writes and closes its descriptor; everybody else leaves
// output and wishes in it under its lock and tells the loop. A Conn is never used again for another connection, so a handle
// that outlives its connection is harmless: its methods say ErrClosed.
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

// schedState is where a connection is between its loop and the goroutines that use it, with one mark. Under mu.
type schedState uint8

const (
	schedRunning schedState = 1 << iota // the loop is with it, and looks for output and commands before it leaves
	schedQueued                         // it is in the loop's queue
	schedRefused                        // a write was refused, and the handler is to be told when there is room
)

// String lists the marks.
func (s schedState) String() string {
	names := [...]string{"idle", "running", "queued", "running|queued", "refused", "running|refused", "queued|refused", "running|queued|refused"}
	return names[s]
}

// connState only grows, under mu.
type connState uint8

const (
	connOpen    connState = iota
	connHalf              // takes no more output, but goes on reading: CloseWrite
	connBroken            // the peer takes no more output: what waited has failed; what has arrived is read to its end
	connClosing           // takes no more output but the replies in hand; is closed when all is flushed
	connClosed            // takes nothing; its descriptor is closed, or about to be
)

func (s connState) String() string {
	return [...]string{"open", "half-closed", "broken", "closing", "closed"}[s]
}

// isDead reports whether no output can be written any more, not even that of requests in work.
func (s connState) isDead() bool { return s == connBroken || s == connClosed }

// command is what a goroutine wants the loop to do. Under mu.
type command uint8

const (
	cmdOpen       command = 1 << iota // begin: a connection from another loop, from Dial or from AddConn
	cmdDone                           // the worker has given the input back
	cmdLook                           // look at what has changed: state, pauses
	cmdShutRead                       // stop reading for good
	cmdHandshaken                     // the TLS handshake has ended
	cmdResolved                       // Dial: the addresses are known
)

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

// newConn makes a connection of a descriptor (-1 if it is still to come) that was counted by enterConn.
func (s *Server) newConn(l *loop, fd int, peer sock.Peer, h Handler, begins start) (*loopConn, error) {
	c := &loopConn{Conn: Conn{loop: l, gen: s.ids.Add(1), peer: peer}}
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
	c.prepare(begins)
	return c, nil
}

// A ConnID names a connection among all that a server ever had. The zero ConnID is no connection's.
type ConnID struct {
	gen uint64
	fd  int32
}

// String is a form to print. Any goroutine.
func (id ConnID) String() string { return fmt.Sprintf("%d.%d", id.gen, id.fd) }

// ID is the connection's name; Server.Conn finds it again. It is the zero ConnID before Open is called, also while TLS shakes hands. Any
// goroutine.
func (c *Conn) ID() ConnID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isUnopened() {
		return ConnID{}
	}
	return ConnID{c.gen, int32(c.descriptor())}
}

// Conn finds an open connection by its name; nil when it is closed. A descriptor's next connection has another name. Any
// goroutine.
func (s *Server) Conn(id ConnID) *Conn {
	if c := s.conns.get(int(id.fd)); c != nil && c.gen == id.gen {
		return &c.Conn
	}
	return nil
}

// isUnopened reports whether Open is still to be called. Under mu.
func (c *Conn) isUnopened() bool { return c.ext != nil && c.ext.unopened }

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

// SetHandler makes h the connection's handler from its next message on: for an upgrade, or for another framing. In a request
// on a worker it takes effect with the next message, before the request has ended. h's Open is not called. Any goroutine.
func (c *Conn) SetHandler(h Handler) error {
	if h == nil {
		return fmt.Errorf("set handler: %w: nil", ErrInvalid)
	}
	if err := checkHandler(h); err != nil {
		return fmt.Errorf("set handler: %w", err)
	}
	c.mu.Lock()
	x := c.extra()
	x.handler, x.fresh = h, true
	queue := c.mark(cmdLook)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// Handler is the connection's handler: that of the last SetHandler, else that which the connection began with. Any goroutine.
func (c *Conn) Handler() Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handlerLocked()
}

func (c *Conn) handlerLocked() Handler {
	if c.ext != nil && c.ext.handler != nil {
		return c.ext.handler
	}
	return c.loop.srv.cfg.Handler
}

// isFresh says, once, that the handler is a new one, whose framing begins at the beginning. Under mu.
func (c *Conn) isFresh() bool {
	if c.ext == nil || !c.ext.fresh {
		return false
	}
	c.ext.fresh = false
	return true
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

// RemoteAddr is the peer's address: with ProxyProtocol, what its header says. Any goroutine.
func (c *Conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.proxied != nil && c.ext.proxied.source != nil {
		return c.ext.proxied.source
	}
	return c.peer.Addr(c.loop.srv.network(c.peer))
}

// PeerAddr is the address that the connection itself comes from: with ProxyProtocol the proxy's. Any goroutine.
func (c *Conn) PeerAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.Addr(c.loop.srv.network(c.peer))
}

// mark adds commands for the loop, and reports whether the connection is to be put into the loop's queue by enqueue. Under mu.
func (c *Conn) mark(what command) (queue bool) {
	c.commands |= what
	queue = c.sched&(schedRunning|schedQueued) == 0
	if queue {
		c.sched |= schedQueued
	}
	return queue
}

// enqueue puts c into its loop's queue if that is needed, at most once until the loop serves it. The queue has no bound: it holds a connection once. When the
// loop has ended, c is served as lateWork says.
func (c *Conn) enqueue(needed bool) {
	if needed {
		p := c.loopPart()
		if c.loop.queue.Push(p) != nil { // the loop has ended
			c.loop.doLate(func() { c.loop.serve(p) })
		}
	}
}

// handOver gives a new connection to its loop. It reports whether the loop is going to end it: not if the loop is closed, as it may be
// where PickLoop has kept the caller past the end of a shutdown's context. Then the connection is still the caller's.
func (c *Conn) handOver(what command) bool {
	c.mu.Lock()
	c.mark(what)
	c.mu.Unlock()
	if c.loop.queue.Push(c.loopPart()) != nil {
		c.loop.count.Add(-1)
		return false
	}
	return true
}

// refusal says why c takes no more output. Under mu.
func (c *Conn) refusal() error {
	if reason := c.reasonLocked(); reason != nil && c.state.isDead() {
		return fmt.Errorf("%w (%w)", ErrClosed, reason)
	}
	return ErrClosed
}

func (c *Conn) reasonLocked() error {
	if c.ext != nil {
		return c.ext.reason
	}
	return nil
}

// setReason keeps the first reason. One that promises that all was flushed gives way to what comes before that. Under mu.
func (c *Conn) setReason(reason error) {
	if reason == nil {
		return
	}
	if first := c.reasonLocked(); first == nil || errors.Is(first, io.EOF) || errors.Is(first, ErrServerClosed) {
		c.extra().reason = reason
	}
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

// descriptor is the number of c's descriptor; -1 while there is none. Under mu, as long as the connection is open.
func (c *Conn) descriptor() int { return c.loopPart().ev.FD() }
