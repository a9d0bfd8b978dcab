package websocket

import (
	"fmt"
	"runtime/debug"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The input of a WebSocket belongs to one goroutine at a time. It is that of the loop, which calls Data. When a message is complete, Data
// hands it over with the frames that follow, and then it is the goroutine that calls ServeRequest for them, until they are handled.

// A connHandler is a Conn as the server.Handler of its connection.
type connHandler Conn

// Open implements server.Handler. It is not called, since the connection was open before the handshake.
func (*connHandler) Open(*server.Conn) {}

// Data implements server.Handler. It handles frames up to the one that completes a message, which it hands over with all frames that follow.
func (h *connHandler) Data(sc *server.Conn, p []byte) (n int, err error) {
	c := (*Conn)(h)
	c.recordInput()
	for {
		if c.inputEnds {
			return len(p), nil
		}
		found, h, err := c.next(p[n:])
		switch {
		case err != nil:
			c.fail(nil, err)
			return len(p), nil
		case found.Message == nil:
			return n, nil
		case h.Fin && (!h.OpCode.IsControl() || c.Buffered() > 0): // a Reply waits for room, and a control frame is not refused
			return n, sc.Requests().ServeInput(c.h.requests, (*frames)(c), p[n:], found)
		}
		n += found.Advance
		c.take(nil, h, found.Message)
	}
}

// Close implements server.Handler.
func (h *connHandler) Close(sc *server.Conn, reason error) {
	c := (*Conn)(h)
	if sc.Requests().Pending() == 0 { // otherwise a Shutdown does not wait for Message, whose goroutine has the input
		c.dropPartial()
	}
	c.ended(reason)
}

// MaxInput implements server.LimitHandler.
func (h *connHandler) MaxInput() int { return (*frames)(h).MaxLen() }

// HighWater implements server.MarkHandler.
func (h *connHandler) HighWater(*server.Conn) { h.isHeld = true }

// LowWater implements server.MarkHandler.
func (h *connHandler) LowWater(*server.Conn) {
	h.isHeld = false
	(*Conn)(h).sendPending()
}

// Shutdown implements server.ShutdownHandler.
func (h *connHandler) Shutdown(*server.Conn) {
	c := (*Conn)(h)
	c.mu.Lock()
	c.closeAtOpen = true
	opening := c.state == stateOpening
	c.mu.Unlock()
	if !opening {
		c.closeGoingAway()
	}
}

var (
	_ server.LimitHandler    = (*connHandler)(nil)
	_ server.ShutdownHandler = (*connHandler)(nil)
	_ server.MarkHandler     = (*connHandler)(nil)
)

// frames is a Conn as the framing of its input: a message of the framing is a frame.
type frames Conn

// Next implements framing.Framing.
func (f *frames) Next(data []byte, _ int, _ bool) (framing.Result, error) {
	c := (*Conn)(f)
	if c.inputEnds {
		return framing.Result{Advance: len(data)}, nil
	}
	found, _, err := c.next(data)
	if err != nil {
		return framing.Result{}, err
	}
	return found, nil
}

// MaxLen implements framing.Framing.
func (f *frames) MaxLen() int { return max(f.h.cfg.MaxMessage, maxControl) + maxHeader }

// next finds the frame at the beginning of p. It changes nothing.
func (c *Conn) next(p []byte) (found framing.Result, h ws.Header, end *CloseError) {
	h, n, err := parseHeader(p)
	if err == nil && n > 0 {
		err = c.checkHeader(h)
	}
	if err != nil {
		return found, h, endOf(err)
	}
	if n == 0 || int64(len(p)-n) < h.Length {
		return found, h, nil
	}
	n += int(h.Length)
	return framing.Result{Message: p[:n:n], Advance: n}, h, nil
}

// endOf returns the end that follows from an error of the protocol.
func endOf(err error) *CloseError {
	if e, ok := err.(*CloseError); ok { //nolint:errorlint // those of this package are not wrapped
		return e
	}
	return violation(CloseProtocolError, err.Error())
}

// checkHeader returns an error if a frame with this header may not follow.
func (c *Conn) checkHeader(h ws.Header) error {
	state := ws.StateServerSide
	if c.isClient {
		state = ws.StateClientSide
	}
	if c.partial != nil {
		state = state.Set(ws.StateFragmented)
	}
	if c.deflates && h.Rsv == rsv1 && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv = 0 // the message is compressed
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return err
	}
	if h.OpCode.IsControl() {
		return nil
	}
	room := int64(c.h.cfg.MaxMessage)
	if c.partial != nil {
		room -= int64(len(c.partial.buf))
	}
	if h.Length > room { // the sum of the lengths may overflow
		return violation(CloseTooBig, "")
	}
	return nil
}

// requests is the server.RequestHandler of all WebSockets of a Handler. So they have one route, and the server learns whether Message is quick.
type requests struct{ h *Handler }

// RunsOn implements server.PlacedHandler.
func (r *requests) RunsOn() server.Placement { return r.h.cfg.Placement }

// CancelsOnEOF implements server.CancelHandler.
func (r *requests) CancelsOnEOF() bool { return true }

// ServeRequest handles a frame.
func (r *requests) ServeRequest(w server.Reply, frame []byte) {
	h, ok := w.Conn().Handler().(*connHandler)
	if !ok {
		return // the program has changed the handler
	}
	c := (*Conn)(h)
	header, _, err := parseHeader(frame)
	if err != nil || c.inputEnds {
		return // next has found no error
	}
	c.take(&w, header, frame)
}

// take handles a frame. w is the Reply of the request that runs, or nil in Data, which handles only frames that complete no message.
func (c *Conn) take(w *server.Reply, h ws.Header, frame []byte) {
	if !c.admits() {
		c.fail(w, violation(ClosePolicyViolation, "too many frames"))
		return
	}
	payload := frame[len(frame)-int(h.Length):]
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	switch h.OpCode {
	case ws.OpPing:
		c.pong(w, payload)
	case ws.OpPong: // that something has arrived is known
	case ws.OpClose:
		if e, err := parseClose(payload); err != nil {
			c.fail(w, endOf(err))
		} else {
			c.peerCloses(w, e)
		}
	default:
		c.takeData(w, h, payload)
	}
}

// takeData handles a frame with a part of a message, and the message when it is complete.
func (c *Conn) takeData(w *server.Reply, h ws.Header, payload []byte) {
	if h.Fin && c.partial == nil {
		c.complete(w, MessageType(h.OpCode), h.Rsv == rsv1, payload)
		return
	}
	if err := c.addPart(h, payload); err != nil {
		c.fail(w, endOf(err))
		return
	}
	if !h.Fin {
		return
	}
	m := c.partial
	c.partial = nil
	c.messageEnds()
	defer c.h.dropPartial(m)
	c.complete(w, m.kind, m.compressed, m.buf)
}

// complete decompresses a message, if it is compressed, and handles it.
func (c *Conn) complete(w *server.Reply, t MessageType, compressed bool, p []byte) {
	if w == nil { // on the loop, a message is only discarded
		return
	}
	if !compressed {
		c.deliver(w, t, p)
		return
	}
	i := inflaters.Get().(*inflater)
	defer i.put()
	p, err := i.inflate(p, c.h.cfg.MaxMessage)
	held := int64(cap(i.out))
	defer c.h.inflated.Add(-held)
	if !c.h.holds(&c.h.inflated, held) && err == nil {
		err = violation(CloseTryAgainLater, "")
	}
	if err != nil {
		c.fail(w, endOf(err))
		return
	}
	c.deliver(w, t, p)
}

// deliver handles a message.
func (c *Conn) deliver(w *server.Reply, t MessageType, p []byte) {
	if t == Text && !utf8.Valid(p) {
		c.fail(w, violation(CloseInvalidData, "text is not UTF-8"))
		return
	}
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return
	}
	c.handles, c.gathered = true, false // the Reply of the message before is output
	c.entry.wheel.counts.received.Add(1)
	c.recordMessage()
	stream := c.streamOf()
	c.mu.Unlock()
	if stream != nil {
		stream.push(p)
		c.endGather(w)
		return
	}
	if !c.guard("Message", func() { c.h.cfg.Message(Reply{*w, c}, t, p) }) {
		c.fail(w, violation(CloseInternalError, ""))
	}
	c.endGather(w)
}

// endGather ends what gather has begun: a close frame that had to wait for the messages of the Reply follows them.
func (c *Conn) endGather(w *server.Reply) {
	c.mu.Lock()
	pending, ctx := c.pending, c.takeReplyContext()
	c.pending, c.handles = false, false
	c.mu.Unlock()
	ctx.end()
	if pending {
		_ = c.writeClose(w) // fails if the connection has ended
	}
}

// guard calls a function of the program. It logs a panic, and reports whether there was none.
func (c *Conn) guard(name string, fn func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			c.h.cfg.logf("websocket: panic in %s for %v: %v\n%s", name, c.RemoteAddr(), v, debug.Stack())
			ok = false
		}
	}()
	fn()
	return true
}

var (
	_ server.PlacedHandler = (*requests)(nil)
	_ server.CancelHandler = (*requests)(nil)
	_ framing.Framing      = (*frames)(nil)
	_ error                = (*CloseError)(nil)
	_ fmt.Stringer         = Text
)
