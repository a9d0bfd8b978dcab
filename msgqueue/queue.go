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
	wake    *event.Event   // the queue's place on the loop: added while it is open, active while messages wait
	onClose *event.Watcher // shuts the door when the loop closes
	fn      func(T)
	bound   int
	budget  int

	_  [64]byte // what producers write, on cache lines of its own
	mu sync.Mutex
	// Under mu, which is held for a few instructions, for the length of a batch at most, and never while something is called.
	state   state
	in      chain[T]  // accepted and not yet in the batch; the loop has been told if there is something
	batch   *chunk[T] // what the loop delivers now
	spare   spares[T]
	waiters waiterList[T]
	drained chan struct{} // closed when nothing is left to deliver and nothing more comes in
	pushed  uint64
	refused uint64
	left    uint64
	batches uint64
	maxLen  int

	_ [64]byte // and what the loop writes for each message
	// begun counts the messages of the batch whose delivery has begun, or is batchTaken. The loop claims one message
	// after the other without mu; Close claims all that are left.
	begun   atomic.Int64
	waiting atomic.Bool // waiters is not empty
	items   []T         // the batch's messages. Loop only
	waited  int         // how many messages there were, these included, when the batch was taken. Loop only
}

// batchTaken in begun is larger than any index, so that the loop's next claim fails.
const batchTaken = math.MaxInt64

// state only grows.
type state uint8

const (
	open     state = iota
	draining       // refuses, and the rest is delivered, unless it is the loop that has closed
	closed
)

func (s state) String() string { return [...]string{"open", "draining", "closed"}[s] }

// New makes a queue whose messages are delivered to fn on the loop, as cfg says; nil means the defaults. An open queue keeps the
// loop's Run going.
//
// Errors: ErrInvalid; ErrClosed if the loop is closed. Any goroutine.
func New[T any](loop *event.Loop, fn func(T), cfg *Config) (*Queue[T], error) {
	c := cfg.resolve()
	if fn == nil {
		return nil, fmt.Errorf("new queue: %w", invalid("callback is nil"))
	}
	if c.Priority != nil && (*c.Priority < 0 || *c.Priority >= loop.Priorities()) {
		return nil, fmt.Errorf("new queue: %w", invalid("Priority %d of %d", *c.Priority, loop.Priorities()))
	}
	q := &Queue[T]{loop: loop, fn: fn, bound: c.Bound, budget: c.Budget, drained: make(chan struct{})}
	wake, err := loop.NewEvent(-1, event.Persist, q.deliver)
	if err == nil && c.Priority != nil {
		err = wake.SetPriority(*c.Priority)
	}
	if err == nil {
		wake.SetName("msgqueue " + runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name())
		err = wake.Add(event.NoTimeout)
	}
	if err == nil {
		q.wake = wake
		q.onClose, err = loop.OnClose(q.shutDoor)
	}
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", loopError(err))
	}
	return q, nil
}

// Stats counts what has happened to a queue's messages. Pushed is Delivered + Returned + Len, always.
type Stats struct {
	Len       int    // accepted and not yet begun to be delivered
	Bound     int    // the largest Len allowed; math.MaxInt if there is no limit
	MaxLen    int    // the longest that the loop, or a refused Push, has met
	Pushed    uint64 // messages accepted
	Delivered uint64 // messages whose delivery has begun
	Returned  uint64 // messages handed back by Close or Shutdown
	Refused   uint64 // messages not accepted because the queue was full and, with PushContext, stayed so
	Batches   uint64 // times that the loop took messages out: Delivered / Batches come at once
	Waiting   int    // PushContext calls that wait for room
}

// Len is the number of messages accepted and not yet begun to be delivered. Any goroutine.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.len()
}

// len counts exactly. Under mu.
func (q *Queue[T]) len() int {
	n := q.in.len
	if q.batch != nil {
		n += len(q.batch.items) - int(q.begun.Load())
	}
	return n
}

// Stats returns the counts of this moment. Any goroutine.
func (q *Queue[T]) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.len()
	return Stats{
		Len: n, Bound: q.bound, MaxLen: max(q.maxLen, n), Pushed: q.pushed, Delivered: q.pushed - q.left - uint64(n),
		Returned: q.left, Refused: q.refused, Batches: q.batches, Waiting: q.waiters.len,
	}
}
