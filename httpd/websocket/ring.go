package websocket

import (
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
)

// A ring has the open WebSockets of a Handler on one loop, by the time of their next check. One timer of the loop serves all of them, so that pings and
// deadlines cost a WebSocket neither a goroutine nor a timer.
type ring struct {
	h     *Handler
	loop  *event.Loop
	shift uint // a tick is 1<<shift ns

	mu     sync.Mutex // guards what follows, and ticket of each Conn of the ring
	slots  [slots]*Conn
	len    int
	timer  *event.Event // nil if no WebSocket is to be checked
	last   uint32       // the last tick whose slot was looked at
	due    []*Conn      // for use again
	counts *counts
}

// slots is the number of slots of a ring. A check that is due after more ticks stays in its slot for several rounds.
const slots = 16

// A ticket is the place of a Conn in its ring.
type ticket struct {
	ring       *ring // nil before open, and when the connection has ended
	prev, next *Conn
	at         uint32 // the tick of the next check
}

// counts are the counters of a ring, or of rings that are gone. Any goroutine.
type counts struct {
	opened, received, sent, full, violations, pings atomic.Uint64
}

// add adds the counters of d.
func (c *counts) add(d *counts) {
	c.opened.Add(d.opened.Load())
	c.received.Add(d.received.Load())
	c.sent.Add(d.sent.Load())
	c.full.Add(d.full.Load())
	c.violations.Add(d.violations.Load())
	c.pings.Add(d.pings.Load())
}

// tickShift returns the shift for a Config: a tick is at most an eighth of the shortest time that is checked, and about a millisecond at least.
func (c *Config) tickShift() uint {
	shortest := time.Duration(-1)
	for _, d := range []time.Duration{c.PingInterval, c.PongTimeout, c.IdleTimeout} {
		if d > 0 && (shortest < 0 || d < shortest) {
			shortest = d
		}
	}
	return uint(max(20, bits.Len64(uint64(max(shortest, 0))/8)-1))
}

// checks reports whether WebSockets are checked at all.
func (c *Config) checks() bool { return c.PingInterval > 0 || c.IdleTimeout > 0 }

// now returns the present tick.
func (r *ring) now() uint32 { return uint32(r.loop.Now() >> r.shift) }

// ticks returns the number of ticks that d takes, rounded up, and one more, since the present tick has begun.
func (r *ring) ticks(d time.Duration) uint32 { return uint32((d+1<<r.shift-1)>>r.shift) + 1 }

// join puts an open Conn into the ring of its loop.
func (h *Handler) join(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	loop := c.sc.Loop()
	r := h.rings[loop]
	if r == nil {
		r = &ring{h: h, loop: loop, shift: h.cfg.tickShift(), counts: new(counts)}
		r.last = r.now()
		if h.cfg.checks() {
			r.timer, _ = loop.NewTimer(func(*event.Event, event.Flags) { r.tick() }) // fails if the loop is closed, and then the connections end
		}
		h.rings[loop] = r
	}
	r.counts.opened.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	c.heard, c.spoke = r.now()|1, r.now()
	c.ticket = ticket{ring: r, at: c.nextCheck(r, r.now())}
	r.link(c)
	if r.len++; r.len == 1 {
		r.start()
	}
}

// part takes a Conn whose connection has ended out of its ring.
func (h *Handler) part(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := c.ticket.ring
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unlink(c)
	c.ticket = ticket{}
	if r.len--; r.len > 0 {
		return
	}
	if r.timer != nil {
		_ = r.timer.Del() // fails if the loop is closed
	}
	h.gone.add(r.counts)
	delete(h.rings, r.loop)
}

// link puts c into the slot of its tick. Under mu.
func (r *ring) link(c *Conn) {
	slot := &r.slots[c.ticket.at%slots]
	if c.ticket.next = *slot; *slot != nil {
		(*slot).ticket.prev = c
	}
	*slot = c
}

// unlink takes c out of its slot. Under mu.
func (r *ring) unlink(c *Conn) {
	t := &c.ticket
	if t.prev != nil {
		t.prev.ticket.next = t.next
	} else {
		r.slots[t.at%slots] = t.next
	}
	if t.next != nil {
		t.next.ticket.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

// start starts the timer. Under mu.
func (r *ring) start() {
	if r.timer != nil {
		_ = r.timer.Add(1 << r.shift) // fails if the loop is closed
	}
}

// tick checks the WebSockets that are due. On the loop.
func (r *ring) tick() {
	now := r.now()
	r.mu.Lock()
	due := r.due[:0]
	for n := min(now-r.last, slots); n > 0; n-- {
		for c := r.slots[(now-n+1)%slots]; c != nil; c = c.ticket.next {
			if int32(c.ticket.at-now) <= 0 {
				due = append(due, c)
			}
		}
	}
	r.last = now
	r.mu.Unlock()
	for _, c := range due {
		next := c.check(r, now)
		r.mu.Lock()
		if c.ticket.ring == r {
			r.unlink(c)
			c.ticket.at = next
			r.link(c)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	clear(due)
	r.due = due[:0]
	if r.len > 0 {
		r.start()
	}
	r.mu.Unlock()
}

// Conns returns an iterator over the open WebSockets. Those that begin or end meanwhile may be left out or included. Any goroutine.
func (h *Handler) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range h.all() {
			if !yield(c) {
				return
			}
		}
	}
}

// all returns the open WebSockets.
func (h *Handler) all() (all []*Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rings {
		r.mu.Lock()
		for _, c := range r.slots {
			for ; c != nil; c = c.ticket.next {
				all = append(all, c)
			}
		}
		r.mu.Unlock()
	}
	return all
}
