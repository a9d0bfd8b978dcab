package watch

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// MaxWatchers is how many watchers a Hub has at most, as memcached.
const MaxWatchers = 20

// ErrTooMany is the error of a watcher above MaxWatchers, ErrClosed that of one that comes after Close.
var (
	ErrTooMany = errors.New("watch: too many watchers")
	ErrClosed  = errors.New("watch: hub is closed")
)

// Counts are what has become of lines.
type Counts struct {
	Written uint64 // lines that buffers have taken
	Dropped uint64 // lines for which a buffer had no room
	Sent    uint64 // lines that watchers were given, once for each watcher
	Skipped uint64 // lines for which a watcher had no room
}

// A Hub brings the lines of its buffers to its watchers.
type Hub struct {
	bufferSize, watcherSize int

	wanted  atomic.Uint32 // the Events that some watcher has asked for
	numbers atomic.Uint64 // the number of the last line
	written atomic.Uint64
	dropped atomic.Uint64
	wake    chan struct{} // has room for one: a buffer has lines

	mu       sync.Mutex // guards the fields below
	buffers  []*Buffer
	watchers []*Watcher
	heads    [][]byte // of deliver: what is left of each buffer's records
	sent     uint64
	skipped  uint64
	running  bool
	closed   bool
	done     chan struct{} // closed by Close
	ended    sync.WaitGroup
}

// NewHub makes a hub. A buffer holds bufferSize bytes of lines, and a watcher watcherSize bytes that its client has not taken.
func NewHub(bufferSize, watcherSize int) *Hub {
	return &Hub{bufferSize: bufferSize, watcherSize: watcherSize, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Wants reports whether a watcher has asked for one of the events. Any goroutine.
func (h *Hub) Wants(e Events) bool { return Events(h.wanted.Load())&e != 0 }

// NewBuffer makes a buffer whose lines the hub delivers. Any goroutine.
func (h *Hub) NewBuffer() *Buffer {
	b := &Buffer{hub: h}
	h.mu.Lock()
	h.buffers = append(h.buffers, b)
	h.mu.Unlock()
	return b
}

// Retire delivers what b still has, and forgets it. Any goroutine.
func (h *Hub) Retire(b *Buffer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deliver()
	h.buffers = slices.DeleteFunc(h.buffers, func(other *Buffer) bool { return other == b })
}

// Add gives the sink the lines about events from now on. The sink is called on the hub's goroutine. Errors: ErrTooMany, ErrClosed. Any
// goroutine.
func (h *Hub) Add(sink Sink, events Events) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrClosed
	case len(h.watchers) >= MaxWatchers:
		return nil, ErrTooMany
	}
	h.deliver() // what is about the time before is not for the new one
	w := &Watcher{sink: sink, events: events, limit: h.watcherSize, after: h.numbers.Load()}
	h.watchers = append(h.watchers, w)
	h.setWanted()
	if !h.running {
		h.running = true
		h.ended.Go(h.run)
	}
	return w, nil
}

// Remove ends a watcher: its sink is not called when Remove has returned. Any goroutine.
func (h *Hub) Remove(w *Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers = slices.DeleteFunc(h.watchers, func(other *Watcher) bool { return other == w })
	h.setWanted()
}

// setWanted tells the sources what is asked for. With h.mu.
func (h *Hub) setWanted() {
	var all Events
	for _, w := range h.watchers {
		all |= w.events
	}
	h.wanted.Store(uint32(all))
}

// Watchers is how many there are. Any goroutine.
func (h *Hub) Watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers)
}

// Counts returns what has become of lines since the hub was made. Any goroutine.
func (h *Hub) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Counts{Written: h.written.Load(), Dropped: h.dropped.Load(), Sent: h.sent, Skipped: h.skipped}
}

// Close ends all watchers and the hub's goroutine. May block.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		h.watchers = nil
		h.setWanted()
		close(h.done)
	}
	h.mu.Unlock()
	h.ended.Wait()
}

// run delivers until Close.
func (h *Hub) run() {
	for {
		select {
		case <-h.done:
			return
		case <-h.wake:
			h.mu.Lock()
			h.deliver()
			h.mu.Unlock()
		}
	}
}
