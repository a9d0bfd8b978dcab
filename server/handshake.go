package server

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// handshakes bounds the goroutines that shake hands, and knows who waits for one, first in, first out. While somebody waits, a
// client that is silent for stallPatience in the middle of its handshake loses its place, or a few hundred of them could keep all
// others out until HandshakeTimeout.
type handshakes struct {
	mu      sync.Mutex
	limit   int
	running map[*Conn]struct{}
	waiting []*Conn
	watch   *time.Timer // runs while somebody waits
	stopped bool
	zero    chan struct{} // made by who waits for all of them
}

// ended is closed when none runs.
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

// len is how many run.
func (h *handshakes) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.running)
}

// stallPatience is many round trips, so that nobody who is only far away is cut off when everybody connects at once.
const stallPatience = time.Second

// enter reports whether c's handshake may run now; otherwise it waits.
func (h *handshakes) enter(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.running) < h.limit {
		h.running[c] = struct{}{}
		return true
	}
	h.waiting = append(h.waiting, c)
	if h.watch == nil && !h.stopped {
		h.watch = time.AfterFunc(0, h.evict)
	}
	return false
}

// evict ends the handshakes that have stalled, as many as there are others that wait, and looks again after a while.
func (h *handshakes) evict() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 || h.stopped {
		h.watch = nil
		return
	}
	wanted := len(h.waiting)
	for c := range h.running {
		if t := c.ext.tls; wanted > 0 && !t.client && t.pipe.stalled() > stallPatience {
			c.abort(fmt.Errorf("%w: silent for %v while others waited", ErrHandshake, stallPatience))
			wanted--
		}
	}
	h.watch.Reset(stallPatience / 4)
}

// stop ends the watch.
func (h *handshakes) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.watch != nil {
		h.watch.Stop()
	}
}

// next returns the next one that waits when c's has ended, nil when the goroutine is to end.
func (h *handshakes) next(c *Conn) *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, c)
	if len(h.waiting) == 0 {
		if len(h.running) == 0 && h.zero != nil {
			close(h.zero)
			h.zero = nil
		}
		h.waiting = nil
		return nil
	}
	c = h.waiting[0]
	h.running[c] = struct{}{}
	h.waiting[0] = nil
	h.waiting = h.waiting[1:]
	return c
}

// shakeHands begins the handshake, on a goroutine of its own if there may be one more, else when one has ended.
func (c *Conn) shakeHands() {
	c.ext.tls.started = true
	s := c.loop.srv
	if s.shaking.enter(c) {
		go s.shakeAll(c)
	}
}

// isShaking reports whether a handshake has begun, with a whole ClientHello; there may be none to come. On the loop.
func (c *Conn) isShaking() bool { return c.flags&flagTLS != 0 && c.ext.tls.started }

// shakeAll shakes hands with c and then with those who wait.
func (s *Server) shakeAll(c *Conn) {
	for ; c != nil; c = s.shaking.next(c) {
		s.shake(c)
	}
}

// shake shakes hands with c. The user's functions in the tls.Config may panic or call runtime.Goexit, as a handler may.
func (s *Server) shake(c *Conn) {
	t := c.ext.tls
	err := ErrPanic
	normal := false
	defer func() {
		if !normal {
			if v := recover(); v != nil {
				if s.OnPanic == nil {
					panic(v)
				}
				s.OnPanic(c, v, debug.Stack())
			} else {
				go s.shakeAll(s.shaking.next(c))
			}
		}
		t.pipe.finish(err)
		c.mu.Lock()
		tell := c.mark(cmdHandshaken)
		c.mu.Unlock()
		c.tell(tell)
	}()
	err = t.conn.HandshakeContext(c.Context())
	normal = true
}

// handshaken goes on after the handshake.
func (c *Conn) handshaken() {
	if c.flags&(flagGone|flagHandshake) != flagHandshake {
		return
	}
	t := c.ext.tls
	s := c.loop.srv
	if err := t.pipe.result(); err != nil {
		c.writeAlert()
		c.fail(fmt.Errorf("%w: %w", ErrHandshake, err))
		return
	}
	s.totals.handshakes.Add(1)
	c.flags &^= flagHandshake | flagStuffed
	c.flags |= flagMore // what has come behind the handshake
	c.sinceNow()
	c.last = momentOf(c.loop.now())
	c.opened()
}

// writeAlert gives the kernel what a failed handshake leaves: the alert that says why. Whether it takes it does not matter.
func (c *Conn) writeAlert() {
	if p := c.ext.tls.pipe.takeOutput(); len(p) > 0 {
		_, _ = c.loop.srv.calls.Write(c.ev.FD(), p)
	}
}

// stopHandshake lets a handshake that runs fail, when its connection is closed.
func (c *Conn) stopHandshake() {
	if c.flags&flagTLS == 0 {
		return
	}
	t := c.ext.tls
	if c.flags&flagHandshake != 0 {
		c.loop.srv.totals.failedHandshakes.Add(1)
	}
	_ = t.pipe.Close() // never fails
}
