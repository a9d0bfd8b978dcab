package msgqueue

import (
	"context"
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
)

// Push adds m to the queue without waiting. It returns nil if m was accepted, else ErrFull or ErrClosed. The messages of one goroutine
// are delivered in the order of Push. A Push while the loop closes may still be accepted; Close returns its message. Any
// goroutine.
func (q *Queue[T]) Push(m T) error {
	q.mu.Lock()
	if err := q.checkRoom(1); err != nil {
		return q.refuse(1, err)
	}
	first := q.in.push(m, &q.spare)
	q.pushed++
	q.mu.Unlock()
	if first {
		q.activate()
	}
	return nil
}

// PushBatch adds all of ms to the queue, together, or none. The caller keeps the slice. Errors are those of Push.
// A batch larger than the bound is always refused, and an empty one is always accepted. Any goroutine.
func (q *Queue[T]) PushBatch(ms []T) error {
	if len(ms) == 0 {
		return nil
	}
	q.mu.Lock()
	if err := q.checkRoom(len(ms)); err != nil {
		return q.refuse(len(ms), err)
	}
	first := q.in.len == 0
	for _, m := range ms {
		q.in.push(m, &q.spare)
	}
	q.pushed += uint64(len(ms))
	q.mu.Unlock()
	if first {
		q.activate()
	}
	return nil
}

// PushContext is like Push, but waits while the queue is full. If ctx ends first, it returns ctx's cause, and m was not accepted.
// Waiting calls are admitted in order of arrival, one for each message whose delivery begins; a Push at that moment may
// precede them. ctx only bounds the waiting: if there is room, m is accepted even if ctx has ended. On the
// queue's own loop, which would wait for itself, a full queue is event.ErrOnLoop. A nil ctx is ErrInvalid. May block; in a callback of its
// own loop it does not.
func (q *Queue[T]) PushContext(ctx context.Context, m T) error {
	if ctx == nil {
		return fmt.Errorf("push: %w", invalid("context is nil"))
	}
	q.mu.Lock()
	err := q.checkRoom(1)
	if err == nil && q.waiters.len > 0 {
		err = ErrFull // the waiting calls come first
	}
	first := false
	if err == nil {
		first = q.in.push(m, &q.spare)
		q.pushed++
	}
	q.mu.Unlock()
	if first {
		q.activate()
	}
	if !errors.Is(err, ErrFull) {
		return err
	}
	if q.loop.OnLoop() {
		q.mu.Lock()
		return q.refuse(1, fmt.Errorf("push to a full queue: %w", event.ErrOnLoop))
	}
	ended := ctx.Done() // before addWaiter, since a Done that panics must not leave m there
	w := q.addWaiter(m)
	select {
	case err := <-w.done:
		return err
	case <-ended:
		if q.cancelWait(w) {
			return fmt.Errorf("push to a full queue: %w", context.Cause(ctx))
		}
		return <-w.done // admitted or refused at the same time
	}
}

// checkRoom returns an error if n more messages cannot be accepted. Under mu.
func (q *Queue[T]) checkRoom(n int) error {
	if q.state != open {
		return ErrClosed
	}
	// The length without begun is an upper bound. It avoids reading the loop's cache line.
	upper := q.in.len
	if q.batch != nil {
		upper += len(q.batch.items)
	}
	if upper <= q.bound-n || q.len() <= q.bound-n {
		return nil
	}
	q.maxLen = max(q.maxLen, q.len())
	return ErrFull
}

// refuse counts n messages that are refused with err, and unlocks mu.
func (q *Queue[T]) refuse(n int, err error) error {
	if !errors.Is(err, ErrClosed) {
		q.refused += uint64(n)
	}
	q.mu.Unlock()
	return err
}

// activate has deliverInLoop called on the loop. The goroutine that adds the first message calls it. If the loop is closing, deliverInLoop is not
// called any more. The queue then accepts no more messages; Close returns the accepted ones.
func (q *Queue[T]) activate() {
	if err := q.event.Activate(0); err != nil {
		q.refuseAll()
	}
}
