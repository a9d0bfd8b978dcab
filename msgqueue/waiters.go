package msgqueue

// A waiter is a call of PushContext that waits for room.
type waiter[T any] struct {
	m          T
	done       chan error // receives the outcome, once
	prev, next *waiter[T]
}

// waiterList is a list of waiters in order of arrival.
type waiterList[T any] struct {
	first, last *waiter[T]
	len         int
}

func (l *waiterList[T]) push(w *waiter[T]) {
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.len++
}

// remove removes w and reports whether it was in the list.
func (l *waiterList[T]) remove(w *waiter[T]) bool {
	if w.prev == nil && l.first != w {
		return false
	}
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.len--
	return true
}

// addWaiter adds a waiter for m, and admits it at once if there is room by now.
func (q *Queue[T]) addWaiter(m T) *waiter[T] {
	w := &waiter[T]{m: m, done: make(chan error, 1)}
	q.mu.Lock()
	q.waiters.push(w)
	if q.state != open {
		q.refuseWaiters()
	}
	// The loop increases begun and then reads hasWaiters; here hasWaiters is set and then begun is read. At least one of the two sees the
	// other's change.
	q.hasWaiters.Store(true)
	first := q.admitWaiters()
	q.mu.Unlock()
	if first {
		q.activate()
	}
	return w
}

// admitWaiters accepts the messages of waiters while there is room, and reports whether the event must be activated. Under mu.
func (q *Queue[T]) admitWaiters() (first bool) {
	for w := q.waiters.first; w != nil && q.len() < q.bound; w = q.waiters.first {
		q.waiters.remove(w)
		first = q.in.push(w.m, &q.spare) || first
		q.pushed++
		w.done <- nil
	}
	q.hasWaiters.Store(q.waiters.len > 0)
	return first
}

// cancelWait removes w, whose context has ended. It returns false if w has its outcome already.
func (q *Queue[T]) cancelWait(w *waiter[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.waiters.remove(w) {
		return false
	}
	q.hasWaiters.Store(q.waiters.len > 0)
	q.refused++
	return true
}

// refuseWaiters ends all waiting calls with ErrClosed. Under mu.
func (q *Queue[T]) refuseWaiters() {
	for w := q.waiters.first; w != nil; w = q.waiters.first {
		q.waiters.remove(w)
		w.done <- ErrClosed
	}
	q.hasWaiters.Store(false)
}
