package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/evmq/evmq/server"
)

// Close completes the response, as the return of a handler does: a response that was not begun has the status 200 and no body. All accepted
// output is sent. Then the next request of the connection is served. The context of the request ends. If there is no room for the last bytes,
// they are sent when there is, and Close need not be called again. Errors: ErrEnded if the Parked has ended before; server.ErrClosed, with the
// reason, if the connection has. Any goroutine.
func (p *Parked) Close() error {
	p.mu.Lock()
	err := p.endError()
	if err != nil {
		p.mu.Unlock()
	} else {
		err = p.finish(nil)
		p.unlockEnded(context.Canceled)
	}
	if err != nil {
		return fmt.Errorf("httpd: close a parked response: %w", err)
	}
	return nil
}

// Abort ends the response and its connection at once, with HTTP/2 only its stream: a client that reads sees that the response is not complete.
// Output that waits fails. After the end it does nothing. Any goroutine.
func (p *Parked) Abort() {
	p.mu.Lock()
	if p.state > parkClosing {
		p.mu.Unlock()
		return
	}
	p.state, p.aborts = parkEnded, true // the last bytes, if they wait, fail with the connection
	if p.h2 != nil {
		p.h2.abort()
	}
	p.unlockEnded(context.Canceled)
}

// A lastWrite is the end of a response.
type lastWrite struct {
	text []byte
	done func(error) // is called with the outcome of all output; nil for none
}

// finish sends the end of the response. done, if not nil, is called with the outcome of all output, unless finish fails. Under mu.
func (p *Parked) finish(done func(error)) error {
	if p.h2 != nil {
		p.h2.finish(done)
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
		last = appendTrailer(nil, p.header, nil)
	}
	return p.sendLast(&lastWrite{last, done})
}

// sendLast makes last the end of the response. Under mu.
func (p *Parked) sendLast(last *lastWrite) error {
	p.final, p.resp, p.header = last, nil, nil
	p.state = parkClosing
	err := p.sendFinal()
	if err != nil {
		p.final = nil // the error is the outcome
	}
	return err
}

// sendFinal sends the end of the response, if there is room for it, so that the connection can be given back. It is called again when there
// is room. If it fails, the connection has ended, and its handler is notified. Under mu.
func (p *Parked) sendFinal() error {
	sc := p.c.sc
	p.closes = p.closes || !p.c.h.s.keepsAlive()
	var err error
	if more := p.c.more; more != nil && more.timer != nil && more.timer.isArmed() {
		err = more.timer.keepUntilSent(p.writeFinal)
	} else {
		err = p.writeFinal(nil)
	}
	switch {
	case errors.Is(err, server.ErrFull): // LowWater follows
		sc.SetTimeouts(server.Timeouts{}) // IdleTimeout applies, as to each response whose handler has returned
		return nil
	case err != nil:
		p.state = parkLost
		if p.cause == nil {
			p.cause = err
		}
		return err
	}
	p.final, p.state = nil, parkEnded
	return nil
}

// writeFinal makes the end of the response output of the connection, with what follows when the kernel has taken it: the call of sent, if that
// is not nil, the outcome, and the end of a connection that is closed after the response. It is one write, so that it is accepted or refused
// as a whole. Under mu.
func (p *Parked) writeFinal(sent func(error)) error {
	sc, done, closes := p.c.sc, p.final.done, p.closes
	if sent == nil && done == nil && !closes {
		if len(p.final.text) == 0 {
			return nil
		}
		_, err := sc.Write(p.final.text)
		return err
	}
	return sc.WriteNotify(p.final.text, func(err error) {
		if sent != nil {
			sent(err)
		}
		if closes {
			linger(sc)
		}
		if done != nil {
			done(err)
		}
	})
}

// unlockEnded is called when the Parked has ended, or is closing. It stops the timer, ends the context and leaves the group, and gives the
// connection back if the Parked has ended. Under mu, which it unlocks. It may be called more than once.
func (p *Parked) unlockEnded(cause error) {
	if p.cause == nil {
		p.cause = cause
	}
	cause = p.cause
	ctx, group, timer := p.ctx, p.group, p.timer
	p.ctx, p.timer, p.onTimeout, p.onGone = nil, nil, nil, nil
	over := p.state > parkClosing
	p.mu.Unlock()
	if over && p.h2 == nil {
		defer p.giveBack() // also if OnLeave panics
	}
	if timer != nil {
		timer.Stop()
	}
	if ctx != nil {
		ctx.end(cause)
	}
	if group != nil {
		group.leave(p, cause)
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
	if p.closes {
		_ = sc.Close() // fails if the connection is closed
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
		p.respondUnavailable()
	}
}

// isBegun reports whether the head of the response is fixed: WriteHeader was called, or a part of the body was written. Under mu.
func (p *Parked) isBegun() bool {
	if p.h2 != nil {
		return p.h2.status != 0
	}
	return p.resp == nil || p.resp.phase != phaseBegun
}

// respondUnavailable makes the response 503. Under mu, which it unlocks.
func (p *Parked) respondUnavailable() {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}} // and no field of the program's response
	text := []byte("503 Service Unavailable")
	if p.h2 != nil {
		p.h2.header = h
		p.h2.writeHeader(http.StatusServiceUnavailable)
		_ = p.h2.writeBody(text, nil) // there is no limit for it
	} else {
		p.resp.header = h
		p.resp.WriteHeader(http.StatusServiceUnavailable) // sends nothing
		_, _ = p.resp.Write(text)                         // is gathered
	}
	_ = p.finish(nil) // fails if the connection has ended, and then its handler is called
	p.unlockEnded(errParkTimeout)
}

// fail cuts the response off for a reason. The connection is closed after the output that it has; bytes that were gathered are not sent. With
// HTTP/2 the stream is reset, and output that waits fails.
func (p *Parked) fail(cause error) {
	p.mu.Lock()
	if p.state != parkOpen {
		p.mu.Unlock()
		return
	}
	if p.cause == nil {
		p.cause = cause
	}
	p.closes = true
	if p.resp != nil {
		p.resp.discard()
	}
	if p.h2 != nil {
		p.h2.abort()
		p.state = parkEnded
	} else {
		_ = p.sendLast(new(lastWrite)) // as in respondUnavailable
	}
	p.unlockEnded(cause)
}
