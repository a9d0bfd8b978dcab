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
func (q *Queue[T]) wait(m T) (*waiter[T], error) {
	q.mu.Lock()
	if q.state != open {
		q.mu.Unlock()
		return nil, ErrClosed
	}
	w := &waiter[T]{m: m, done: make(chan error, 1)}
	q.waiters.push(w)
	// The loop begins a message and then looks at waiting; here it is the other way round. One of the two sees the other.
	q.waiting.Store(true)
	idle := q.serve()
	q.mu.Unlock()
	if idle {
		return w, q.start(1)
	}
	return w, nil
}

// serve lets in who waits, as far as there is room, and reports whether the loop must be told. Under mu.
func (q *Queue[T]) serve() (idle bool) {
	for w := q.waiters.first; w != nil && q.len() < q.bound; w = q.waiters.first {
		q.waiters.remove(w)
		q.in.push(w.m, &q.spare)
		q.pushed++
		w.done <- nil
		idle = idle || !q.active
		q.active = true
	}
	q.waiting.Store(q.waiters.len > 0)
	return idle
}

// giveUp takes w back. It returns false if w has its outcome already.
func (q *Queue[T]) giveUp(w *waiter[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.waiters.remove(w)
	q.waiting.Store(q.waiters.len > 0)
	return was
}

// refuseWaiters ends all waits with ErrClosed. Under mu.
func (q *Queue[T]) refuseWaiters() {
	for w := q.waiters.first; w != nil; w = q.waiters.first {
		q.waiters.remove(w)
		w.done <- ErrClosed
	}
	q.waiting.Store(false)
}
