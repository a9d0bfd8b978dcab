package httpd

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/evmq/evmq/server"
)

// A writeTimer ends a connection whose answer is not written in time. It is made once for a connection.
type writeTimer struct {
	sc    *server.Conn
	timer *server.ConnTimer
	mu    sync.Mutex // guards armed
	armed bool
}

// fire is called when the time has passed, on the loop.
func (t *writeTimer) fire() {
	t.mu.Lock()
	armed := t.armed
	t.armed = false
	t.mu.Unlock()
	if armed {
		_ = t.sc.CloseWithError(fmt.Errorf("httpd: write timeout: %w", os.ErrDeadlineExceeded)) // fails if it is closed already
		t.sc.Abort()
	}
}

// set makes the timer fire when d has passed.
func (t *writeTimer) set(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed = true
	if t.timer == nil {
		t.timer = t.sc.AfterFunc(d, t.fire)
	} else {
		t.timer.Reset(d)
	}
}

// stop stops the timer.
func (t *writeTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed = false
	if t.timer != nil {
		t.timer.Stop()
	}
}

// startTimers starts ReadTimeout and WriteTimeout for a request whose head has arrived.
func (c *conn) startTimers(body *requestBody) {
	s := c.h.s
	if body != nil {
		at := time.Time{} // ReadHeaderTimeout does not apply to the body
		if s.ReadTimeout > 0 {
			at = time.Now().Add(s.ReadTimeout)
		}
		_ = body.in.SetReadDeadline(at) // fails if the connection has ended, which Read reports
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

// stopTimers stops WriteTimeout, since the answer is complete, or the handler has taken the connection.
func (c *conn) stopTimers() {
	if c.more != nil && c.more.timer != nil {
		c.more.timer.stop()
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
	if r.reqBody != nil {
		return r.reqBody.in.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline sets the time at which the connection ends unless the answer is written; the zero time means none.
// http.ResponseController uses it.
func (r *response) SetWriteDeadline(t time.Time) error {
	if r.phase == phaseHijacked {
		return http.ErrHijacked
	}
	if t.IsZero() {
		r.c.stopTimers()
		return nil
	}
	r.c.writeTimer().set(time.Until(t))
	return nil
}

// EnableFullDuplex lets the handler read the body after it has begun to answer. http.ResponseController uses it.
func (r *response) EnableFullDuplex() error {
	r.fullDuplex = true
	return nil
}

// CloseNotify implements http.CloseNotifier, which is deprecated, for handlers and wrappers that still ask for it.
func (r *response) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	done := r.req.Context().Done()
	go func() {
		<-done
		gone <- true
	}()
	return gone
}
