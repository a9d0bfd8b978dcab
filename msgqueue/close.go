package msgqueue

import (
	"context"
	"fmt"

	"github.com/evmq/evmq/event"
)

// Close closes the queue at once and returns the messages, in order, whose delivery has not begun. Push fails with ErrClosed
// from now on, and so do the PushContexts that wait. A delivery that has begun on another goroutine may still run when Close
// returns. A second Close returns nothing. Any goroutine, the queue's own callback included.
func (q *Queue[T]) Close() []T {
	q.mu.Lock()
	left := q.takeAll()
	q.mu.Unlock()
	// The queue keeps its loop going no longer. The loop's refusal would say that the loop is closed, and done with it.
	_ = q.wake.Del()
	q.onClose.Stop()
	return left
}

// takeAll takes the rest of the batch out of the loop's hands, and everything behind it. Under mu.
func (q *Queue[T]) takeAll() (left []T) {
	q.shut(closed)
	begun := q.begun.Swap(batchTaken)
	if q.batch != nil && begun < int64(len(q.batch.items)) {
		rest := q.batch.items[begun:]
		left = append(left, rest...)
		clear(rest)
	}
	left = q.in.appendTo(left)
	q.batch, q.spare = nil, spares[T]{}
	q.left += uint64(len(left))
	q.finish()
	return left
}

// Shutdown refuses new messages with ErrClosed, waits until those in the queue are delivered and the last callback has
// returned, and closes the queue; nil says that every message ever accepted was delivered. When ctx ends first it returns
// what is not delivered, and ctx's cause, and a callback may still run. When the loop is closed first it returns what is not
// delivered, and ErrClosed; when another goroutine's Close is first, which has got it, ErrClosed alone. A loop that does
// not run delivers nothing. On the queue's own loop it does nothing and returns event.ErrOnLoop. May block; not in a
// callback.
func (q *Queue[T]) Shutdown(ctx context.Context) ([]T, error) {
	if q.loop.OnLoop() {
		return nil, fmt.Errorf("shut queue down: %w", event.ErrOnLoop)
	}
	var err error
	if q.drain() {
		select {
		case <-q.drained:
		case <-q.loop.Done():
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		err = q.wake.DelWait(ctx) // the last callback may still run
	}
	left := q.Close()
	if err == nil && q.Stats().Returned > 0 {
		err = ErrClosed
	}
	if err != nil {
		err = fmt.Errorf("shut queue down: %w", err)
	}
	return left, err
}

// drain shuts the door, and reports whether there is something to wait for: then drained is closed when the last message
// has been delivered.
func (q *Queue[T]) drain() bool {
	q.mu.Lock()
	q.shut(draining)
	waiting := q.len() > 0
	q.mu.Unlock()
	if waiting {
		q.tell() // so that deliver comes by once more after the last message and finds that it was the last
	}
	return waiting
}

// shut moves the state on. Who waits for room waits in vain. Under mu.
func (q *Queue[T]) shut(s state) {
	q.state = max(q.state, s)
	q.refuseWaiters()
}

// shutDoor is what follows from a closed loop: nothing more comes in. Not under mu.
func (q *Queue[T]) shutDoor() {
	q.mu.Lock()
	q.shut(draining)
	q.mu.Unlock()
}

// finish tells Shutdown that nothing is left to deliver. Under mu, not in the state open.
func (q *Queue[T]) finish() {
	select {
	case <-q.drained:
	default:
		close(q.drained)
	}
}
