package msgqueue

import (
	"context"
	"fmt"

	"github.com/evmq/evmq/event"
)

// Close closes the queue at once and returns, in order, the messages whose delivery has not begun; the slice is the caller's. From then on
// Push fails with ErrClosed, and so do waiting calls of PushContext. A delivery that has begun on another goroutine may still be running
// when Close returns. A second Close returns nil. Any goroutine.
func (q *Queue[T]) Close() []T {
	q.mu.Lock()
	left := q.takeAll()
	q.mu.Unlock()
	// Del lets the loop's Run end. Its error would only say that the loop is closed.
	_ = q.event.Del()
	q.onClose.Stop()
	return left
}

// takeAll closes the queue and removes the remaining messages, those of the batch included. Under mu.
func (q *Queue[T]) takeAll() (left []T) {
	q.advance(closed)
	q.maxLen = max(q.maxLen, q.len())
	begun := q.begun.Swap(batchTaken)
	if q.batch != nil && begun < int64(len(q.batch.items)) {
		rest := q.batch.items[begun:]
		left = append(left, rest...)
		clear(rest)
	}
	left = q.in.appendTo(left)
	q.batch, q.spare = nil, spares[T]{}
	q.returned += uint64(len(left))
	q.finish()
	return left
}

// Shutdown refuses new messages with ErrClosed, waits until the messages in the queue are delivered and the last callback has
// returned, and closes the queue. A nil error means that every accepted message was delivered. If ctx ends first, Shutdown returns
// the messages that are not delivered and ctx's cause, and a callback may still be running. If the loop is closed first, it returns the
// messages that are not delivered and ErrClosed. If another goroutine calls Close first, that Close returns the messages and Shutdown
// returns only ErrClosed. A loop that does not run delivers nothing. On the queue's own loop Shutdown does nothing and returns
// event.ErrOnLoop, and with a nil ctx ErrInvalid. May block; not in a callback.
func (q *Queue[T]) Shutdown(ctx context.Context) ([]T, error) {
	if ctx == nil {
		return nil, fmt.Errorf("shut queue down: %w", invalid("context is nil"))
	}
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
		err = q.event.DelWait(ctx) // the last callback may still run
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

// drain stops accepting messages and reports whether any remain. If so, drained is closed when none
// remains.
func (q *Queue[T]) drain() bool {
	q.mu.Lock()
	q.advance(draining)
	remain := q.len() > 0
	q.mu.Unlock()
	if remain {
		q.activate() // so that deliverInLoop is called again after the last message and finds the queue empty
	}
	return remain
}

// advance sets the state to at least s and refuses the waiting calls of PushContext. Under mu.
func (q *Queue[T]) advance(s state) {
	q.state = max(q.state, s)
	q.refuseWaiters()
}

// refuseAll stops accepting messages after the loop has closed. Not under mu.
func (q *Queue[T]) refuseAll() {
	q.mu.Lock()
	q.advance(draining)
	q.mu.Unlock()
}

// finish notifies Shutdown that no message remains. Under mu, not in the state open.
func (q *Queue[T]) finish() {
	select {
	case <-q.drained:
	default:
		close(q.drained)
	}
}
