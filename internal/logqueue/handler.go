// Package logqueue has a slog.Handler that never makes its caller wait: records go through a bounded queue to one goroutine, which alone
// calls the handler behind it. What comes faster than a rate, or finds the queue full because the output does not take it, is left
// out and counted, and a record says how much was.
package logqueue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how much is logged. The zero value is the default.
type Config struct {
	// Rate is how many records a second are let through in the long run, and Burst how many at once. Records of level Error
	// and above are not counted. 0 means DefaultRate and DefaultBurst.
	Rate, Burst int
	// Queue is how many records may wait for the output. 0 means DefaultQueue.
	Queue int
	// Notice is how long after the first record that was left out the count of them is logged, at the latest, if the output takes it.
	// 0 means DefaultNotice.
	Notice time.Duration
	// Now is the clock of Rate. nil means time.Now.
	Now func() time.Time
}

// Defaults of a Config's fields.
const (
	DefaultRate   = 1000
	DefaultBurst  = 1000
	DefaultQueue  = 1024
	DefaultNotice = time.Second
)

// A Handler is a slog.Handler. All methods may be called from any goroutine.
type Handler struct {
	next slog.Handler // with this handler's attributes
	*queue
}

// queue is what a handler and those that are derived from it share.
type queue struct {
	own     slog.Handler // for what the queue itself has to say
	begun   sync.Once    // the goroutine, by the first record
	entries chan entry
	left    chan struct{} // has room for one: records were left out since the last notice
	stop    chan struct{} // closed by Close
	ended   chan struct{} // closed when the goroutine has returned
	closed  atomic.Bool
	skipped atomic.Uint64 // records that were left out since the last notice
	notice  time.Duration
	bucket  bucket
}

// An entry is a record for a handler, or a mark for Flush.
type entry struct {
	next   slog.Handler
	record slog.Record
	mark   chan<- struct{} // closed when all before it is written; nil for a record
}

// New makes a handler in front of next. next is called on one goroutine, which runs from the first record until Close.
func New(next slog.Handler, c Config) *Handler {
	or := func(n, fallback int) int {
		if n == 0 {
			return fallback
		}
		return n
	}
	q := &queue{
		entries: make(chan entry, or(c.Queue, DefaultQueue)), left: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}), notice: c.Notice,
		bucket: bucket{rate: float64(or(c.Rate, DefaultRate)), burst: float64(or(c.Burst, DefaultBurst)), now: c.Now},
	}
	if q.notice == 0 {
		q.notice = DefaultNotice
	}
	if q.bucket.now == nil {
		q.bucket.now = time.Now
	}
	q.bucket.tokens, q.bucket.last = q.bucket.burst, q.bucket.now()
	q.own = next
	return &Handler{next, q}
}

// Enabled implements slog.Handler. While the rate is exceeded, or the queue is full, it reports false and counts a record that was left
// out: a caller that asks before it makes a record must not log then.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	if !h.next.Enabled(ctx, level) {
		return false
	}
	if level < slog.LevelError && (len(h.entries) == cap(h.entries) || !h.bucket.has()) {
		h.skip()
		return false
	}
	return true
}

// Handle implements slog.Handler. It does not wait. The error is nil.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	if h.closed.Load() || r.Level < slog.LevelError && !h.bucket.take() {
		h.skip()
		return nil
	}
	h.begun.Do(func() { go h.run() })
	select {
	case h.entries <- entry{next: h.next, record: r}:
	default:
		h.skip()
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.next.WithAttrs(attrs), h.queue}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.queue}
}

// skip counts a record that is left out.
func (q *queue) skip() {
	q.skipped.Add(1)
	select {
	case q.left <- struct{}{}:
	default: // it is known
	}
}

// Flush waits until what was logged before is written, or until ctx ends; then it returns the context's cause. After Close it returns
// at once. May block.
func (h *Handler) Flush(ctx context.Context) error {
	written := make(chan struct{})
	h.begun.Do(func() { go h.run() })
	select {
	case h.entries <- entry{mark: written}:
	case <-h.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-written:
	case <-h.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Close writes what was logged before and ends the goroutine, or leaves it to the output that does not take anything when ctx ends;
// then it returns the context's cause. What is logged afterwards is left out. May block.
func (h *Handler) Close(ctx context.Context) error {
	if h.closed.CompareAndSwap(false, true) {
		close(h.stop)
		h.begun.Do(func() { close(h.ended) })
	}
	select {
	case <-h.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run writes records until Close, and then what is still in the queue.
func (q *queue) run() {
	defer close(q.ended)
	timer := time.NewTimer(0)
	<-timer.C
	armed := false
	for {
		select {
		case e := <-q.entries:
			e.write()
		case <-q.left:
			if !armed {
				timer.Reset(q.notice)
			}
			armed = true
		case <-timer.C:
			armed = false
			q.tell()
		case <-q.stop:
			for {
				select {
				case e := <-q.entries:
					e.write()
				default:
					q.tell()
					return
				}
			}
		}
	}
}

// write gives the record to its handler. An error has no place to be reported.
func (e *entry) write() {
	if e.mark != nil {
		close(e.mark)
		return
	}
	_ = e.next.Handle(context.Background(), e.record) // logging has failed, so it cannot be logged
}

// tell logs how many records were left out since the last time.
func (q *queue) tell() {
	n := q.skipped.Swap(0)
	if n == 0 || !q.own.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log: lines skipped", 0)
	r.AddAttrs(slog.Uint64("lines", n))
	_ = q.own.Handle(context.Background(), r) // as in write
}
