package httpd

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/server"
)

// http2Key is the key of the http2Server in the contexts of its requests.
type http2Key struct{}

// An http2Answer is the answer of a Parked to a request of HTTP/2. The goroutine of the request writes what others have queued. Under the mu of
// the Parked.
type http2Answer struct {
	header  http.Header // of the program
	status  int         // 0 before the answer has begun
	queue   []http2Write
	pending int           // bytes that were queued and are not written
	woken   chan struct{} // receives a value when the goroutine of the request has to look again
	timer   *time.Timer   // of Timeout; nil without
	over    bool          // nothing is queued any more
	aborted bool          // the stream is to be reset
}

// An http2Write is a part of the answer.
type http2Write struct {
	status int         // of a head; 0 for none
	header http.Header // of the head
	body   []byte
	done   func(error) // nil for none
}

// An http2Slot belongs to a request of HTTP/2 whose handler runs or is parked.
type http2Slot struct{ parked atomic.Pointer[Parked] }

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
	p.h2 = &http2Answer{header: w.Header().Clone(), woken: make(chan struct{}, 1)}
	if !known.(*http2Slot).parked.CompareAndSwap(nil, p) {
		return ErrParked
	}
	h2.h.s.parked.Add(1)
	if cfg.Timeout > 0 {
		p.mu.Lock()
		p.h2.timer = time.AfterFunc(cfg.Timeout, p.expired)
		p.mu.Unlock()
	}
	if h2.h.s.isClosed() { // beginShutdown may have looked before
		p.mu.Lock()
		p.unlockGone(http.ErrServerClosed)
	}
	return nil
}

// beginShutdown tells the parked requests that Shutdown has begun.
func (h2 *http2Server) beginShutdown() {
	h2.requests.Range(func(_, slot any) bool {
		if p := slot.(*http2Slot).parked.Load(); p != nil {
			p.mu.Lock()
			p.unlockGone(http.ErrServerClosed)
		}
		return true
	})
}

// begin begins the answer, with the status 200 unless there is one.
func (a *http2Answer) begin() {
	if a.status == 0 {
		a.writeHeader(http.StatusOK)
	}
}

// writeHeader queues a head.
func (a *http2Answer) writeHeader(status int) {
	if a.status != 0 {
		return
	}
	if status >= http.StatusOK {
		a.status = status
	}
	a.queue = append(a.queue, http2Write{status: status, header: a.header.Clone()})
}

// write queues a part of the body, which must not change any more.
func (a *http2Answer) write(b []byte, done func(error)) {
	a.begin()
	a.queue = append(a.queue, http2Write{body: b, done: done})
	a.pending += len(b)
	a.wake()
}

// wake makes the goroutine of the request look again.
func (a *http2Answer) wake() {
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

// finish ends the answer.
func (a *http2Answer) finish() {
	a.begin()
	a.over = true
	a.wake()
}

// abort resets the stream.
func (a *http2Answer) abort() {
	a.over, a.aborted = true, true
	a.wake()
}

// serve calls the handler, and waits until the answer has ended if it was parked. It is the http.Handler for requests of HTTP/2.
func (h2 *http2Server) serve(w http.ResponseWriter, r *http.Request) {
	slot := new(http2Slot)
	h2.requests.Store(w, slot)
	defer h2.requests.Delete(w)
	returned := false
	defer func() {
		p := slot.parked.Load()
		if p == nil {
			return
		}
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

// serveHTTP2 writes the answer until it has ended, on the goroutine of the request.
func (p *Parked) serveHTTP2(w http.ResponseWriter, r *http.Request) {
	for {
		p.mu.Lock()
		a := p.h2
		queue, over, aborted, begun := a.queue, a.over, a.aborted, a.status != 0
		a.queue = nil
		p.mu.Unlock()
		if aborted {
			report(queue, ErrEnded)
			panic(http.ErrAbortHandler) // package net/http resets the stream
		}
		err := p.writeHTTP2(w, queue)
		if err == nil && begun && !over {
			err = http.NewResponseController(w).Flush()
		}
		report(queue, err)
		if err != nil {
			return
		}
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

// mayHaveBodyHTTP2 returns an error if the status permits no body. Under mu.
func (p *Parked) mayHaveBodyHTTP2() error {
	if p.h2.status != 0 && !allowsBody(p.h2.status) {
		return http.ErrBodyNotAllowed
	}
	return nil
}

// report calls the functions of queue.
func report(queue []http2Write, err error) {
	if err != nil {
		err = &endedError{"httpd: the answer was not written: " + err.Error(), err}
	}
	for _, write := range queue {
		if write.done != nil {
			write.done(err)
		}
	}
}

// writeHTTP2 writes what is in queue.
func (p *Parked) writeHTTP2(w http.ResponseWriter, queue []http2Write) error {
	for _, write := range queue {
		if write.status != 0 {
			h := w.Header()
			clear(h)
			maps.Copy(h, write.header)
			w.WriteHeader(write.status)
		}
		if len(write.body) == 0 {
			continue
		}
		_, err := w.Write(write.body)
		p.mu.Lock()
		p.h2.pending -= len(write.body)
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// addTrailer gives the fields that may be in the trailer to package net/http.
func (p *Parked) addTrailer(w http.ResponseWriter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := w.Header()
	for key, values := range p.h2.header {
		if strings.HasPrefix(key, http.TrailerPrefix) || len(h["Trailer"]) > 0 {
			h[key] = values
		}
	}
}

// endHTTP2 is called when the goroutine of the request ends. If the answer has not ended, the client is gone.
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
