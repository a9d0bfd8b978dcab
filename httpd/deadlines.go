package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/evmq/evmq/server"
)

// startTimers starts ReadTimeout and WriteTimeout for a request whose head has arrived.
func (c *conn) startTimers(body *requestBody) {
	s := c.h.s
	if body != nil {
		body.restTimeout = s.readHeaderTimeout()
		at := time.Time{} // ReadHeaderTimeout does not apply to what the handler reads
		if s.ReadTimeout > 0 {
			at = time.Now().Add(s.ReadTimeout)
		}
		_ = body.setDeadline(at) // fails if the connection has ended, which Read reports
	}
	if s.WriteTimeout > 0 {
		c.writeTimer().set(s.WriteTimeout)
	}
}

// writeTimer returns the connection's writeTimer.
func (c *conn) writeTimer() *writeTimer {
	x := c.extra()
	if x.timer == nil {
		x.timer = &writeTimer{sc: c.sc}
	}
	return x.timer
}

// stopTimers removes the write deadline.
func (c *conn) stopTimers() {
	if c.more != nil && c.more.timer != nil {
		c.more.timer.stop()
	}
}

// handlerReturned is called when the handler has returned: the write deadline, if there is one, applies until the kernel has taken the response.
func (c *conn) handlerReturned(w server.Reply) {
	if c.more != nil && c.more.timer != nil {
		_ = c.more.timer.keepUntilSent(w.Notify) // fails if the connection has ended, and with it the timer
	}
}

// writeError returns the error of a write as handlers know it from package net/http.
func (c *conn) writeError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("httpd: write: %w", os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("httpd: write: %w", err)
}

// SetReadDeadline sets the time at which reading the body fails; the zero time means none. http.ResponseController uses it.
func (r *response) SetReadDeadline(t time.Time) error {
	if r.phase == phaseParked {
		return ErrParked
	}
	if r.reqBody != nil {
		return r.reqBody.setDeadline(t)
	}
	return nil
}

// SetWriteDeadline sets the time at which the connection ends unless all of the response is written; the zero time means none.
// http.ResponseController uses it.
func (r *response) SetWriteDeadline(t time.Time) error {
	switch r.phase {
	case phaseHijacked, phaseUpgraded:
		return http.ErrHijacked
	case phaseParked:
		return ErrParked
	case phaseEnded: // the connection may be in another request
		return fmt.Errorf("httpd: set the write deadline: %w", server.ErrReplyEnded)
	}
	if t.IsZero() {
		r.c.stopTimers()
		return nil
	}
	r.c.writeTimer().set(time.Until(t))
	return nil
}

// EnableFullDuplex lets the handler read the request's body after it has begun to write the response. http.ResponseController uses it.
func (r *response) EnableFullDuplex() error {
	r.fullDuplex = true
	return nil
}

// CloseNotify implements http.CloseNotifier, which is deprecated, for handlers and wrappers that still ask for it.
func (r *response) CloseNotify() <-chan bool {
	if r.gone == nil {
		gone := make(chan bool, 1)
		ctx := r.req.Context()
		context.AfterFunc(ctx, func() {
			if context.Cause(ctx) != context.Canceled { //nolint:errorlint // this very value is the end of the handler
				gone <- true
			}
		})
		r.gone = gone
	}
	return r.gone
}
