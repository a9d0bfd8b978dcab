package msgqueue

import "github.com/evmq/evmq/event"

// deliverInLoop is the queue's callback on the loop. It takes the messages a chunk at a time, to take the producers' lock
// once for many, and calls fn with each. It takes each message by CompareAndSwap, so that Close can take the remaining ones.
func (q *Queue[T]) deliverInLoop(*event.Event, event.Flags) {
	q.assertInLoop()
	more, last := true, false
	defer func() {
		if more { // the budget is used up, or fn has panicked: other messages remain
			q.activate()
		}
	}()
	// Messages that are pushed during this turn wait for the next one. nextBatchInLoop has counted the older ones.
	left, counted := q.budget, false
	if begun := q.begun.Load(); begun < int64(len(q.items)) {
		left, counted = min(left, q.lenAtBatch-int(begun)), true
	}
	for ; left > 0; left-- {
		i := q.begun.Load()
		if i >= int64(len(q.items)) {
			if last {
				more = false // no more messages when the batch was taken, and a later Push has activated the event
				return
			}
			if last = q.nextBatchInLoop(); q.lenAtBatch == 0 {
				more = false
				return
			}
			if !counted {
				left, counted = min(left, q.lenAtBatch), true
			}
			i = 0
		}
		if !q.begun.CompareAndSwap(i, i+1) {
			more = false
			return // Close has taken the remaining messages
		}
		var zero T
		m := q.items[i]
		q.items[i] = zero // a delivered message must not be kept alive
		if q.hasWaiters.Load() {
			q.admitOneInLoop()
		}
		q.fn(m)
		if q.loop.Interrupted() {
			return // the remaining messages are delivered in the next turn
		}
	}
	more = q.begun.Load() < int64(q.lenAtBatch) || !last && q.unfinished()
}

// unfinished reports whether messages remain, or a Shutdown waits for the queue to be found empty.
func (q *Queue[T]) unfinished() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.in.len > 0 || q.state == draining
}

// nextBatchInLoop makes the next chunk the batch and stores the length of the queue in lenAtBatch. It reports whether the batch is
// the last chunk; then the next Push is the first of a burst and activates the event.
func (q *Queue[T]) nextBatchInLoop() (last bool) {
	q.assertInLoop()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.batch != nil {
		q.spare.put(q.batch)
	}
	q.lenAtBatch = q.in.len
	q.begun.Store(0)
	if q.batch = q.in.shift(); q.batch == nil { // as after Close
		q.items = nil
		if q.state != open {
			q.finish()
		}
		return true
	}
	q.items = q.batch.items
	q.maxLen = max(q.maxLen, q.lenAtBatch)
	q.batches++
	// A Shutdown waits until another nextBatchInLoop finds the queue empty.
	return q.in.len == 0 && q.state == open
}

// admitOneInLoop admits one waiting PushContext, for the message whose delivery has just begun.
func (q *Queue[T]) admitOneInLoop() {
	q.assertInLoop()
	q.mu.Lock()
	first := q.admitWaiters()
	q.mu.Unlock()
	if first {
		q.activate()
	}
}
