package watch

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// MaxWatchers is the maximum number of watchers of a Hub, that of memcached.
const MaxWatchers = 20

// Errors of Hub.Add: ErrTooMany above MaxWatchers, ErrClosed after Close.
var (
	ErrTooMany = errors.New("watch: too many watchers")
	ErrClosed  = errors.New("watch: hub is closed")
)

// Counts are numbers of lines since the hub was made.
type Counts struct {
	Written uint64 // written to a buffer
	Dropped uint64 // dropped because a buffer was full
	Sent    uint64 // sent to watchers, counted for each watcher
	Skipped uint64 // skipped because a watcher had no room, counted for each watcher
}

// A Hub delivers the lines of its buffers to its watchers. Its goroutine runs from the first Add until Close.
type Hub struct {
	bufferSize, watcherSize int

	wanted  atomic.Uint32 // the union of the watchers' Events
	numbers atomic.Uint64 // the number of the last line
	written atomic.Uint64
	dropped atomic.Uint64
	wake    chan struct{} // of capacity 1: a buffer has lines

	mu       sync.Mutex // guards the fields below
	buffers  []*Buffer
	watchers []*Watcher
	heads    [][]byte // the rest of each buffer's records during deliver
	sent     uint64
	skipped  uint64
	running  bool
	closed   bool
	done     chan struct{} // closed by Close
	ended    sync.WaitGroup
}

// NewHub makes a hub whose buffers hold bufferSize bytes, and whose watchers hold watcherSize bytes that their client has not read.
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

// Retire delivers the remaining lines of b and removes b from the hub. Any goroutine.
func (h *Hub) Retire(b *Buffer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deliver()
	h.buffers = slices.DeleteFunc(h.buffers, func(other *Buffer) bool { return other == b })
}

// Add adds a watcher: lines about events from now on are written to sink, which is called with the hub's lock held. Errors: ErrTooMany,
// ErrClosed. Any goroutine.
func (h *Hub) Add(sink Sink, events Events) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrClosed
	case len(h.watchers) >= MaxWatchers:
		return nil, ErrTooMany
	}
	h.deliver() // earlier lines are not for the new watcher
	w := &Watcher{sink: sink, events: events, limit: h.watcherSize, after: h.numbers.Load()}
	h.watchers = append(h.watchers, w)
	h.setWanted()
	if !h.running {
		h.running = true
		h.ended.Go(h.run)
	}
	return w, nil
}

// Remove removes a watcher. Its sink is not called after Remove has returned. Any goroutine.
func (h *Hub) Remove(w *Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers = slices.DeleteFunc(h.watchers, func(other *Watcher) bool { return other == w })
	h.setWanted()
}

// setWanted updates wanted. h.mu must be held.
func (h *Hub) setWanted() {
	var all Events
	for _, w := range h.watchers {
		all |= w.events
	}
	h.wanted.Store(uint32(all))
}

// Watchers returns the number of watchers. Any goroutine.
func (h *Hub) Watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers)
}

// Counts returns the numbers of lines since the hub was made. Any goroutine.
func (h *Hub) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Counts{Written: h.written.Load(), Dropped: h.dropped.Load(), Sent: h.sent, Skipped: h.skipped}
}

// Close removes all watchers and waits for the hub's goroutine to end. May block.
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
