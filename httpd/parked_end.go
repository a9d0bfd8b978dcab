package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/evmq/evmq/server"
)

// Close completes the answer, as the return of a handler does: an answer that was not begun is 200 without a body. All
// accepted output is sent, after it the next request of the connection is served, and the context of the request ends. If there is no room for the last
// bytes, they are sent when there is, and no Close is needed. Errors: ErrEnded if the Parked has ended before; server.ErrClosed, with the
// reason, if the connection has. Any goroutine.
func (p *Parked) Close() error {
	p.mu.Lock()
	err := p.endError()
	if err != nil {
		p.mu.Unlock()
	} else {
		err = p.finish()
		p.unlockEnded(context.Canceled)
	}
	if err != nil {
		return fmt.Errorf("httpd: close a parked answer: %w", err)
	}
	return nil
}

// Abort ends the answer and its connection at once, with HTTP/2 only its stream: a client that reads sees that the answer is not complete.
// Output that waits fails. After the end it does nothing. Any goroutine.
func (p *Parked) Abort() {
	p.mu.Lock()
	if p.state > parkClosing {
		p.mu.Unlock()
		return
	}
	p.state, p.aborts = parkEnded, true
	if p.h2 != nil {
		p.h2.abort()
	}
	p.unlockEnded(context.Canceled)
}

// finish sends the end of the answer. Under mu.
func (p *Parked) finish() error {
	if p.h2 != nil {
		p.h2.finish()
		p.state = parkEnded
		return nil
	}
	var last []byte
	switch {
	case p.resp != nil:
		r := p.resp
		sink := make([]byte, 0, 512)
		r.sink = &sink
		if !r.finish() {
			p.closes = true
		}
		r.sink = nil
		r.dropBuf()
		last = sink
	case p.chunked && !p.silent:
		last = []byte("0\r\n\r\n")
	}
	p.final, p.resp = &last, nil
	p.state = parkClosing
	return p.sendFinal()
}

// sendFinal sends the last bytes, if there is room for them, and gives the connection back. It is called again when there is room. Under mu.
func (p *Parked) sendFinal() error {
	sc := p.c.sc
	if len(*p.final) > 0 {
		_, err := sc.Write(*p.final)
		switch {
		case errors.Is(err, server.ErrFull): // LowWater follows
			sc.SetTimeouts(server.Timeouts{}) // IdleTimeout applies, as to each answer whose handler has returned
			return nil
		case err != nil:
			p.state = parkLost
			if p.cause == nil {
				p.cause = err
			}
			return err
		}
	}
	p.final, p.state = nil, parkEnded
	return nil
}

// unlockEnded is called when the Parked has ended, or is closing, and does what follows. Under mu, which it unlocks. It may be called more than once.
func (p *Parked) unlockEnded(cause error) {
	if p.cause == nil {
		p.cause = cause
	}
	cause = p.cause
	ctx, group, timer := p.ctx, p.group, p.timer
	p.ctx, p.timer, p.onTimeout, p.onGone = nil, nil, nil, nil
	over := p.state > parkClosing
	p.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	if ctx != nil {
		ctx.end(cause)
	}
	if group != nil {
		group.leave(p, cause)
	}
	if over && p.h2 == nil {
		p.giveBack()
	}
}

// giveBack lets the connection serve its next request, or closes it. It is called once, without mu, when the Parked has ended.
func (p *Parked) giveBack() {
	c := &p.c
	sc := c.sc
	c.h.s.parked.Add(-1)
	switch {
	case p.state == parkLost:
		return
	case p.aborts:
		sc.Abort()
		return
	}
	notify := func(done func(error)) error { return sc.WriteNotify(nil, done) }
	if c.more != nil && c.more.timer != nil {
		c.more.timer.answered(notify)
	}
	if p.closes || !c.h.s.keepsAlive() {
		c.close(notify)
		return
	}
	c.notify(http.StateIdle)
	sc.SetTimeouts(server.Timeouts{})
	_ = sc.SetHandler(c.h) // it was the connection's handler before
	sc.ResumeRead(pauseOfPark{})
}

// start starts the timeout.
func (p *Parked) start(timeout time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if timeout > 0 && p.state == parkOpen {
		p.timer = p.c.sc.AfterFunc(timeout, p.expired)
	}
}

// expired is called when Timeout has passed.
func (p *Parked) expired() {
	p.mu.Lock()
	fn := p.onTimeout
	switch {
	case p.state != parkOpen:
		p.mu.Unlock()
	case fn != nil:
		p.timer, p.onTimeout = nil, nil
		p.mu.Unlock()
		fn(p)
	case p.isBegun():
		p.mu.Unlock()
		p.fail(errParkTimeout)
	default:
		p.answerUnavailable()
	}
}

// isBegun reports whether a part of the answer is written. Under mu.
func (p *Parked) isBegun() bool {
	if p.h2 != nil {
		return p.h2.status != 0
	}
	return p.resp == nil || p.resp.phase != phaseBegun
}

// answerUnavailable answers 503. Under mu, which it unlocks.
func (p *Parked) answerUnavailable() {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}} // and no field of the program's answer
	text := []byte("503 Service Unavailable")
	if p.h2 != nil {
		p.h2.header = h
		p.h2.writeHeader(http.StatusServiceUnavailable)
		p.h2.write(text, nil)
	} else {
		p.resp.header = h
		p.resp.WriteHeader(http.StatusServiceUnavailable) // sends nothing
		_, _ = p.resp.Write(text)                         // is gathered
	}
	_ = p.finish() // fails if the connection has ended, and then its handler is called
	p.unlockEnded(errParkTimeout)
}

// fail cuts the answer off for a reason. Accepted output is flushed.
func (p *Parked) fail(cause error) {
	p.mu.Lock()
	if p.state != parkOpen {
		p.mu.Unlock()
		return
	}
	p.state, p.closes = parkEnded, true
	if p.resp != nil {
		p.resp.discard()
	}
	if p.h2 != nil {
		p.h2.abort()
	}
	p.unlockEnded(cause)
}
