package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/evmq/evmq/server"
)

// A Conn is a WebSocket. Its methods may be called by any goroutine.
type Conn struct {
	h  *Handler
	sc *server.Conn

	subprotocol uint16 // 1 + the index in Config.Subprotocols; 0 for none. It does not change, as h, sc and the next two
	isClient    bool   // this side masks its frames
	deflates    bool   // permessage-deflate was agreed on

	isHeld bool // the output has reached HighWater, so that the server does not read. On the loop

	// The goroutine that has the input uses the next four.
	inputEnds bool     // the peer's frames are discarded: its close frame has arrived, or it has broken the protocol
	partial   *partial // the message of which fragments have arrived; nil for none
	tokens    float32  // of FrameRate
	filled    uint32   // when tokens was computed, in ms of the loop's clock

	entry     wheelEntry // guarded by the wheel's mu; its wheel changes while state is not stateOpen
	lastInput uint32     // see keepalive.go

	mu          sync.Mutex // guards what follows, and is held while a frame is made output of sc, so that no frame follows a close frame
	lastMessage uint32     // see keepalive.go
	state       connState
	handles     bool // Message runs
	gathered    bool // the latest Message has written to its Reply, and the bytes may not be output of sc yet, also when it has returned
	pending     bool // the close frame has to follow these bytes, or waits for room
	closeAtOpen bool // Shutdown was called before open, which then begins the close handshake
	end         *CloseError
	more        *connMore // state that few WebSockets need; nil for most
}

// connMore is the part of the state of a Conn that few need. Under mu.
type connMore struct {
	value  any
	stream *stream       // of NetConn
	groups *membership   // the list of its groups
	reply  *replyContext // of the Reply of the message that is handled; nil if its Context was not called
}

// extra returns more. It makes it if there is none. Under mu.
func (c *Conn) extra() *connMore {
	if c.more == nil {
		c.more = new(connMore)
	}
	return c.more
}

// dropMore drops more when nothing is left in it. Under mu.
func (c *Conn) dropMore() {
	if c.more != nil && *c.more == (connMore{}) {
		c.more = nil
	}
}

// connState is the state of a Conn.
type connState uint8

const (
	stateOpening connState = iota // the response to the handshake was not sent
	stateOpen                     // messages are sent and received
	stateClosing                  // a close frame was sent, or is pending, and the peer's answer has not arrived
	stateClosed                   // nothing is sent any more, and the connection is being closed
)

var connStates = [...]string{stateOpening: "opening", stateOpen: "open", stateClosing: "closing", stateClosed: "closed"}

// String returns the state's name.
func (s connState) String() string { return connStates[s] }

// open makes the Conn open, when the response to the handshake is output.
func (c *Conn) open() error {
	c.h.add(c)
	c.mu.Lock()
	if c.state != stateOpening {
		c.mu.Unlock()
		c.h.remove(c)
		return ErrClosed
	}
	c.state = stateOpen
	closes := c.closeAtOpen
	c.mu.Unlock()
	if closes {
		c.closeGoingAway()
	}
	return nil
}

// closeGoingAway begins the close handshake in a Shutdown.
func (c *Conn) closeGoingAway() { _ = c.Close(CloseGoingAway, "") } // fails if it has begun already

// Subprotocol returns the name of the application's protocol that was agreed on in the handshake, or "". Any goroutine.
func (c *Conn) Subprotocol() string {
	if c.subprotocol == 0 {
		return ""
	}
	return c.h.cfg.Subprotocols[c.subprotocol-1]
}

// RemoteAddr returns the peer's address: with ProxyProtocol of the server, the one in the PROXY header. Any goroutine.
func (c *Conn) RemoteAddr() net.Addr { return c.sc.RemoteAddr() }

// LocalAddr returns the local address. It is nil when the connection has ended. Any goroutine.
func (c *Conn) LocalAddr() net.Addr { return c.sc.LocalAddr() }

// TLS returns the state of TLS. It reports false without TLS. Any goroutine.
func (c *Conn) TLS() (tls.ConnectionState, bool) { return c.sc.TLS() }

// Context returns a context that ends with the connection, and at the latest when the context of Shutdown ends. From its first call until the
// connection ends, it takes up about 500 bytes, which Reply.Context does not. Any goroutine.
func (c *Conn) Context() context.Context { return c.sc.Context() }

// SetValue stores a value of the program in the Conn. Value returns it. Any goroutine.
func (c *Conn) SetValue(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra().value = v
	if v == nil {
		c.dropMore()
	}
}

// Value returns the value of the last SetValue, or nil. Any goroutine.
func (c *Conn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more == nil {
		return nil
	}
	return c.more.value
}

// Buffered returns the number of bytes of output that wait for the peer, as Config.MaxOutput counts them. Any goroutine.
func (c *Conn) Buffered() int { return c.sc.Stats().BufferedBytes }

// Close begins the close handshake: the messages that were accepted are sent, and then a close frame with code and reason, which has at most
// 123 bytes. With CloseNoStatus the frame is empty. From now on messages are refused with ErrClosed, and those that arrive are discarded.
// While Message runs and has written to its Reply, the close frame follows when it returns. Close does not wait. If the peer neither
// answers nor takes output for Config.CloseTimeout, the connection ends with ErrCloseTimeout. It also does if Message runs for that time, or
// a NetConn is not read, since nothing is read from the peer meanwhile.
//
// Errors: ErrInvalid if the code may not be sent, or the reason is too long or not UTF-8; ErrClosed. Any goroutine.
func (c *Conn) Close(code CloseCode, reason string) error {
	if !code.maySend() && code != CloseNoStatus || len(reason) > maxReason || !utf8.ValidString(reason) || code == CloseNoStatus && reason != "" {
		return fmt.Errorf("close: %w: code %d, reason %q", ErrInvalid, code, reason)
	}
	return c.close(&CloseError{Code: code, Reason: reason})
}

// close begins the close handshake.
func (c *Conn) close(e *CloseError) error {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return fmt.Errorf("close: %w", ErrClosed)
	}
	c.state, c.end = stateClosing, e
	waits := c.Buffered() > 0 || c.gathered                         // output that the peer has to take before the close frame
	c.pending = c.gathered || errors.Is(c.writeClose(nil), ErrFull) // other errors mean that the connection has ended
	replied := c.gathered && !c.handles
	c.mu.Unlock()
	if replied {
		c.sc.AfterFunc(0, c.sendPending)
	}
	written := uint64(math.MaxUint64)
	if waits {
		written = c.sc.Stats().BytesWritten
	}
	c.expectClose(written)
	return nil
}

// Abort ends the connection at once, without a close frame. Output that was accepted and not given to the kernel fails. Any goroutine.
func (c *Conn) Abort() { c.sc.Abort() }

// writeClose writes the close frame of c.end, to w if it is not nil. Under mu, or if state is not stateOpen and the caller has the input.
func (c *Conn) writeClose(w *server.Reply) error {
	if w != nil { // messages to the Conn, which may wait for the end of a long Reply, are sent first
		if err := w.Flush(); err != nil {
			return err
		}
	}
	var array [maxControl]byte
	return c.writeControl(w, ws.OpClose, appendClose(array[:0], c.end.Code, c.end.Reason))
}

// sendPending sends a close frame that has waited for room or for the bytes of a Reply, if these are output now. On the loop.
func (c *Conn) sendPending() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.pending || c.state != stateClosing || c.handles: // when Message returns, the frame follows its Reply
	case c.sc.Requests().Pending() > 0: // Message has returned, and its Reply ends now, on a worker
		c.sc.AfterFunc(time.Millisecond, c.sendPending)
	default:
		c.pending = errors.Is(c.writeClose(nil), ErrFull)
	}
}

// expectClose ends the connection when CloseTimeout has passed without the peer's close frame. As long as the peer takes output that was
// written before this side's close frame, the time begins again. written is the number of bytes that it has taken so far, or the maximum if
// no such output waits: the close frame itself is no progress.
func (c *Conn) expectClose(written uint64) {
	c.sc.AfterFunc(c.h.cfg.CloseTimeout, func() {
		c.mu.Lock()
		waits := c.state == stateClosing
		c.mu.Unlock()
		now := c.sc.Stats().BytesWritten
		switch {
		case !waits:
		case now > written:
			c.expectClose(now)
		default:
			c.cutOff(ErrCloseTimeout)
		}
	})
}

// fail ends the connection of a peer that has broken a rule. It is called by the goroutine that has the input; w is the Reply of the request that
// runs, or nil on the loop.
func (c *Conn) fail(w *server.Reply, e *CloseError) {
	c.inputEnds = true
	c.mu.Lock()
	before, pending := c.state, c.pending
	c.state, c.pending = stateClosed, false
	if before == stateOpen {
		c.end = e
		c.entry.wheel.counts.violations.Add(1)
	}
	c.mu.Unlock()
	if before == stateOpen || pending { // after Close, its frame may not be sent yet
		_ = c.writeClose(w) // fails if the peer reads nothing, or is gone
	}
	_ = c.sc.CloseWithError(e) // fails if it is closed already
}

// peerCloses handles the close frame of the peer: it is answered, unless it is an answer itself, and the connection is closed.
func (c *Conn) peerCloses(w *server.Reply, e *CloseError) {
	c.inputEnds = true
	c.mu.Lock()
	before, pending := c.state, c.pending
	c.state, c.pending = stateClosed, false
	if before == stateOpen {
		c.end = e
	}
	stream := c.streamOf()
	if stream != nil && c.end != nil {
		stream.end(c.end) // it need not wait for the end of the connection
	}
	c.mu.Unlock()
	if before == stateOpen || pending {
		_ = c.writeClose(w) // as in fail
	}
	_ = c.sc.Close() // fails if it is closed already
}

// ended is called on the loop when the connection is closed.
func (c *Conn) ended(reason error) {
	c.mu.Lock()
	before := c.state
	c.state = stateClosed
	e := CloseError{Code: CloseAbnormal}
	if c.end != nil {
		e = *c.end
	}
	stream := c.streamOf()
	c.mu.Unlock()
	switch {
	case before == stateClosed || e.Err != nil: // the handshake is complete, or the reason is known
	case reason == nil || errors.Is(reason, io.EOF):
		e.Err = io.ErrUnexpectedEOF
	default:
		e.Err = reason
	}
	if stream != nil {
		stream.end(&e)
	}
	if before != stateOpening {
		c.h.remove(c)
		c.leaveGroups(&e)
	}
	if before != stateOpening && c.h.cfg.Closed != nil {
		c.guard("Closed", func() { c.h.cfg.Closed(c, &e) })
	}
}
