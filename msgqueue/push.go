package msgqueue

import (
	"context"
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
)

// Push puts m into the queue and returns at once: nil when m was accepted, ErrFull or ErrClosed. What one goroutine pushes
// is delivered in that order. A Push that comes while the loop closes may still be accepted; Close gives it back. Any
// goroutine, the callback included.
func (q *Queue[T]) Push(m T) error {
	q.mu.Lock()
	if err := q.room(1); err != nil {
		return q.refuse(1, err)
	}
	first := q.in.push(m, &q.spare)
	q.pushed++
	q.mu.Unlock()
	if first {
		q.tell()
	}
	return nil
}

// PushBatch puts all of ms into the queue, together, or none. The slice stays the caller's. Errors are those of Push;
// a batch larger than the bound never fits, an empty one always. Any goroutine.
func (q *Queue[T]) PushBatch(ms []T) error {
	if len(ms) == 0 {
		return nil
	}
	q.mu.Lock()
	if err := q.room(len(ms)); err != nil {
		return q.refuse(len(ms), err)
	}
	first := q.in.len == 0
	for _, m := range ms {
		q.in.push(m, &q.spare)
	}
	q.pushed += uint64(len(ms))
	q.mu.Unlock()
	if first {
		q.tell()
	}
	return nil
}

// PushContext is Push that waits while the queue is full, until ctx ends; then it returns ctx's cause, and m was not taken.
// The calls that wait are served in their order, each as soon as the delivery of a message begins; a Push at that moment may
// still come before them. ctx bounds the waiting alone: where there is room m is accepted, even if ctx has ended. On the
// queue's own loop, which would wait for itself, a full queue is event.ErrOnLoop. May block; in a callback of its own loop it
// does not.
func (q *Queue[T]) PushContext(ctx context.Context, m T) error {
	q.mu.Lock()
	err := q.room(1)
	if err == nil && q.waiters.len > 0 {
		err = ErrFull // they came first
	}
	first := false
	if err == nil {
		first = q.in.push(m, &q.spare)
		q.pushed++
	}
	q.mu.Unlock()
	if first {
		q.tell()
	}
	if !errors.Is(err, ErrFull) {
		return err
	}
	if q.loop.OnLoop() {
		q.mu.Lock()
		return q.refuse(1, fmt.Errorf("push to a full queue: %w", event.ErrOnLoop))
	}
	ended := ctx.Done() // first, since one that panics must not leave m behind
	w := q.wait(m)
	select {
	case err := <-w.done:
		return err
	case <-ended:
		if q.giveUp(w) {
			return fmt.Errorf("push to a full queue: %w", context.Cause(ctx))
		}
		return <-w.done // served, or refused, in the same moment
	}
}

// room says whether n more messages may come in. Under mu.
func (q *Queue[T]) room(n int) error {
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
	q.maxLen = max(q.maxLen, q.len())
	return ErrFull
}

// refuse counts n messages that err keeps out, and unlocks mu.
func (q *Queue[T]) refuse(n int, err error) error {
	if !errors.Is(err, ErrClosed) {
		q.refused += uint64(n)
	}
	q.mu.Unlock()
	return err
}

// tell has deliver called on the loop. Whoever puts the first message in does it; for those behind it, it is done. A loop that
// is closing calls nothing any more. Then nothing more comes in, and what is in stays accepted: Close gives it back.
func (q *Queue[T]) tell() {
	if err := q.wake.Activate(0); err != nil {
		q.shutDoor()
	}
}
