package msgqueue

import "github.com/evmq/evmq/event"

// deliver is the queue's callback on the loop. It takes the messages out a chunk at a time, so that the producers' lock
// is taken once for many, and gives them to fn one by one, each claimed so that Close can step in between.
func (q *Queue[T]) deliver(*event.Event, event.Flags) {
	more, last := true, false
	defer func() {
		if more { // the budget is used up, or fn has panicked: the rest was accepted all the same
			q.tell()
		}
	}()
	// What comes in while this turn delivers is the next turn's. What is certainly older was counted by take.
	left, counted := q.budget, false
	if begun := q.begun.Load(); begun < int64(len(q.items)) {
		left, counted = min(left, q.waited-int(begun)), true
	}
	for ; left > 0; left-- {
		i := q.begun.Load()
		if i >= int64(len(q.items)) {
			if last {
				more = false // nothing was left when the batch was taken, and who has pushed since has told the loop
				return
			}
			if last = q.take(); q.waited == 0 {
				more = false
				return
			}
			if !counted {
				left, counted = min(left, q.waited), true
			}
			i = 0
		}
		if !q.begun.CompareAndSwap(i, i+1) {
			more = false
			return // Close has taken the rest
		}
		var zero T
		m := q.items[i]
		q.items[i] = zero // the queue must not keep alive what it has given away
		if q.waiting.Load() {
			q.serveWaiters()
		}
		q.fn(m)
		if q.loop.Interrupted() {
			return // by Break or its like; the rest is delivered when the loop goes on
		}
	}
	more = q.begun.Load() < int64(q.waited) || !last && q.unfinished()
}

// unfinished reports whether there is something to take, or a Shutdown that waits to see that there is not.
func (q *Queue[T]) unfinished() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.in.len > 0 || q.state == draining
}

// take makes the next chunk the batch and counts in waited what there is, 0 if nothing. It reports whether the batch is
// the last of it; then the next Push finds nothing before it and tells the loop.
func (q *Queue[T]) take() (last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.batch != nil {
		q.spare.put(q.batch)
	}
	q.waited = q.in.len
	q.begun.Store(0)
	if q.batch = q.in.shift(); q.batch == nil { // as after Close
		q.items = nil
		if q.state != open {
			q.finish()
		}
		return true
	}
	q.items = q.batch.items
	q.maxLen = max(q.maxLen, q.waited)
	q.batches++
	// A Shutdown waits to see the queue found empty, which only another take can do.
	return q.in.len == 0 && q.state == open
}

// serveWaiters lets in one who waits, for the message whose delivery has just begun.
func (q *Queue[T]) serveWaiters() {
	q.mu.Lock()
	first := q.serve()
	q.mu.Unlock()
	if first {
		q.tell()
	}
}
