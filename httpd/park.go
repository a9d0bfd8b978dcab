package httpd

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/evmq/evmq/server"
)

const (
	// DefaultParkTimeout is the default of ParkConfig.Timeout.
	DefaultParkTimeout = time.Minute
	// DefaultMaxPending is the default of ParkConfig.MaxPending, in bytes.
	DefaultMaxPending = 256 << 10
)

var (
	// ErrParked reports the use of the http.ResponseWriter of a request after Park, and a second Park.
	ErrParked = errors.New("httpd: the response is parked")
	// ErrEnded reports the use of a Parked after its end: after Close or Abort, after its Timeout, or after a panic of its handler. It matches
	// net.ErrClosed. When the connection has ended first, the error is server.ErrClosed instead.
	ErrEnded error = &endedError{"httpd: the parked response has ended", net.ErrClosed}
)

// The causes of the end of a Parked that the program has not ended. Errors of its methods match them.
var (
	errParkTimeout   error = &endedError{"httpd: the parked response was not completed in time", os.ErrDeadlineExceeded}
	errHandlerFailed       = errors.New("httpd: the handler has panicked after Park")
)

// An endedError is an error with a text of its own that matches another one.
type endedError struct {
	text string
	also error
}

// Error returns the text.
func (e *endedError) Error() string { return e.text }

// Unwrap returns the other error.
func (e *endedError) Unwrap() error { return e.also }

// A ParkConfig is the configuration of Park. The zero value of each field means its default. Park copies it.
type ParkConfig struct {
	// Timeout limits the time from Park to Close, on the clock of the server's loops. 0 means DefaultParkTimeout; a negative value means no
	// limit, as for a stream.
	Timeout time.Duration
	// OnTimeout, if not nil, is called when Timeout has passed, and completes the response, for example with the status 204 for a long poll.
	// If it returns without closing the Parked, that stays open without a timeout. It runs on the connection's loop, or with HTTP/2 on a
	// goroutine of its own, and must not block. If OnTimeout is nil, the response is 503; a response that has begun is cut off.
	OnTimeout func(p *Parked)
	// OnGone, if not nil, is called once if the context of the request ends before the Parked does. The cause matches server.ErrPeerClosed if
	// the client has closed its sending half, which is also how a client that disconnects is noticed; it is http.ErrServerClosed when
	// Shutdown begins; otherwise it is the reason why the connection has ended. In the first two cases the response can still be written,
	// and the program still has to complete it. OnGone runs on the connection's loop, or with HTTP/2 on another goroutine, perhaps before
	// Park has returned. It must not block.
	OnGone func(p *Parked, cause error)
	// MaxPending limits the output of the response that the kernel has not taken, in bytes. At the limit, Write fails with server.ErrFull; below
	// it, a single Write may exceed it. 0 means DefaultMaxPending; a negative value means no limit but that of the connection, which is
	// server.DefaultMaxOutput.
	MaxPending int
	// WriteTimeout ends the connection when output waits and the kernel has taken none of it for that time, because the client does not
	// read. 0 means Server.IdleTimeout; a negative value means no limit. After Close, Server.IdleTimeout applies, as to each response
	// whose handler has returned. WriteTimeout has no effect with HTTP/2.
	WriteTimeout time.Duration
}

// Park keeps the response to the request r open when its handler returns, so that any goroutine can complete it later, or stream to it. Until
// the response is complete, the request holds no goroutine, and counts as in progress: the next request of the connection waits, and Shutdown
// waits. w and r are the arguments of the handler. w may be wrapped by middleware that has a method Unwrap, as for http.ResponseController;
// what is written to the Parked does not pass through such wrappers.
//
// The response begins with the fields, the status and the bytes that the handler has set and written before. After Park, w must not be used:
// its methods that write return ErrParked. Park discards the rest of the request's body, as the server does when a handler returns. If the
// handler panics after Park, the response is cut off. A nil cfg means the defaults: without Close, the response is 503 after
// DefaultParkTimeout.
//
// With HTTP/2 the goroutine of the request waits until the Parked has ended.
//
// Errors: http.ErrNotSupported if w is not of a request of a Server, or is wrapped by a type without Unwrap; ErrParked if Park was called for
// the request before; http.ErrHijacked; server.ErrReplyEnded if the handler has returned, with HTTP/2 http.ErrNotSupported. After these,
// nothing has changed. server.ErrClosed, with the reason, if the connection has ended: then no response can be sent. May block; not in a callback.
func Park(w http.ResponseWriter, r *http.Request, cfg *ParkConfig) (*Parked, error) {
	var c ParkConfig
	if cfg != nil {
		c = *cfg
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	p := &Parked{onTimeout: c.OnTimeout, onGone: c.OnGone, maxPending: int32(max(-1, min(c.MaxPending, math.MaxInt32)))}
	if c.Timeout == 0 {
		c.Timeout = DefaultParkTimeout
	}
	w = unwrapped(w)
	var err error
	if resp, ok := w.(*response); ok {
		err = resp.park(p, &c)
	} else {
		err = parkHTTP2(w, r, p, &c)
	}
	if err != nil {
		return nil, fmt.Errorf("httpd: park: %w", err)
	}
	return p, nil
}

// unwrapped returns the ResponseWriter that w wraps.
func unwrapped(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// park gives the response to p.
func (r *response) park(p *Parked, cfg *ParkConfig) error {
	switch r.phase {
	case phaseHijacked, phaseUpgraded:
		return http.ErrHijacked
	case phaseParked:
		return ErrParked
	case phaseEnded:
		return server.ErrReplyEnded
	}
	r.reqBody.stopContinue()
	r.reqBody.interrupt()
	if r.reqBody.isExpected() || !r.reqBody.discardRest() {
		r.closes = true
	}
	r.reqBody.end()
	if err := r.w.Flush(); err != nil { // from now on the connection is written
		return err
	}
	p.c = *r.c
	own := *r
	own.c, own.w, own.req, own.reqBody, own.gone = &p.c, server.Reply{}, nil, nil, nil
	p.resp = &own
	p.isStream()
	x := r.req.Context().(*requestContext) //nolint:forcetypeassert // r.req is the server's own
	x.park(p)
	r.phase, r.buf, r.header, r.snapshot = phaseParked, nil, nil, nil
	p.c.sc.SetTimeouts(server.Timeouts{Idle: server.Unlimited, Write: p.c.h.s.parkWriteTimeout(cfg.WriteTimeout)})
	p.c.h.s.parked.Add(1) // before SetHandler, after which the end of the connection may be notified
	if err := p.c.sc.SetHandler((*parkHandler)(p)); err != nil {
		p.c.h.s.parked.Add(-1)
		return err
	}
	if err := r.w.Flush(); err != nil { // if the connection has ended before SetHandler, the Parked is not notified
		p.lose(err)
		return err
	}
	p.start(cfg.Timeout)
	return nil
}

// parkWriteTimeout returns d, a WriteTimeout of a ParkConfig, or its default.
func (s *Server) parkWriteTimeout(d time.Duration) time.Duration {
	if d == 0 {
		d = s.IdleTimeout
	}
	if d == 0 {
		d = DefaultIdleTimeout
	}
	return d
}

// Parked returns the number of requests whose Parked has not ended. Any goroutine.
func (s *Server) Parked() int { return int(s.parked.Load()) }
