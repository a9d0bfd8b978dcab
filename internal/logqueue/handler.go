// Package logqueue provides a slog.Handler that never blocks its caller. Records pass through a bounded queue to one goroutine, which
// calls the next handler. Records above a rate, and records for which the queue has no room because the output blocks, are dropped and counted. A
// later record reports their number.
package logqueue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config is the configuration of a Handler. The zero value is the default.
type Config struct {
	// Rate is the maximum number of records per second in the long run, and Burst the maximum number at once. Records of level Error and
	// above are not limited. 0 means DefaultRate and DefaultBurst.
	Rate, Burst int
	// Queue is the number of records that may wait for the output. 0 means DefaultQueue.
	Queue int
	// Notice is the maximum time from the first dropped record until the number of dropped records is logged, unless the output blocks.
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
	next slog.Handler // with the attributes and groups of this handler
	*queue
}

// queue is shared by a handler and the handlers derived from it.
type queue struct {
	own     slog.Handler // for the queue's own records
	begun   sync.Once    // starts the goroutine at the first record
	entries chan entry
	left    chan struct{} // of capacity 1: records were dropped since the last notice
	stop    chan struct{} // closed by Close
	ended   chan struct{} // closed when the goroutine has returned
	closed  atomic.Bool
	skipped atomic.Uint64 // records dropped since the last notice
	notice  time.Duration
	bucket  bucket
}

// An entry is a record for a handler, or a mark for Flush.
type entry struct {
	next   slog.Handler
	record slog.Record
	mark   chan<- struct{} // closed when all earlier entries have been written; nil for a record
}

// New returns a handler that passes records to next. next is called on one goroutine, which runs from the first record until Close.
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

// Enabled implements slog.Handler. While the rate is exceeded or the queue is full, it returns false and counts a dropped record, so that the
// caller need not make the record.
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

// Handle implements slog.Handler. It does not block. The error is nil.
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

// skip counts a dropped record.
func (q *queue) skip() {
	q.skipped.Add(1)
	select {
	case q.left <- struct{}{}:
	default: // already signalled
	}
}

// Flush waits until all records logged before have been written. If ctx ends first, it returns the context's cause. After Close it returns at
// once. May block.
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

// Close writes all records logged before and ends the goroutine. If ctx ends first because the output blocks, Close returns the context's cause
// and the goroutine ends when the output returns. Later records are dropped. May block.
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

// run writes records until Close, and then the rest of the queue.
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
			q.logSkipped()
		case <-q.stop:
			for {
				select {
				case e := <-q.entries:
					e.write()
				default:
					q.logSkipped()
					return
				}
			}
		}
	}
}

// write passes the record to its handler. An error of logging cannot be logged.
func (e *entry) write() {
	if e.mark != nil {
		close(e.mark)
		return
	}
	_ = e.next.Handle(context.Background(), e.record) // see above
}

// logSkipped logs the number of records dropped since the last call.
func (q *queue) logSkipped() {
	n := q.skipped.Swap(0)
	if n == 0 || !q.own.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log: lines skipped", 0)
	r.AddAttrs(slog.Uint64("lines", n))
	_ = q.own.Handle(context.Background(), r) // as in write
}
