package msgqueue

import "github.com/evmq/evmq/event"

// deliver is the queue's callback on the loop. It takes the messages out a chunk at a time, so that the producers' lock
// is taken once for many, and gives them to fn one by one, each claimed so that Close can step in between.
func (q *Queue[T]) deliver(*event.Event, event.Flags) {
	more, last, first := true, false, true
	defer func() {
		if more { // the budget is used up, or fn has panicked: the rest was accepted all the same
			q.again()
		}
	}()
	for left := q.budget; left > 0; left-- {
		i := q.begun.Load()
		if i >= int64(len(q.items)) {
			if last {
				more = false // nothing was left when the batch was taken, and who has pushed since has told the loop
				return
			}
			var n int
			if n, last = q.take(); n == 0 {
				more = false
				return
			}
			if first {
				left, first = min(left, n), false // what comes in while this turn delivers is the next turn's
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
	}
	more = !last || q.begun.Load() < int64(len(q.items))
}

// take makes the next chunk the batch. It returns how many messages waited, 0 for none, and whether the batch is the
// last of them; then the queue is idle again, and the next Push tells the loop.
func (q *Queue[T]) take() (waited int, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = nil
	if q.state == closed {
		return 0, true
	}
	if q.batch != nil {
		q.spare.put(q.batch)
	}
	waited = q.in.len
	q.begun.Store(0)
	if q.batch = q.in.shift(); q.batch == nil {
		q.active = false
		q.finish()
		return 0, true
	}
	q.items = q.batch.items
	q.active = q.in.len > 0
	q.maxLen = max(q.maxLen, waited)
	q.batches++
	return waited, !q.active
}

// finish tells a Shutdown that everything is delivered. Under mu.
func (q *Queue[T]) finish() {
	if q.state != open {
		select {
		case <-q.drained:
		default:
			close(q.drained)
		}
	}
}

func (q *Queue[T]) serveWaiters() {
	q.mu.Lock()
	idle := q.serve()
	q.mu.Unlock()
	if idle {
		q.again()
	}
}

// again has deliver called once more. On a loop that is closing nobody will; Close of the queue gives the rest back.
func (q *Queue[T]) again() {
	if err := q.wake.Activate(0); err != nil {
		q.mu.Lock()
		q.state = max(q.state, draining)
		q.mu.Unlock()
	}
}
