package httpd

import (
	"net/http"

	"github.com/evmq/evmq/server"
)

// A parkHandler is a Parked as the server.Handler of its connection, from Park to the end of the response.
type parkHandler Parked

// pauseOfPark is the owner of the pause of a connection whose client has sent its next request.
type pauseOfPark struct{}

// Open is not called, since SetHandler does not call it.
func (*parkHandler) Open(*server.Conn) {}

// Data keeps the next request until the response has ended. Until then, the connection is not read. A connection that was reset ends, which a
// pause would delay: no response can be sent any more.
func (h *parkHandler) Data(sc *server.Conn, _ []byte) (int, error) {
	if sc.Context().Err() != nil {
		sc.Abort()
		return 0, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state <= parkClosing { // otherwise the next handler is set, and receives the request
		sc.PauseRead(pauseOfPark{})
	}
	return 0, nil
}

// MaxInput returns the limit of the head of the next request.
func (h *parkHandler) MaxInput() int { return h.c.h.MaxInput() }

// EOF is called when the client has closed its sending half.
func (h *parkHandler) EOF(sc *server.Conn) {
	p := (*Parked)(h)
	p.mu.Lock()
	if p.state > parkClosing { // the event is for the next handler, which is not notified again
		p.mu.Unlock()
		p.c.h.EOF(sc)
		return
	}
	p.closes = true
	p.unlockGone(server.ErrPeerClosed)
}

// Shutdown is called when Shutdown of the Server begins: the connection ends after the response.
func (h *parkHandler) Shutdown(sc *server.Conn) {
	p := (*Parked)(h)
	p.mu.Lock()
	if p.state > parkClosing { // as in EOF
		p.mu.Unlock()
		_ = sc.Close() // fails if it is being closed
		return
	}
	p.closes = true
	p.unlockGone(http.ErrServerClosed)
}

// HighWater does nothing: MaxPending limits the output.
func (*parkHandler) HighWater(*server.Conn) {}

// LowWater sends the end of the response, for which there was no room before.
func (h *parkHandler) LowWater(*server.Conn) {
	p := (*Parked)(h)
	p.mu.Lock()
	if p.state != parkClosing {
		p.mu.Unlock()
		return
	}
	_ = p.sendFinal() // if the connection has ended, Close is called
	p.unlockEnded(p.cause)
}

// Close is called when the connection has ended.
func (h *parkHandler) Close(sc *server.Conn, reason error) {
	(*Parked)(h).lose(reason)
	h.c.h.closed(sc, reason)
}

// lose ends the Parked with its connection. The reason is nil if the connection has ended in order.
func (p *Parked) lose(reason error) {
	if reason == nil {
		reason = server.ErrClosed
	}
	p.mu.Lock()
	final := p.final
	p.final = nil
	if final != nil && final.done != nil { // the end of the response has waited for room
		defer final.done(reason) // also if another function of the program panics
	}
	if p.state > parkClosing {
		p.mu.Unlock()
		return
	}
	p.state = parkLost
	defer p.c.h.s.parked.Add(-1) // as above
	p.unlockGone(reason)
}

// unlockGone ends the context, with a cause other than the end of the response, and notifies the program. Under mu, which it unlocks.
func (p *Parked) unlockGone(cause error) {
	if p.cause != nil || p.state == parkEnded {
		p.mu.Unlock()
		return
	}
	p.cause = cause
	ctx, group, fn := p.ctx, p.group, p.onGone
	p.ctx, p.onGone = nil, nil
	p.mu.Unlock()
	if fn != nil {
		defer fn(p, cause) // also if OnLeave panics
	}
	if ctx != nil {
		ctx.end(cause)
	}
	if group != nil {
		group.gone(p, cause)
	}
}

// keepContext makes the Parked end the context, which is waited for. If the context has ended, it returns the cause.
func (p *Parked) keepContext(x *requestContext) (cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.ctx = x
	}
	return p.cause
}
