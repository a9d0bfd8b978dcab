package msgqueue

import (
	"context"
	"fmt"

	"github.com/evmq/evmq/event"
)

// Push puts m into the queue and returns at once: nil when m was accepted, ErrFull or ErrClosed. What one goroutine pushes
// is delivered in that order. Any goroutine, the callback included.
func (q *Queue[T]) Push(m T) error {
	q.mu.Lock()
	if err := q.admit(1); err != nil {
		q.mu.Unlock()
		return err
	}
	q.in.push(m, &q.spare)
	q.pushed++
	if q.active {
		q.mu.Unlock()
		return nil
	}
	q.active = true
	q.mu.Unlock()
	return q.start(1)
}

// PushBatch puts all of ms into the queue, together, or none. The slice stays the caller's. Errors are those of Push;
// a batch larger than the bound never fits. Any goroutine.
func (q *Queue[T]) PushBatch(ms []T) error {
	if len(ms) == 0 {
		return nil
	}
	q.mu.Lock()
	if err := q.admit(len(ms)); err != nil {
		q.mu.Unlock()
		return err
	}
	for _, m := range ms {
		q.in.push(m, &q.spare)
	}
	q.pushed += uint64(len(ms))
	idle := !q.active
	q.active = true
	q.mu.Unlock()
	if idle {
		return q.start(len(ms))
	}
	return nil
}

// PushContext is Push that waits while the queue is full, until ctx ends; then it returns ctx's cause, and m was not taken.
// Those who wait are served in their order, as soon as the delivery of a message begins. On the queue's own loop, which
// would wait for itself, a full queue is event.ErrOnLoop. May block.
func (q *Queue[T]) PushContext(ctx context.Context, m T) error {
	err := q.Push(m)
	if err != ErrFull {
		return err
	}
	if q.loop.OnLoop() {
		return fmt.Errorf("push to a full queue: %w", event.ErrOnLoop)
	}
	w, err := q.wait(m)
	if err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		err = fmt.Errorf("push to a full queue: %w", context.Cause(ctx))
	case <-q.loop.Done():
		err = ErrClosed
	}
	if q.giveUp(w) {
		return err
	}
	return <-w.done // served, or refused, in the same moment
}

// admit says whether n more messages may come in. Under mu.
func (q *Queue[T]) admit(n int) error {
	if q.state != open {
		return ErrClosed
	}
	// The length without begun is an upper bound that spares the producers the loop's cache line.
	upper := q.in.len
	if q.batch != nil {
		upper += len(q.batch.items)
	}
	if upper <= q.bound-n || q.len() <= q.bound-n {
		return nil
	}
	q.refused += uint64(n)
	q.maxLen = max(q.maxLen, q.len())
	return ErrFull
}

// start tells the loop that there is something, after n messages have come into an idle queue.
func (q *Queue[T]) start(n int) error {
	err := q.wake.Activate(0)
	if err == nil {
		return nil
	}
	// The loop is closed. If nobody has pushed since, the messages are taken out again and refused. Else they were
	// accepted with those behind them, and Close will give them back.
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state == closed {
		return nil // and Close has given them back already
	}
	q.state = closed
	if q.in.len > n {
		return nil
	}
	q.in = chain[T]{}
	q.pushed -= uint64(n)
	return loopError(err)
}
