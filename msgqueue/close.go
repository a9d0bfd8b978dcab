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
	return left
}

// takeAll takes the rest of the batch out of the loop's hands, and everything behind it. Under mu.
func (q *Queue[T]) takeAll() (left []T) {
	q.state = closed
	begun := q.begun.Swap(batchTaken)
	if q.batch != nil && begun < int64(len(q.batch.items)) {
		rest := q.batch.items[begun:]
		left = append(left, rest...)
		clear(rest)
	}
	left = q.in.appendTo(left)
	q.batch, q.spare, q.active = nil, spares[T]{}, false
	q.left += uint64(len(left))
	q.refuseWaiters()
	q.finish()
	return left
}

// Shutdown refuses new messages with ErrClosed, waits until those in the queue are delivered and the last callback has
// returned, and closes the queue. When ctx ends first it returns what is not delivered, and ctx's cause; when the loop is
// closed first, what is not delivered and ErrClosed. A loop that does not run delivers nothing. On the queue's own loop it
// does nothing and returns event.ErrOnLoop. May block; not in a callback.
func (q *Queue[T]) Shutdown(ctx context.Context) ([]T, error) {
	if q.loop.OnLoop() {
		return nil, fmt.Errorf("shut queue down: %w", event.ErrOnLoop)
	}
	if !q.drain() {
		err := q.wake.DelWait(ctx) // the last callback may still run
		return q.Close(), err
	}
	select {
	case <-q.drained:
		err := q.wake.DelWait(ctx)
		return q.Close(), err
	case <-ctx.Done():
		return q.Close(), fmt.Errorf("shut queue down: %w", context.Cause(ctx))
	case <-q.loop.Done():
		if left := q.Close(); len(left) > 0 {
			return left, fmt.Errorf("shut queue down: %w (%w)", ErrClosed, event.ErrClosed)
		}
		return nil, nil
	}
}

// drain closes the door, and reports whether there is something to wait for.
func (q *Queue[T]) drain() bool {
	q.mu.Lock()
	q.state = max(q.state, draining)
	q.refuseWaiters()
	waiting := q.len() > 0
	q.mu.Unlock()
	if waiting {
		q.again() // so that deliver comes by once more after the last message and finds that it was the last
	}
	return waiting
}
