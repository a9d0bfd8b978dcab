package sse

import (
	"fmt"
	"net/http"
	"time"

	"github.com/evmq/evmq/httpd"
)

// DefaultMaxPending is the default of MaxPending, in bytes.
const DefaultMaxPending = 64 << 10

// A StreamConfig is the configuration of Start. The zero value of each field means its default.
type StreamConfig struct {
	// Retry, if not 0, sets the time after which the client connects again when the connection has ended. A negative value is ErrInvalid.
	Retry time.Duration
	// MaxPending limits the output that the kernel has not taken, in bytes: at the limit Send fails with server.ErrFull. 0 means
	// DefaultMaxPending; a negative value means no limit but that of the connection.
	MaxPending int
	// OnGone is called once when the client goes away, or Shutdown begins, before the program has closed the stream; see
	// httpd.ParkConfig.OnGone. Nil closes the stream.
	OnGone func(s Stream, cause error)
}

// A Stream is a stream of events to one client. Its methods never wait. It is a small value, which may be copied and used from several
// goroutines. The zero Stream must not be used.
type Stream struct{ p *httpd.Parked }

// Start responds to a request with a stream of events: it parks the request, and sends the head. w and r are the arguments of the handler. A nil
// cfg means the defaults. The stream has no deadline; it ends with Close, Abort, or its client. Errors: ErrInvalid; those of httpd.Park, which
// say whether the handler can still respond by w; those of httpd.Parked.Write, after which the connection ends. May block; not in a callback.
func Start(w http.ResponseWriter, r *http.Request, cfg *StreamConfig) (Stream, error) {
	var c StreamConfig
	if cfg != nil {
		c = *cfg
	}
	if c.Retry < 0 {
		return Stream{}, fmt.Errorf("%w: Retry is %v", ErrInvalid, c.Retry)
	}
	onGone := closeGone
	if c.OnGone != nil {
		onGone = func(p *httpd.Parked, cause error) { c.OnGone(Stream{p}, cause) }
	}
	p, err := park(w, r, c.MaxPending, onGone)
	if err != nil {
		return Stream{}, err
	}
	if err = p.FlushError(); err == nil && c.Retry > 0 {
		_, err = p.Write(append(appendRetry(nil, c.Retry), '\n'))
	}
	if err != nil {
		p.Abort()
		return Stream{}, fmt.Errorf("sse: start a stream: %w", err)
	}
	return Stream{p}, nil
}

// closeGone closes a stream whose client has gone.
func closeGone(p *httpd.Parked, _ error) { _ = p.Close() } // fails if the connection has ended

// park parks a request for a stream. Nothing is sent yet.
func park(w http.ResponseWriter, r *http.Request, maxPending int, onGone func(*httpd.Parked, error)) (*httpd.Parked, error) {
	if maxPending == 0 {
		maxPending = DefaultMaxPending
	}
	setHead(w.Header())
	p, err := httpd.Park(w, r, &httpd.ParkConfig{Timeout: -1, MaxPending: maxPending, OnGone: onGone})
	if err != nil {
		return nil, fmt.Errorf("sse: start a stream: %w", err)
	}
	return p, nil
}

// setHead sets the fields of the head that are not set.
func setHead(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	if _, ok := h["Cache-Control"]; !ok {
		h.Set("Cache-Control", "no-cache")
	}
	if _, ok := h["X-Accel-Buffering"]; !ok {
		h.Set("X-Accel-Buffering", "no")
	}
}

// LastEventID returns the ID of the last event that the client has received, which EventSource sends when it connects again; "" if it has sent
// none. Any goroutine.
func LastEventID(r *http.Request) string { return r.Header.Get("Last-Event-ID") }

// Send sends an event. Errors: ErrInvalid, and those of httpd.Parked.Write: server.ErrFull at MaxPending, server.ErrClosed, httpd.ErrEnded.
// After an error nothing was accepted. Any goroutine.
func (s Stream) Send(e Event) error {
	b, err := e.Append(nil)
	if err != nil {
		return err
	}
	_, err = s.p.Write(b)
	return err
}

// Comment sends a comment, which clients ignore, so that proxies do not take the connection for idle. Errors: those of httpd.Parked.Write. Any
// goroutine.
func (s Stream) Comment(text string) error {
	_, err := s.p.Write(appendComment(nil, text))
	return err
}

// Close ends the stream when all output before it was sent. EventSource then connects again; it stops if the response to that request has the
// status 204. Errors: those of httpd.Parked.Close. Any goroutine.
func (s Stream) Close() error { return s.p.Close() }

// Abort ends the stream and its connection at once. Any goroutine.
func (s Stream) Abort() { s.p.Abort() }

// Parked returns the response that the stream is written to, for its methods Notify, Pending and SetWriteDeadline. The program must not write to
// it. Any goroutine.
func (s Stream) Parked() *httpd.Parked { return s.p }
