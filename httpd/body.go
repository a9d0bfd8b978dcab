package httpd

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/httpd/internal/http1"
	"github.com/evmq/evmq/server"
)

// maxDiscarded is the number of bytes of a body that the server reads after the handler, so that the connection can be used for the next
// request. It is the same in package net/http.
const maxDiscarded = 256 << 10

// bodyPhase is the state of a request's body.
type bodyPhase uint8

const (
	bodyOpen   bodyPhase = iota // bytes follow
	bodyWaits                   // the client waits for 100 Continue, which is sent when the body is read
	bodyRead                    // all of it was read
	bodyBroken                  // the rest cannot be read: the client is gone, a deadline has passed, or the body is not valid
)

var bodyPhases = [...]string{bodyOpen: "open", bodyWaits: "waits for 100 Continue", bodyRead: "read", bodyBroken: "broken"}

// String returns the phase's name.
func (p bodyPhase) String() string { return bodyPhases[p] }

// A requestBody is the Body of a request. Its bytes are the connection's input after the head.
type requestBody struct {
	mu       sync.Mutex // guards what follows
	in       server.Input
	req      *http.Request
	resp     *response
	left     int64 // bytes that follow, if the body is not chunked
	chunks   http1.Chunked
	err      error // what Read returns
	phase    bodyPhase
	chunked  bool
	isClosed bool
	expected bool        // the request has the field Expect; it is set before the handler runs
	complete atomic.Bool // all of the body was read; atomic, since a Read that waits holds mu

	hasDeadline atomic.Bool   // ReadTimeout or the handler has set one; atomic, since SetReadDeadline ends a Read that waits and holds mu
	restTimeout time.Duration // for the rest that the handler has not read, if it has no deadline; 0 or negative for no limit
}

// newBody sets the body of req, and returns it; nil if there is none. The methods that a response calls accept nil.
func newBody(w server.Reply, req *http.Request) *requestBody {
	if req.ContentLength == 0 {
		req.Body = http.NoBody
		return nil
	}
	b := &requestBody{in: w.Input(), req: req, left: req.ContentLength, chunked: req.ContentLength < 0, phase: bodyOpen}
	req.Body = b
	return b
}

// expectsContinue makes the first Read send 100 Continue.
func (b *requestBody) expectsContinue(resp *response) {
	b.resp, b.phase, b.expected = resp, bodyWaits, true
}

// stopContinue is called when the response begins, and by Hijack, Upgrade and Park: 100 Continue is not sent any more.
func (b *requestBody) stopContinue() {
	if b == nil || !b.expected {
		return
	}
	b.mu.Lock()
	b.resp = nil
	b.mu.Unlock()
}

// isExpected reports whether the client has asked for 100 Continue and not all of the body was read. Then package net/http closes the
// connection, since it does not know whether the client sends the rest.
func (b *requestBody) isExpected() bool { return b != nil && b.expected && !b.complete.Load() }

// interrupt is called when the handler has returned, and by Park: a Read of another goroutine that waits fails.
func (b *requestBody) interrupt() {
	if b == nil {
		return
	}
	if b.mu.TryLock() {
		b.mu.Unlock()
		return
	}
	_ = b.in.SetReadDeadline(time.Unix(1, 0)) // fails if the connection has ended, and then Read does so, too
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

// read is Read for a body that may be closed. Under mu.
func (b *requestBody) read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.phase == bodyWaits {
		if b.resp != nil {
			b.resp.sendContinue()
			b.resp = nil
		}
		b.phase = bodyOpen
	}
	var n int
	var err error
	if b.chunked {
		n, err = b.readChunked(p)
	} else {
		n, err = b.readCounted(p)
	}
	if err != nil {
		b.err = err
		b.phase = bodyBroken
		if errors.Is(err, io.EOF) {
			b.phase = bodyRead
			b.complete.Store(true)
		}
		if n > 0 {
			err = nil
		}
	}
	return n, err
}

// readCounted reads from a body with a Content-Length. Under mu.
func (b *requestBody) readCounted(p []byte) (int, error) {
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); b.left == 0 {
		return n, io.EOF
	}
	return n, unexpected(err)
}

// readChunked reads from a chunked body. Under mu.
func (b *requestBody) readChunked(p []byte) (copied int, err error) {
	for need := 1; ; {
		input, err := b.in.Peek(max(need, min(b.in.Buffered(), max(len(p), chunkWindow))))
		if err != nil && len(input) < need {
			return 0, unexpected(err)
		}
		copied, used, err := b.decode(p, input)
		if used > 0 {
			if _, err := b.in.Discard(used); err != nil {
				return copied, unexpected(err)
			}
		}
		switch {
		case err != nil:
			return copied, err
		case b.chunks.IsEnd():
			b.setTrailer()
			return copied, io.EOF
		case copied > 0:
			return copied, nil
		}
		need = len(input) - used + 1
	}
}

// chunkWindow is the number of bytes that readChunked looks at, if so many have arrived, also when the caller's buffer is smaller. So it often
// finds the end of the body together with its last bytes.
const chunkWindow = 512

// decode decodes chunks until p is full or input does not suffice. It returns the number of bytes that were copied to p, and the number of those
// that were decoded. Under mu.
func (b *requestBody) decode(p, input []byte) (copied, used int, err error) {
	for !b.chunks.IsEnd() {
		rest := input[used:]
		if b.chunks.IsData() {
			if copied == len(p) {
				return copied, used, nil
			}
			rest = rest[:min(len(rest), len(p)-copied)] // the caller discards all that is decoded, so it has to fit into p
		}
		data, n, err := b.chunks.Next(rest)
		if n == 0 || err != nil {
			return copied, used, err
		}
		copied += copy(p[copied:], data)
		used += n
	}
	return copied, used, nil
}

// setTrailer sets the request's Trailer. Under mu.
func (b *requestBody) setTrailer() {
	for key, values := range b.chunks.Trailer {
		if b.req.Trailer == nil {
			b.req.Trailer = make(http.Header)
		}
		b.req.Trailer[key] = values
	}
}

// unexpected returns io.ErrUnexpectedEOF for io.EOF, since the body is not complete.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close implements io.Closer. It reads the rest of the body, as package net/http does, if that is not long; otherwise the connection is
// closed after the response. It reads nothing if the client waits for 100 Continue.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed {
		return nil
	}
	b.isClosed = true
	if b.phase != bodyOpen {
		return nil
	}
	return b.discard()
}

// discard reads the rest of the body, if it is not long. It returns an error if that cannot be read. Under mu.
func (b *requestBody) discard() error {
	if b.left > maxDiscarded {
		return nil
	}
	if !b.hasDeadline.Load() && b.restTimeout > 0 { // a client that sends nothing must not hold a worker for ever
		_ = b.in.SetReadDeadline(time.Now().Add(b.restTimeout))  // fails if the connection has ended, which Read reports
		defer func() { _ = b.in.SetReadDeadline(time.Time{}) }() // as above
	}
	buf := headBuffers.Get().(*[]byte)
	defer headBuffers.Put(buf)
	for discarded := 0; discarded <= maxDiscarded; {
		n, err := b.read((*buf)[:cap(*buf)])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		discarded += n
	}
	return nil
}

// discardRest reads the rest of the body, if it is not long. It reports whether all of the body was read, so that the next request can follow.
func (b *requestBody) discardRest() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase == bodyOpen && !b.isClosed && b.left <= maxDiscarded { // after Close, the rest is long
		b.isClosed = true // a handler that reads on gets an error, and not the end of the body
		_ = b.discard()   // phase says whether it has failed
	}
	return b.phase == bodyRead
}

// setDeadline sets the time at which Read fails; the zero time means none.
func (b *requestBody) setDeadline(t time.Time) error {
	b.hasDeadline.Store(!t.IsZero())
	return b.in.SetReadDeadline(t)
}

// end is called when the handler has returned, and by Park: later calls of Read fail.
func (b *requestBody) end() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.isClosed = true
	b.mu.Unlock()
}
