package httpd

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd/internal/callback"
	"github.com/evmq/evmq/server"
)

// http2Key is the key of the http2Server in the contexts of its requests.
type http2Key struct{}

// An http2Response is the response of a Parked with HTTP/2. The goroutine of the request writes what others have queued. Under the mu of the
// Parked.
type http2Response struct {
	w       http.ResponseWriter // of package net/http; only the goroutine of the request writes to it
	header  http.Header         // of the program
	trailer http.Header         // what header was at the end, which the goroutine of the request reads; nil before
	status  int                 // 0 before the response has begun
	left    int64               // bytes that may follow of a Content-Length; -1 without one
	queue   []http2Write
	pending int              // bytes that were queued and are not written, with http2WriteCost for each part
	woken   chan struct{}    // receives a value when the goroutine of the request has to look at the queue again
	timer   event.ClockTimer // of Timeout; nil without
	written int              // bytes of the body
	streams bool             // the body is sent as it is written; before, it is gathered, as with HTTP/1
	over    bool             // nothing is queued any more
	aborted bool             // the stream is to be reset
	writes  bool             // the goroutine of the request is in a call of package net/http, in which it may wait for the client
}

// http2WriteCost is the memory of an http2Write besides its bytes.
const http2WriteCost = 64

// An http2Write is a part of the response.
type http2Write struct {
	status int         // of a head; 0 for none
	header http.Header // of the head
	body   []byte
	done   func(error) // nil for none
	err    error       // the outcome
}

// An http2Slot belongs to a request of HTTP/2 whose handler runs, or whose response is parked.
type http2Slot struct{ parked atomic.Pointer[Parked] }

// handlerReturned is in the slot of a request whose handler has returned without Park.
var handlerReturned = new(Parked)

// parkHTTP2 is Park for a request that package net/http serves for h2. It refuses others.
func parkHTTP2(w http.ResponseWriter, r *http.Request, p *Parked, cfg *ParkConfig) error {
	h2, ok := r.Context().Value(http2Key{}).(*http2Server)
	if !ok {
		return http.ErrNotSupported
	}
	known, ok := h2.requests.Load(w)
	if !ok { // w is a wrapper without Unwrap, or the handler has returned
		return http.ErrNotSupported
	}
	p.h2 = &http2Response{w: w, header: w.Header().Clone(), left: -1, woken: make(chan struct{}, 1)}
	if slot := known.(*http2Slot); !slot.parked.CompareAndSwap(nil, p) {
		if slot.parked.Load() == handlerReturned {
			return server.ErrReplyEnded
		}
		return ErrParked
	}
	h2.h.s.parked.Add(1)
	if cfg.Timeout > 0 {
		p.mu.Lock()
		p.h2.timer = h2.h.s.afterFunc(cfg.Timeout, p.expired)
		p.mu.Unlock()
	}
	if h2.h.s.isClosed() { // beginShutdown may have looked before
		p.mu.Lock()
		p.unlockGone(http.ErrServerClosed)
	}
	return nil
}

// afterFunc calls f when d has passed on the clock of the loops.
func (s *Server) afterFunc(d time.Duration, f func()) event.ClockTimer {
	if cfg := s.LoopConfig; cfg != nil && cfg.Clock != nil {
		return cfg.Clock.AfterFunc(d, f)
	}
	return time.AfterFunc(d, f)
}

// beginShutdown notifies the parked requests that Shutdown has begun.
func (h2 *http2Server) beginShutdown() {
	h2.requests.Range(func(_, slot any) bool {
		if p := slot.(*http2Slot).parked.Load(); p != nil && p != handlerReturned {
			p.mu.Lock()
			p.unlockGone(http.ErrServerClosed)
		}
		return true
	})
}

// begin begins the response, with the status 200 unless there is one.
func (a *http2Response) begin() {
	if a.status == 0 {
		a.writeHeader(http.StatusOK)
	}
}

// setStatus is WriteHeader of http.ResponseWriter. It panics for an invalid status, as that does.
func (a *http2Response) setStatus(status int) {
	switch {
	case a.status != 0:
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	case status < http.StatusOK && a.pending >= server.DefaultMaxOutput: // the client does not even read the informational heads before
		return
	}
	a.writeHeader(status)
	a.wake()
}

// writeHeader queues a head.
func (a *http2Response) writeHeader(status int) {
	if status >= http.StatusOK {
		a.status = status
		if n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 && allowsBody(status) {
			a.left = n
		}
	}
	a.add(http2Write{status: status, header: a.header.Clone()})
}

// add queues a part of the response.
func (a *http2Response) add(part http2Write) {
	a.queue = append(a.queue, part)
	a.pending += part.size()
}

// size returns the number of bytes by which the part counts.
func (part *http2Write) size() int { return len(part.body) + http2WriteCost }

// writeBody queues a part of the body, which must not change any more. done, if not nil, is called with the outcome, unless writeBody fails.
func (a *http2Response) writeBody(b []byte, done func(error)) error {
	switch {
	case a.status != 0 && !allowsBody(a.status):
		return http.ErrBodyNotAllowed
	case a.status == 0:
		a.begin()
	}
	if a.left >= 0 {
		if int64(len(b)) > a.left {
			return http.ErrContentLength
		}
		a.left -= int64(len(b))
	}
	a.add(http2Write{body: b, done: done})
	a.written += len(b)
	a.streams = a.streams || a.written > maxGathered
	a.wake()
	return nil
}

// flush sends the head and what was written.
func (a *http2Response) flush() {
	a.begin()
	a.streams = true
	a.wake()
}

// notify queues the call of done.
func (a *http2Response) notify(done func(error)) error {
	if a.pending >= server.DefaultMaxOutput {
		return fmt.Errorf("%w: %d bytes of the response wait, the limit is %d", server.ErrFull, a.pending, server.DefaultMaxOutput)
	}
	a.add(http2Write{done: done})
	a.wake()
	return nil
}

// wake makes the goroutine of the request look at the queue again.
func (a *http2Response) wake() {
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

// finish completes the response. done, if not nil, is called with the outcome.
func (a *http2Response) finish(done func(error)) {
	a.begin()
	if done != nil {
		a.add(http2Write{done: done})
	}
	a.trailer, a.over = a.header.Clone(), true
	a.wake()
}

// abort resets the stream, which also ends a call of package net/http that waits for the client.
func (a *http2Response) abort() {
	a.over, a.aborted = true, true
	if a.writes {
		_ = http.NewResponseController(a.w).SetWriteDeadline(time.Unix(1, 0)) // resets the stream at once; there is no other error
	}
	a.wake()
}

// serve calls the handler, and waits until the response has ended if it was parked. It is the http.Handler for requests of HTTP/2.
func (h2 *http2Server) serve(w http.ResponseWriter, r *http.Request) {
	slot := new(http2Slot)
	h2.requests.Store(w, slot)
	defer h2.requests.Delete(w)
	returned := false
	defer func() {
		if slot.parked.CompareAndSwap(nil, handlerReturned) {
			return
		}
		p := slot.parked.Load()
		h2.h.s.parked.Add(-1)
		if !returned {
			p.fail(errHandlerFailed)
		}
		p.endHTTP2(context.Cause(r.Context()))
	}()
	h2.h.handler.ServeHTTP(w, r)
	returned = true
	if p := slot.parked.Load(); p != nil {
		p.serveHTTP2(w, r)
	}
}

// serveHTTP2 writes the response until it has ended, on the goroutine of the request. It panics with http.ErrAbortHandler to reset the stream,
// so that the client does not take the response for complete.
func (p *Parked) serveHTTP2(w http.ResponseWriter, r *http.Request) {
	for {
		p.mu.Lock()
		a := p.h2
		queue, over, aborted, streams := a.queue, a.over, a.aborted, a.streams
		a.queue, a.writes = nil, !aborted
		p.mu.Unlock()
		if aborted {
			report(queue, ErrEnded)
			panic(http.ErrAbortHandler)
		}
		p.writeHTTP2(w, queue)
		if streams && !over {
			_ = http.NewResponseController(w).Flush() // fails if the stream is closed, and then the context has ended
		}
		p.mu.Lock()
		a.writes = false
		p.mu.Unlock()
		tell(queue)
		if over {
			p.addTrailer(w)
			return
		}
		select {
		case <-a.woken:
		case <-r.Context().Done():
			return
		}
	}
}

// report calls the functions of queue with err, since nothing of it is written.
func report(queue []http2Write, err error) {
	for i := range queue {
		queue[i].err = err
	}
	tell(queue)
}

// tell calls the functions of queue, also those after one that panics or ends the goroutine.
func tell(queue []http2Write) {
	callback.Each(queue, func(part http2Write) {
		err := part.err
		if err != nil {
			err = &endedError{"httpd: the response was not written: " + err.Error(), err}
		}
		if part.done != nil {
			part.done(err)
		}
	})
}

// writeHTTP2 writes the parts in queue. Package net/http refuses one after the end of the stream, and one that the status or the Content-Length
// does not permit, which the handler may have set before Park. The response then continues, as it does for a handler.
func (p *Parked) writeHTTP2(w http.ResponseWriter, queue []http2Write) {
	for i := range queue {
		part := &queue[i]
		if part.status != 0 {
			h := w.Header()
			clear(h)
			maps.Copy(h, part.header)
			w.WriteHeader(part.status)
		}
		if len(part.body) > 0 {
			_, part.err = w.Write(part.body)
		}
		p.mu.Lock()
		p.h2.pending -= part.size()
		p.mu.Unlock()
	}
}

// addTrailer gives the fields that may be in the trailer to package net/http.
func (p *Parked) addTrailer(w http.ResponseWriter) {
	p.mu.Lock()
	trailer := p.h2.trailer
	p.mu.Unlock()
	h := w.Header()
	for key, values := range trailer {
		if strings.HasPrefix(key, http.TrailerPrefix) || len(h["Trailer"]) > 0 {
			h[key] = values
		}
	}
}

// endHTTP2 is called when the goroutine of the request ends. If the response has not ended, the client is gone.
func (p *Parked) endHTTP2(cause error) {
	p.mu.Lock()
	queue := p.h2.queue
	p.h2.queue = nil
	if p.state <= parkClosing {
		p.state, p.h2.over = parkLost, true
	}
	if timer := p.h2.timer; timer != nil {
		timer.Stop()
	}
	if cause == nil {
		cause = server.ErrClosed
	}
	p.unlockGone(cause)
	report(queue, server.ErrClosed)
}
