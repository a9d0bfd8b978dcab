package httpd

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/evmq/evmq/server"
)

// parkState is the state of a Parked.
type parkState uint8

const (
	parkOpen    parkState = iota // it accepts output
	parkClosing                  // Close was called; its last bytes wait for room
	parkEnded                    // it has ended in another way than by the end of the connection
	parkLost                     // the connection has ended first
)

var parkStates = [...]string{parkOpen: "open", parkClosing: "closing", parkEnded: "ended", parkLost: "lost"}

// String returns the state's name.
func (s parkState) String() string { return parkStates[s] }

// A Parked is the response to a request after Park. It is an http.ResponseWriter whose methods never wait, and may be called from any
// goroutine, also from several at the same time. The http.Header that Header returns is for one goroutine at a time.
//
// As in package net/http, up to 2 KB of the body are gathered before the head is sent; a response that is complete by then has a
// Content-Length. After the head each Write is output at once. A Write is accepted as a whole or refused with an error: server.ErrFull at
// MaxPending of ParkConfig, or when the whole server holds as much as it may; server.ErrClosed, with the reason, when the connection has
// ended; ErrEnded after the end of the Parked. Notify reports the outcome of the writes that were accepted.
type Parked struct {
	mu sync.Mutex // guards what follows
	c  conn
	// resp is the response until its head is sent, and afterwards if it has a Content-Length, a trailer or a status that permits no body.
	// Otherwise it is nil: then the response is a stream, of which nothing is kept.
	resp       *response
	h2         *http2Response    // with HTTP/2, in place of c and resp
	ctx        *requestContext   // nil while it is not waited for
	timer      *server.ConnTimer // of Timeout; nil without
	final      *lastWrite        // parkClosing: the end of the response; nil before
	header     http.Header       // that Header has returned: a stream may have a trailer in it; nil before
	cause      error             // of the end of the context; nil before
	onTimeout  func(*Parked)
	onGone     func(*Parked, error)
	group      *Group // that it is in; nil for none
	index      int32  // in the list of group. Under the mu of the group
	maxPending int32  // negative for no limit
	state      parkState
	chunked    bool // a stream is sent in chunks
	silent     bool // a stream is the response to HEAD: its body is not sent
	aborts     bool // Abort was called
	closes     bool // the connection is closed after the response
}

// Header returns the fields of the head. Changes after the head was sent have no effect, except for those of the trailer. The map is for one
// goroutine at a time: the methods that begin or end the response read it. In a Group it must not be changed before the head is sent, since
// the Group may begin the response, and ends it, on other goroutines. Any goroutine.
func (p *Parked) Header() http.Header {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.h2 != nil:
		return p.h2.header
	case p.resp != nil:
		p.header = p.resp.Header()
	case p.header == nil: // for a trailer
		p.header = make(http.Header)
	}
	return p.header
}

// WriteHeader sets the status, as in http.ResponseWriter: the head is sent with the body, or by Flush. A status below 200 is sent at once.
// Any goroutine.
func (p *Parked) WriteHeader(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state != parkOpen:
	case p.h2 != nil:
		p.h2.setStatus(status)
	case p.resp == nil:
		p.c.h.s.logf("httpd: superfluous WriteHeader call on a parked response")
	default:
		_ = p.output(func() error { p.resp.WriteHeader(status); return nil }, nil) // Write reports that the connection has ended
	}
}

// Write adds b, which it copies, to the body. Errors: server.ErrFull, server.ErrClosed, ErrEnded; http.ErrContentLength and
// http.ErrBodyNotAllowed; os.ErrDeadlineExceeded after a write deadline. After an error nothing was accepted. Any goroutine.
func (p *Parked) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.mayWrite(); err != nil {
		return 0, fmt.Errorf("httpd: write to a parked response: %w", err)
	}
	if err := p.write(b); err != nil {
		return 0, fmt.Errorf("httpd: write to a parked response: %w", err)
	}
	return len(b), nil
}

// WriteString is Write of a string. Any goroutine.
func (p *Parked) WriteString(s string) (int, error) { return p.Write([]byte(s)) }

// mayWrite returns an error if a write has to be refused. Under mu.
func (p *Parked) mayWrite() error {
	if err := p.endError(); err != nil {
		return err
	}
	if p.maxPending < 0 {
		return nil
	}
	if n := p.pending(); n >= int(p.maxPending) {
		return fmt.Errorf("%w: %d bytes of the response wait, the limit is %d", server.ErrFull, n, p.maxPending)
	}
	return nil
}

// endError returns the error of methods after the end, and nil before. Under mu.
func (p *Parked) endError() error {
	switch {
	case p.state == parkOpen:
		return nil
	case p.state == parkLost:
		return fmt.Errorf("%w (%w)", server.ErrClosed, p.cause)
	case p.cause == errParkTimeout || p.cause == errHandlerFailed: //nolint:errorlint // these very values
		return fmt.Errorf("%w (%w)", ErrEnded, p.cause)
	}
	return ErrEnded
}

// pending returns the number of bytes that wait. Under mu.
func (p *Parked) pending() int {
	if p.h2 != nil {
		return p.h2.pending
	}
	return p.c.sc.Stats().BufferedBytes
}

// write adds b to the body. Under mu.
func (p *Parked) write(b []byte) error {
	switch {
	case p.h2 != nil:
		return p.h2.writeBody(slices.Clone(b), nil)
	case p.resp == nil:
		return p.writeStream(b)
	}
	return p.output(func() error { _, err := p.resp.Write(b); return err }, nil)
}

var crlf = []byte("\r\n")

// writeStream adds b to the body of a stream. Under mu.
func (p *Parked) writeStream(b []byte) error {
	if err := p.deadlineError(); err != nil || p.silent || len(b) == 0 {
		return err
	}
	var err error
	if p.chunked {
		var array [20]byte
		line := append(strconv.AppendInt(array[:0], int64(len(b)), 16), crlf...)
		_, err = p.c.sc.Writev([][]byte{line, b, crlf})
	} else {
		_, err = p.c.sc.Write(b)
	}
	return err
}

// deadlineError returns the error of a write deadline that has passed. Under mu.
func (p *Parked) deadlineError() error {
	if more := p.c.more; more != nil && more.timer != nil {
		return more.timer.err()
	}
	return nil
}

// output calls fn, which uses resp, and makes what it sends output of the connection. done, if not nil, is called with the outcome of all output
// up to then. If that is refused, resp is as before, and done is not called. Under mu.
func (p *Parked) output(fn func() error, done func(error)) error {
	sink := headBuffers.Get().(*[]byte)
	*sink = (*sink)[:0]
	before, gathered := *p.resp, p.resp.gathered()
	p.resp.sink = sink
	err := fn()
	if err == nil {
		err = p.resp.err
	}
	switch {
	case err != nil:
	case done != nil:
		err = p.c.sc.WriteNotify(*sink, done)
	case len(*sink) > 0:
		_, err = p.c.sc.Write(*sink)
	}
	if err != nil {
		p.resp.restore(&before, gathered)
	} else {
		p.resp.sink = nil
		p.isStream()
	}
	if cap(*sink) <= maxScratch {
		headBuffers.Put(sink)
	}
	return err
}

// maxScratch limits the buffers that are kept for the next call.
const maxScratch = 16 << 10

// isStream drops resp if the head was sent and nothing of it is needed any more. Under mu.
func (p *Parked) isStream() {
	r := p.resp
	if r.phase != phaseSent {
		return
	}
	r.dropBuf()
	if r.length >= 0 || len(r.trailers) > 0 || r.err != nil || !allowsBody(r.status) {
		return
	}
	p.chunked, p.silent, p.closes = r.chunked, r.isHEAD, p.closes || r.closes
	p.resp = nil
}

// Flush sends the head and what was gathered, as in http.Flusher. Any goroutine.
func (p *Parked) Flush() { _ = p.FlushError() } // the interface has no error

// FlushError is Flush with an error: those of Write, but server.ErrFull only at the limits of the connection and the server.
// http.ResponseController uses it. Any goroutine.
func (p *Parked) FlushError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.endError()
	switch {
	case err != nil:
	case p.h2 != nil:
		p.h2.flush()
	case p.resp != nil:
		err = p.output(p.resp.FlushError, nil)
	}
	if err != nil {
		return fmt.Errorf("httpd: flush a parked response: %w", err)
	}
	return nil
}

// Notify flushes, and makes done be called once: with nil when everything that was written was given to the kernel, with HTTP/2 to package
// net/http, or with the reason why it was not. done runs on the connection's loop, or with HTTP/2 on the goroutine of the request, and must not
// block. When Notify itself fails, done is not called. Errors: those of FlushError; ErrInvalid if done is nil. Any goroutine.
func (p *Parked) Notify(done func(error)) error {
	if done == nil {
		return fmt.Errorf("%w: done of Notify is nil", ErrInvalid)
	}
	if err := p.FlushError(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.endError()
	switch {
	case err != nil:
	case p.h2 != nil:
		err = p.h2.notify(done)
	default:
		err = p.c.sc.WriteNotify(nil, done)
	}
	if err != nil {
		return fmt.Errorf("httpd: notify of a parked response: %w", err)
	}
	return nil
}

// Pending returns the number of bytes of output that wait for the client: at MaxPending of ParkConfig Write fails. It is 0 after the end.
// Any goroutine.
func (p *Parked) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state > parkClosing {
		return 0
	}
	return p.pending()
}

// SetWriteDeadline sets the time at which the connection ends unless all of the response is written, as that of http.ResponseController does;
// the zero time means none. Errors: server.ErrClosed, ErrEnded; with HTTP/2 http.ErrNotSupported. Any goroutine.
func (p *Parked) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.endError()
	switch {
	case err != nil:
	case p.h2 != nil:
		err = http.ErrNotSupported
	case t.IsZero():
		p.c.stopTimers()
	default:
		p.c.writeTimer().set(time.Until(t))
	}
	if err != nil {
		return fmt.Errorf("httpd: set the write deadline of a parked response: %w", err)
	}
	return nil
}

var (
	_ http.ResponseWriter = (*Parked)(nil)
	_ http.Flusher        = (*Parked)(nil)
)
