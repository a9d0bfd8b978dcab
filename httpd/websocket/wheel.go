package websocket

import (
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
)

// A wheel is the timer wheel of the open WebSockets of a Handler on one loop, which has each of them by the time of its next check. One timer of the loop
// serves all of them, so that pings and deadlines cost a WebSocket neither a goroutine nor a timer.
type wheel struct {
	h     *Handler
	loop  *event.Loop
	shift uint // a tick is 1<<shift ns

	mu     sync.Mutex // guards what follows, and entry of each Conn of the wheel
	slots  [slots]*Conn
	len    int
	timer  *event.Event // nil if the Config has no time to be checked
	last   uint32       // the latest tick whose slot was checked
	due    []*Conn      // of tick, empty between two calls; its memory is used again
	counts *counts
}

// slots is the number of slots of a wheel. A check that is due after more ticks stays in its slot for several rounds.
const slots = 16

// A wheelEntry is the place of a Conn in its wheel.
type wheelEntry struct {
	wheel      *wheel // nil before open, and when the connection has ended
	prev, next *Conn
	at         uint32 // the tick of the next check
	began      uint32 // that of the beginning of a message that is not complete, or 0. Under mu of the Conn while it is open
}

// counts are the counters of a wheel, or of wheels that are gone. Any goroutine.
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
	for _, d := range []time.Duration{c.PingInterval, c.PongTimeout, c.IdleTimeout, c.MessageTimeout} {
		if d > 0 && (shortest < 0 || d < shortest) {
			shortest = d
		}
	}
	return uint(max(20, bits.Len64(uint64(max(shortest, 0))/8)-1))
}

// checks reports whether WebSockets are checked at all.
func (c *Config) checks() bool {
	return c.PingInterval > 0 || c.IdleTimeout > 0 || c.MessageTimeout > 0
}

// now returns the present tick.
func (w *wheel) now() uint32 { return uint32(w.loop.Now() >> w.shift) }

// ticks returns the number of ticks that d takes, rounded up, and one more, since the present tick has begun.
func (w *wheel) ticks(d time.Duration) uint32 { return uint32((d+1<<w.shift-1)>>w.shift) + 1 }

// add puts an open Conn into the wheel of its loop.
func (h *Handler) add(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	loop := c.sc.Loop()
	w := h.wheels[loop]
	if w == nil {
		w = &wheel{h: h, loop: loop, shift: h.cfg.tickShift(), counts: new(counts)}
		w.last = w.now()
		if h.cfg.checks() {
			w.timer, _ = loop.NewTimer(func(*event.Event, event.Flags) { w.tick() }) // fails if the loop is closed, and then the connections end
		}
		h.wheels[loop] = w
	}
	w.counts.opened.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	c.lastInput, c.lastMessage = w.now()|1, w.now()
	c.entry = wheelEntry{wheel: w, at: c.nextCheck(w, w.now())}
	w.link(c)
	if w.len++; w.len == 1 {
		w.start()
	}
}

// remove takes a Conn whose connection has ended out of its wheel.
func (h *Handler) remove(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := c.entry.wheel
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(c)
	c.entry = wheelEntry{}
	if w.len--; w.len > 0 {
		return
	}
	if w.timer != nil {
		_ = w.timer.Del() // fails if the loop is closed
	}
	h.gone.add(w.counts)
	delete(h.wheels, w.loop)
}

// link puts c into the slot of its tick. Under mu.
func (w *wheel) link(c *Conn) {
	slot := &w.slots[c.entry.at%slots]
	if c.entry.next = *slot; *slot != nil {
		(*slot).entry.prev = c
	}
	*slot = c
}

// unlink takes c out of its slot. Under mu.
func (w *wheel) unlink(c *Conn) {
	t := &c.entry
	if t.prev != nil {
		t.prev.entry.next = t.next
	} else {
		w.slots[t.at%slots] = t.next
	}
	if t.next != nil {
		t.next.entry.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

// start starts the timer. Under mu.
func (w *wheel) start() {
	if w.timer != nil {
		_ = w.timer.Add(1 << w.shift) // fails if the loop is closed
	}
}

// tick checks the WebSockets that are due. On the loop.
func (w *wheel) tick() {
	now := w.now()
	w.mu.Lock()
	due := w.due[:0]
	for n := min(now-w.last, slots); n > 0; n-- {
		for c := w.slots[(now-n+1)%slots]; c != nil; c = c.entry.next {
			if int32(c.entry.at-now) <= 0 {
				due = append(due, c)
			}
		}
	}
	w.last = now
	w.mu.Unlock()
	for _, c := range due {
		next := c.check(w, now)
		w.mu.Lock()
		if c.entry.wheel == w {
			w.unlink(c)
			c.entry.at = next
			w.link(c)
		}
		w.mu.Unlock()
	}
	w.mu.Lock()
	clear(due)
	w.due = due[:0]
	if w.len > 0 {
		w.start()
	}
	w.mu.Unlock()
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
	for _, w := range h.wheels {
		w.mu.Lock()
		for _, c := range w.slots {
			for ; c != nil; c = c.entry.next {
				all = append(all, c)
			}
		}
		w.mu.Unlock()
	}
	return all
}
