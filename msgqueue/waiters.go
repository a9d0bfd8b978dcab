package msgqueue

// A waiter is a PushContext that has found the queue full.
type waiter[T any] struct {
	m          T
	done       chan error // gets the one outcome
	prev, next *waiter[T]
}

// waiterList is first come, first served.
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

// remove takes w out, and reports whether it was in.
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

// wait enters m among those who wait, and serves it at once if there is room meanwhile.
func (q *Queue[T]) wait(m T) *waiter[T] {
	w := &waiter[T]{m: m, done: make(chan error, 1)}
	q.mu.Lock()
	q.waiters.push(w)
	if q.state != open {
		q.refuseWaiters()
	}
	// The loop begins a message and then looks at waiting; here it is the other way round. One of the two sees the other.
	q.waiting.Store(true)
	first := q.serve()
	q.mu.Unlock()
	if first {
		q.tell()
	}
	return w
}

// serve lets in who waits, as far as there is room, and reports whether the loop must be told. Under mu.
func (q *Queue[T]) serve() (first bool) {
	for w := q.waiters.first; w != nil && q.len() < q.bound; w = q.waiters.first {
		q.waiters.remove(w)
		first = q.in.push(w.m, &q.spare) || first
		q.pushed++
		w.done <- nil
	}
	q.waiting.Store(q.waiters.len > 0)
	return first
}

// giveUp takes w, whose context has ended, back. It returns false if w has its outcome already.
func (q *Queue[T]) giveUp(w *waiter[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.waiters.remove(w) {
		return false
	}
	q.waiting.Store(q.waiters.len > 0)
	q.refused++
	return true
}

// refuseWaiters ends all waits with ErrClosed. Under mu.
func (q *Queue[T]) refuseWaiters() {
	for w := q.waiters.first; w != nil; w = q.waiters.first {
		q.waiters.remove(w)
		w.done <- ErrClosed
	}
	q.waiting.Store(false)
}
