package httpd

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/evmq/evmq/httpd/internal/http1"
	"github.com/evmq/evmq/server"
)

// maxGathered is the number of bytes of a body that are gathered before the head is sent. A response that is not longer has a Content-Length.
// It is the same in package net/http, since clients see the difference.
const maxGathered = 2 << 10

// responsePhase is the state of a response.
type responsePhase uint8

const (
	phaseBegun    responsePhase = iota // the handler may change the head
	phaseStatus                        // WriteHeader was called; the beginning of the body is gathered
	phaseSent                          // the head was sent
	phaseHijacked                      // Hijack was called
	phaseUpgraded                      // the connection has another handler
	phaseParked                        // Park was called: a Parked has the response
	phaseEnded                         // the response has ended
)

var responsePhases = [...]string{phaseBegun: "begun", phaseStatus: "status known", phaseSent: "head sent", phaseHijacked: "hijacked", phaseUpgraded: "upgraded", phaseParked: "parked", phaseEnded: "ended"}

// String returns the phase's name.
func (p responsePhase) String() string { return responsePhases[p] }

// A response is the http.ResponseWriter of a request. Like that of package net/http, it is for one goroutine at a time.
type response struct {
	c       *conn
	w       server.Reply
	req     *http.Request
	reqBody *requestBody

	header   http.Header // of the handler; nil until it calls Header
	snapshot http.Header // the copy of header that WriteHeader has made, which is sent
	buf      *[]byte     // gathered bytes of the body; from buffers
	length   int64       // the Content-Length; -1 if it is not known
	written  int64       // bytes of the body that the handler has written
	trailers []string    // canonical names that the handler has announced
	err      error       // of a write to the connection
	gone     chan bool   // of CloseNotify; nil before
	sink     *[]byte     // receives the output during a call of a method of a Parked; otherwise nil
	status   int
	phase    responsePhase

	isHEAD      bool
	is11        bool
	wantsKeep10 bool // HTTP/1.0 with keep-alive
	closes      bool // the connection is closed after the response
	chunked     bool
	fullDuplex  bool
	isDone      bool // all of the body was written
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, maxGathered); return &b }}

// init prepares the response to req.
func (r *response) init(w server.Reply, c *conn, req *http.Request, body *requestBody) {
	r.c, r.w, r.req, r.reqBody = c, w, req, body
	r.length = -1
	r.isHEAD, r.is11 = req.Method == http.MethodHead, req.ProtoAtLeast(1, 1)
	r.wantsKeep10 = !r.is11 && !req.Close
	r.closes = req.Close || r.is11 && http1.HasWord(firstValue(req.Header["Connection"]), "close")
}

// isHijacked reports whether the connection is not the server's any more: Hijack or Upgrade was called.
func (r *response) isHijacked() bool { return r.phase == phaseHijacked || r.phase == phaseUpgraded }

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

// WriteHeader implements http.ResponseWriter.
func (r *response) WriteHeader(status int) {
	switch {
	case r.isHijacked():
		r.logCaller("response.WriteHeader on hijacked connection")
		return
	case r.phase == phaseParked:
		r.logCaller("response.WriteHeader on parked response")
		return
	case r.phase != phaseBegun:
		r.logCaller("superfluous response.WriteHeader call")
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		r.sendInformational(status)
		return
	}
	r.reqBody.stopContinue()
	r.setStatus(status)
	if r.header != nil { // later changes of it are not sent
		r.snapshot = r.header.Clone()
	}
	r.setLength()
}

// setStatus ends the phase in which the head may be changed. The caller sets snapshot.
func (r *response) setStatus(status int) { r.status, r.phase = status, phaseStatus }

// setLength sets the length from the fields in snapshot.
func (r *response) setLength() {
	if lengths := r.snapshot["Content-Length"]; len(lengths) > 0 && lengths[0] != "" {
		n, err := strconv.ParseInt(lengths[0], 10, 64)
		if err != nil || n < 0 {
			r.c.h.s.logf("httpd: invalid Content-Length of %q", lengths[0])
			delete(r.snapshot, "Content-Length")
			return
		}
		r.length = n
	}
}

// logCaller logs a mistake of the handler with the place of the call.
func (r *response) logCaller(text string) {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "github.com/evmq/evmq/httpd.") || !more {
			r.c.h.s.logf("httpd: %s from %s (%s:%d)", text, frame.Function, path.Base(frame.File), frame.Line)
			return
		}
	}
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) {
	if err := r.mayWrite(len(p)); err != nil || len(p) == 0 {
		return 0, err
	}
	if r.phase == phaseStatus {
		if r.mayGather(len(p)) {
			*r.buf = append(*r.buf, p...)
			return len(p), nil
		}
		r.sendHead(p)
	}
	return r.send(p)
}

// WriteString implements io.StringWriter.
func (r *response) WriteString(s string) (int, error) {
	if err := r.mayWrite(len(s)); err != nil || s == "" {
		return 0, err
	}
	if r.phase == phaseStatus && r.mayGather(len(s)) {
		*r.buf = append(*r.buf, s...)
		return len(s), nil
	}
	if r.phase == phaseStatus {
		r.sendHead([]byte(s))
	}
	return r.send([]byte(s))
}

// mayWrite prepares the response for n bytes of the body, and returns an error if they may not be written.
func (r *response) mayWrite(n int) error {
	switch r.phase {
	case phaseHijacked, phaseUpgraded:
		if n > 0 {
			r.logCaller("response.Write on hijacked connection")
		}
		return http.ErrHijacked
	case phaseParked:
		if n > 0 {
			r.logCaller("response.Write on parked response")
		}
		return ErrParked
	case phaseEnded:
		return server.ErrReplyEnded
	case phaseBegun:
		r.WriteHeader(http.StatusOK)
	}
	r.reqBody.stopContinue()
	if n == 0 {
		return nil
	}
	if !allowsBody(r.status) {
		return http.ErrBodyNotAllowed
	}
	r.written += int64(n)
	if r.length >= 0 && r.written > r.length {
		return http.ErrContentLength
	}
	return nil
}

// allowsBody reports whether a response with the status may have a body.
func allowsBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// mayGather reports whether n more bytes can be gathered.
func (r *response) mayGather(n int) bool {
	if r.buf == nil {
		if n > maxGathered {
			return false
		}
		r.buf = buffers.Get().(*[]byte)
	}
	return len(*r.buf)+n <= maxGathered
}

// sendHead sends the head and the gathered bytes. next are the bytes that follow.
func (r *response) sendHead(next []byte) {
	var body []byte
	if r.buf != nil {
		body = *r.buf
	}
	first := body
	switch { // the Content-Type is detected from first
	case len(body) == 0:
		first = next
	case len(body) < sniffed: // the buffer has room for more than these
		first = append(first, next[:min(len(next), sniffed-len(body))]...)
	}
	r.writeHead(first, body)
	r.phase = phaseSent
	r.dropBuf()
}

// gathered returns the number of gathered bytes.
func (r *response) gathered() int {
	if r.buf == nil {
		return 0
	}
	return len(*r.buf)
}

// restore makes r as it was when before was copied from it, and bytes were gathered.
func (r *response) restore(before *response, bytes int) {
	if r.sink = nil; r.buf != before.buf {
		r.dropBuf()
	}
	if *r = *before; r.buf != nil {
		*r.buf = (*r.buf)[:bytes]
	}
}

// dropBuf gives the buffer of the gathered bytes back. A Parked needs it until its output is accepted.
func (r *response) dropBuf() {
	if r.buf != nil && r.sink == nil {
		*r.buf = (*r.buf)[:0]
		buffers.Put(r.buf)
		r.buf = nil
	}
}

// send sends bytes of the body, after the head.
func (r *response) send(p []byte) (int, error) {
	switch {
	case r.isHEAD || !allowsBody(r.status):
		return len(p), nil
	case !r.chunked:
		return r.output(p)
	}
	var array [20]byte
	line := append(strconv.AppendInt(array[:0], int64(len(p)), 16), "\r\n"...)
	if _, err := r.output(line); err != nil {
		return 0, err
	}
	n, err := r.output(p)
	if err == nil {
		_, err = r.output(line[len(line)-2:]) // the end of line
	}
	return n, err
}

// output writes to the connection, and keeps the first error.
func (r *response) output(p []byte) (int, error) {
	if err := r.mayOutput(); err != nil {
		return 0, err
	}
	if r.sink != nil {
		*r.sink = append(*r.sink, p...)
		return len(p), nil
	}
	n, err := r.w.Write(p)
	if err != nil {
		r.err = r.c.writeError(err)
	}
	return n, r.err
}

// Flush implements http.Flusher.
func (r *response) Flush() { _ = r.FlushError() } // the interface has no error

// FlushError sends the head and what was written so far. http.ResponseController uses it.
func (r *response) FlushError() error {
	switch r.phase {
	case phaseHijacked, phaseUpgraded:
		return http.ErrHijacked
	case phaseParked:
		return ErrParked
	case phaseEnded:
		return server.ErrReplyEnded
	case phaseBegun: // as WriteHeader, but without a copy of the fields, since the head is sent at once
		r.reqBody.stopContinue()
		r.setStatus(http.StatusOK)
		r.snapshot = r.header
		r.setLength()
	}
	if r.phase == phaseStatus {
		r.sendHead(nil)
	}
	if err := r.mayOutput(); err != nil {
		return err
	}
	r.flushOutput()
	return r.err
}

// flushOutput gives what was written to the connection, and keeps the error.
func (r *response) flushOutput() {
	if r.sink != nil { // Parked.output does it
		return
	}
	if err := r.w.Flush(); err != nil {
		r.err = r.c.writeError(err)
	}
}

// mayOutput returns the first error of the output. It notices that a deadline has passed.
func (r *response) mayOutput() error {
	if more := r.c.more; more != nil && more.timer != nil && r.err == nil {
		r.err = more.timer.err()
	}
	return r.err
}

// finish completes the response, when the handler has returned or the Parked ends. It reports whether the connection can be used
// for another request.
func (r *response) finish() (reuse bool) {
	r.isDone = true
	r.reqBody.interrupt()
	if r.phase == phaseBegun {
		r.WriteHeader(http.StatusOK)
	}
	if r.phase == phaseStatus {
		r.sendHead(nil)
	}
	if r.chunked && !r.isHEAD {
		r.sendTrailer()
	}
	r.phase = phaseEnded
	isShort := !r.isHEAD && r.length >= 0 && allowsBody(r.status) && r.length != r.written
	return !r.closes && !isShort && r.err == nil && r.reqBody.discardRest()
}

// discard ends the response, and does not send what was gathered.
func (r *response) discard() {
	r.phase = phaseEnded
	r.dropBuf()
}

var (
	_ io.StringWriter = (*response)(nil)
	_ http.Flusher    = (*response)(nil)
	_ http.Hijacker   = (*response)(nil)
	_ io.ReaderFrom   = (*response)(nil)
)
