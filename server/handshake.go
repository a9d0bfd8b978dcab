package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/evmq/evmq/event"
)

// handshakes bounds the goroutines of TLS handshakes. Handshakes above the limit wait in a queue, first in, first out. While one waits, the
// oldest running handshake is ended when it has waited for its client for maxWait. Otherwise clients that send a ClientHello and then
// little or nothing could use all places until HandshakeTimeout.
type handshakes struct {
	mu      sync.Mutex // guards all but limit and clock, whose methods are called while it is held
	limit   int
	clock   event.Clock
	running map[*Conn]*list.Element // the element of oldest, or nil if the handshake must not be ended
	oldest  list.List               // of *runningHandshake: those that may be ended, in the order in which they began
	evicted int                     // handshakes that were ended and have not returned yet
	waiting list.List               // of *Conn, in the order in which they came
	watch   event.ClockTimer        // runs while one waits
	stopped bool
	zero    chan struct{} // made by ended; closed when no handshake runs
}

// runningHandshake is a handshake that runs, in which this side is the server.
type runningHandshake struct {
	c     *Conn
	began time.Duration
}

// ended returns a channel that is closed when no handshake runs.
func (h *handshakes) ended() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	zero := make(chan struct{})
	if len(h.running) == 0 {
		close(zero)
	} else {
		h.zero = zero
	}
	return zero
}

// len returns the number of running handshakes.
func (h *handshakes) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.running)
}

// maxHandshakeWait is the time for which a handshake may wait for its client in total while others wait for a place. It is many round
// trips, so that a distant client is not rejected when many connect at once. While many wait, the time is shorter, down to half; see
// maxWait.
const maxHandshakeWait = time.Second

// minEvictInterval is the least time between two checks of the running handshakes.
const minEvictInterval = 10 * time.Millisecond

// maxWait returns the time for which a handshake may now wait for its client in total. Under mu.
func (h *handshakes) maxWait() time.Duration {
	shorter := time.Duration(float64(maxHandshakeWait) * float64(h.limit) / float64(h.limit+h.waiting.Len()))
	return max(maxHandshakeWait/2, shorter)
}

// enter reports whether c's handshake may run now. If it may not, it waits for a place.
func (h *handshakes) enter(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.running) < h.limit {
		h.begin(c)
		return true
	}
	c.ext.tls.waits = h.waiting.PushBack(c)
	h.evict()
	return false
}

// leave removes c, which is closed, from the queue.
func (h *handshakes) leave(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := c.ext.tls.waits; e != nil {
		h.waiting.Remove(e)
		c.ext.tls.waits = nil
	}
}

// begin records that c's handshake runs. Under mu.
func (h *handshakes) begin(c *Conn) {
	h.running[c] = nil
	if !c.ext.tls.client {
		h.running[c] = h.oldest.PushBack(&runningHandshake{c, h.clock.Now()})
	}
}

// evict ends handshakes that have waited for their clients for maxWait, the oldest first, at most as many as wait for a place. It starts
// the timer that calls it again while one waits. The time that the server itself computes does not count. Under mu.
func (h *handshakes) evict() {
	now, limit := h.clock.Now(), h.maxWait()
	again := limit
	for e := h.oldest.Front(); e != nil && h.evicted < h.waiting.Len(); {
		r, next := e.Value.(*runningHandshake), e.Next()
		if age := now - r.began; age < limit {
			again = min(again, limit-age)
			break
		}
		stalled := r.c.ext.tls.pipe.Stalled()
		if stalled >= limit {
			h.oldest.Remove(e)
			h.running[r.c] = nil
			h.evicted++
			r.c.abort(fmt.Errorf("%w: %w", ErrHandshake, timeoutError(fmt.Sprintf("its client took %v while others waited", limit))))
		} else {
			again = min(again, limit-stalled)
		}
		e = next
	}
	if h.stopped {
		return
	}
	if h.watch == nil {
		h.watch = h.clock.AfterFunc(again, h.onTimer)
	} else {
		h.watch.Reset(max(again, minEvictInterval))
	}
}

// onTimer calls evict if a handshake waits. It is the timer's function.
func (h *handshakes) onTimer() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.Len() > 0 {
		h.evict()
	}
}

// stop stops the timer.
func (h *handshakes) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.watch != nil {
		h.watch.Stop()
	}
}

// next records the end of c's handshake, and returns the connection whose handshake gets its place, or nil if none waits.
func (h *handshakes) next(c *Conn) *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.running[c]; e != nil {
		h.oldest.Remove(e)
	} else if !c.ext.tls.client {
		h.evicted--
	}
	delete(h.running, c)
	first := h.waiting.Front()
	if first == nil {
		if len(h.running) == 0 && h.zero != nil {
			close(h.zero)
			h.zero = nil
		}
		return nil
	}
	c = h.waiting.Remove(first).(*Conn)
	c.ext.tls.waits = nil
	h.begin(c)
	return c
}

// startHandshake starts the TLS handshake on a goroutine, or queues it if the limit is reached.
func (c *loopConn) startHandshake() {
	t := c.ext.tls
	c.setHandshake(handshakeRuns)
	if t.client {
		t.conn = tls.Client(t.pipe, t.config)
	} else {
		t.conn = tls.Server(t.pipe, t.config)
	}
	s := c.loop.srv
	if s.handshakes.enter(&c.Conn) {
		go s.runHandshakes(&c.Conn)
	}
}

// runHandshakes runs the handshake of c and then those of the queue.
func (s *Server) runHandshakes(c *Conn) {
	label(handshakeLabels)
	for ; c != nil; c = s.handshakes.next(c) {
		s.runHandshake(c)
	}
}

// runHandshake runs the handshake of c. The user's functions in the tls.Config may panic or call runtime.Goexit, as a handler may.
func (s *Server) runHandshake(c *Conn) {
	t := c.ext.tls
	err := ErrPanic
	returns := false
	defer func() {
		if !returns { // this goroutine ends, so another one runs the queue
			go s.runHandshakes(s.handshakes.next(c))
		}
	}()
	defer func() {
		t.pipe.Finish(err)
		c.mu.Lock()
		c.ext.tls.endHandshakeContext()
		queue := c.mark(cmdHandshaken)
		c.mu.Unlock()
		c.enqueue(queue)
	}()
	defer func() {
		if returns {
			return
		}
		if v := recover(); v != nil {
			if s.cfg.OnPanic == nil {
				panic(v)
			}
			s.cfg.OnPanic(c, v, debug.Stack()) // which may call runtime.Goexit
			returns = true
		}
	}()
	ctx := t.handshakeContext(c)
	err = t.conn.HandshakeContext(ctx)
	returns = true
}

// handshakeContext returns the context of a handshake, which ends with the connection. If Context was not called before, it is not that of
// Context, which would need memory as long as the connection exists.
func (t *tlsState) handshakeContext(c *Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if used := c.ext.ctx; used != nil {
		return used.Context
	}
	ctx, cancel := context.WithCancelCause(c.loop.srv.baseCtx)
	t.cancel = cancel
	if c.state.isDead() {
		c.endContext()
	}
	return ctx
}

// endHandshakeContext releases the context of handshakeContext. Under mu.
func (t *tlsState) endHandshakeContext() {
	if t.cancel != nil {
		t.cancel(nil)
		t.cancel = nil
	}
}

// writeAlert writes the alert of a failed handshake, which tells the peer the reason. Its error is ignored, since the connection ends.
func (c *loopConn) writeAlert() {
	if p := c.ext.tls.pipe.TakeOutput(); len(p) > 0 {
		_, _ = c.loop.srv.calls.Write(c.ev.FD(), p)
	}
}

// stopHandshake ends the handshake of a connection that is being closed.
func (c *loopConn) stopHandshake() {
	if !c.layers.has(layerTLS) {
		return
	}
	c.mu.Lock()
	detached := c.ext.detached
	c.mu.Unlock()
	if c.handshake().isUnderWay() {
		c.loop.srv.totals.failedHandshakes.Add(1)
		c.loop.srv.handshakes.leave(&c.Conn)
	}
	if !detached {
		_ = c.ext.tls.pipe.Close() // never fails
	}
	c.recountTLS()
}
