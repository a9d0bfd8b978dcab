package msgqueue

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/event"
)

// A Queue carries messages from any goroutine to a callback on its loop.
type Queue[T any] struct {
	loop    *event.Loop
	event   *event.Event   // calls deliverInLoop; added until Close, which keeps Run going
	onClose *event.Watcher // calls refuseAll when the loop closes
	fn      func(T)
	bound   int
	budget  int

	_  [64]byte // the fields that producers write, on their own cache lines
	mu sync.Mutex
	// mu guards the following fields. It is held for a few instructions, or for the copying of a batch, and never during a call.
	state    state
	in       chain[T]  // accepted and not yet in batch; if not empty, event is active or the goroutine that added the first message will activate it
	batch    *chunk[T] // the messages that the loop delivers now
	spare    spares[T] // chunks for reuse
	waiters  waiterList[T]
	drained  chan struct{} // closed when the queue accepts no more messages and has none: they were delivered, or returned by Close
	pushed   uint64
	refused  uint64
	returned uint64
	batches  uint64
	maxLen   int

	_            [64]byte // the fields that the loop writes for each message
	inLoopAssert inLoopAssert
	// begun is the number of messages of the batch whose delivery has begun, or batchTaken. The loop increases it by
	// CompareAndSwap, without mu, before it delivers a message; Close sets it to batchTaken and so takes the remaining
	// messages.
	begun      atomic.Int64
	hasWaiters atomic.Bool // waiters is not empty
	items      []T         // the batch's messages. Loop only
	lenAtBatch int         // Len when the batch was taken, including its messages. Loop only
}

// batchTaken is larger than any index. With it in begun, the loop finds no message left in the batch, and a CompareAndSwap that
// is in progress fails.
const batchTaken = math.MaxInt64

// state only increases.
type state uint8

const (
	open     state = iota
	draining       // refuses messages and delivers the remaining ones, unless the loop has closed
	closed
)

func (s state) String() string { return [...]string{"open", "draining", "closed"}[s] }

// New makes a queue whose messages are delivered to fn on the loop, as cfg says; nil means the defaults. An open queue keeps the
// loop's Run going.
//
// Errors: ErrInvalid; ErrClosed if the loop is closed. Any goroutine.
func New[T any](loop *event.Loop, fn func(T), cfg *Config) (*Queue[T], error) {
	c := cfg.resolve()
	if loop == nil {
		return nil, fmt.Errorf("new queue: %w", invalid("loop is nil"))
	}
	if fn == nil {
		return nil, fmt.Errorf("new queue: %w", invalid("callback is nil"))
	}
	if c.Priority != nil && (*c.Priority < 0 || *c.Priority >= loop.Priorities()) {
		return nil, fmt.Errorf("new queue: %w", invalid("Priority %d of %d", *c.Priority, loop.Priorities()))
	}
	q := &Queue[T]{loop: loop, fn: fn, bound: c.Bound, budget: c.Budget, drained: make(chan struct{})}
	e, err := loop.NewEvent(-1, event.Persist, q.deliverInLoop)
	if err == nil && c.Priority != nil {
		err = e.SetPriority(*c.Priority)
	}
	if err == nil {
		e.SetName("msgqueue " + runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name())
		err = e.Add(event.NoTimeout)
	}
	if err == nil {
		q.event = e
		q.onClose, err = loop.OnClose(q.refuseAll)
	}
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", loopError(err))
	}
	return q, nil
}

// Stats holds the counters and gauges of a queue. Counters only grow. Pushed is always Delivered + Returned + Len.
type Stats struct {
	Len       int    // messages accepted whose delivery has not begun
	Bound     int    // the largest Len allowed; math.MaxInt if there is no limit
	MaxLen    int    // the largest Len when the loop took a batch, a Push was refused, Stats was called or the queue was closed
	Pushed    uint64 // messages accepted
	Delivered uint64 // messages whose delivery has begun
	Returned  uint64 // messages returned by Close or Shutdown
	Refused   uint64 // messages refused because the queue was full; of PushContext, because its context ended meanwhile or it was called on the loop
	Batches   uint64 // times that the loop took a batch of messages
	Waiters   int    // PushContext calls that wait for room
}

// Len returns the number of accepted messages whose delivery has not begun. Any goroutine.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.len()
}

// len returns the exact length. Under mu.
func (q *Queue[T]) len() int {
	n := q.in.len
	if q.batch != nil {
		n += len(q.batch.items) - int(q.begun.Load())
	}
	return n
}

// Stats returns the current values. Any goroutine.
func (q *Queue[T]) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.len()
	q.maxLen = max(q.maxLen, n)
	return Stats{
		Len: n, Bound: q.bound, MaxLen: q.maxLen, Pushed: q.pushed, Delivered: q.pushed - q.returned - uint64(n),
		Returned: q.returned, Refused: q.refused, Batches: q.batches, Waiters: q.waiters.len,
	}
}
