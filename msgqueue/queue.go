package msgqueue

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/event"
)

// The errors of this package, to be tested with errors.Is.
var (
	// ErrFull says that the queue holds as many messages as its bound allows. Nothing was taken.
	ErrFull = errors.New("msgqueue: queue is full")
	// ErrClosed says that the queue, or its loop, is closed or closing. Nothing was taken.
	ErrClosed = errors.New("msgqueue: queue is closed")
	// ErrBound says that a bound or a budget is below zero.
	ErrBound = errors.New("msgqueue: invalid bound")
	// ErrNilFunc says that the callback is missing.
	ErrNilFunc = errors.New("msgqueue: nil callback")
)

const (
	// DefaultBound is the bound that 0 stands for.
	DefaultBound = 1024
	// Unbounded, given as a bound, lets the queue grow as long as there is memory.
	Unbounded = math.MaxInt
	// DefaultBudget is how many messages are delivered in a turn of the loop unless WithBudget says otherwise.
	DefaultBudget = 256
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

// Option changes what New makes. See the functions that return one.
type Option func(*options)

type options struct {
	priority    int
	hasPriority bool
	budget      int
}

// WithPriority sets the priority of the queue among its loop's events, 0 the most urgent.
func WithPriority(p int) Option { return func(o *options) { o.priority, o.hasPriority = p, true } }

// WithBudget bounds how many messages are delivered in one turn of the loop; the rest goes on next turn, after the loop
// has looked at its descriptors. 0 means DefaultBudget; Unbounded is allowed, and then still what is pushed by the callback
// itself waits for a later turn. Fewer are delivered where something more urgent than the queue becomes active, or the loop's
// Budget.Time is spent: both are looked at after each message.
func WithBudget(n int) Option { return func(o *options) { o.budget = n } }

// New makes a queue whose messages are delivered to fn on the loop. At most bound messages are in it: accepted and not yet
// begun to be delivered. 0 means DefaultBound; Unbounded takes the bound away. An open queue keeps the loop's Run going.
//
// Errors: ErrBound, ErrNilFunc, event.ErrPriority, and ErrClosed if the loop is closed. Any goroutine.
func New[T any](loop *event.Loop, bound int, fn func(T), opts ...Option) (*Queue[T], error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case bound < 0:
		return nil, fmt.Errorf("new queue: %w: %d", ErrBound, bound)
	case o.budget < 0:
		return nil, fmt.Errorf("new queue: %w: budget %d", ErrBound, o.budget)
	case fn == nil:
		return nil, fmt.Errorf("new queue: %w", ErrNilFunc)
	}
	q := &Queue[T]{loop: loop, fn: fn, bound: bound, budget: o.budget, drained: make(chan struct{})}
	if bound == 0 {
		q.bound = DefaultBound
	}
	if o.budget == 0 {
		q.budget = DefaultBudget
	}
	wake, err := loop.NewEvent(-1, event.Persist, q.deliver)
	if err == nil && o.hasPriority {
		err = wake.SetPriority(o.priority)
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

// loopError makes a closed loop's refusal the queue's, and keeps the cause.
func loopError(err error) error {
	if errors.Is(err, event.ErrClosed) {
		return fmt.Errorf("%w (%w)", ErrClosed, err)
	}
	return err
}

// Stats counts what has happened to a queue's messages. Pushed is Delivered + Returned + Len, always.
type Stats struct {
	Len       int    // accepted and not yet begun to be delivered
	Bound     int    // the most that Len can be
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
