package event

import "fmt"

// postQueue holds the functions given to Post, first in, first out.
type postQueue struct {
	fns  []func()
	head int
}

func (q *postQueue) len() int { return len(q.fns) - q.head }

func (q *postQueue) push(fn func()) { q.fns = append(q.fns, fn) }

// pop removes and returns the first function. It releases memory after a burst.
func (q *postQueue) pop() func() {
	fn := q.fns[q.head]
	q.fns[q.head] = nil
	q.head++
	switch {
	case q.head == len(q.fns) && cap(q.fns) > 1024:
		q.fns, q.head = nil, 0
	case q.head == len(q.fns):
		q.fns, q.head = q.fns[:0], 0
	case q.head >= 1024 && q.head >= len(q.fns)/2:
		n := copy(q.fns, q.fns[q.head:])
		clear(q.fns[n:])
		q.fns, q.head = q.fns[:n], 0
	}
	return fn
}

// Post has fn called on the loop. Functions are called in the order of Post, each exactly once: by a Run, or at the latest by Close.
// Errors: ErrClosed, ErrFull if Config.PostLimit functions wait, ErrInvalid; fn was not accepted then. Any goroutine.
func (l *Loop) Post(fn func()) error {
	if fn == nil {
		return fmt.Errorf("post: %w", errNilFunc)
	}
	l.mu.Lock()
	var err error
	switch {
	case l.state != loopOpen:
		err = fmt.Errorf("post: %w", ErrClosed)
	case l.posts.len() >= l.postLimit:
		err = fmt.Errorf("post: %w: %d", ErrFull, l.postLimit)
	default:
		l.posts.push(fn)
		l.activate(l.postEvent, 0)
	}
	l.unlock()
	return err
}

// runPostsInLoop calls the functions that were posted before it began, within the turn's budget. The remaining ones wait for the next turn.
func (l *Loop) runPostsInLoop() {
	l.assertInLoop()
	defer func() { // also after a panic, since the others were accepted
		l.mu.Lock()
		if l.posts.len() > 0 {
			l.activate(l.postEvent, 0)
		}
		l.mu.Unlock()
	}()
	l.mu.Lock()
	for left := min(l.posts.len(), l.budget.Callbacks); left > 0 && !l.interrupted(); left-- {
		l.callPost(l.posts.pop())
		if l.timeExceeded() {
			break
		}
	}
	l.mu.Unlock()
}

// drainPosts calls the remaining functions when the loop closes. After a panic it still calls the others.
func (l *Loop) drainPosts() {
	over := false
	defer func() {
		if !over {
			l.drainPosts()
		}
	}()
	l.mu.Lock()
	for l.posts.len() > 0 {
		l.callPost(l.posts.pop()) // a panic passes with l.mu unlocked
	}
	over = true
	l.mu.Unlock()
}

// callPost calls fn without l.mu and locks it again, unless fn panics.
func (l *Loop) callPost(fn func()) {
	l.called++
	l.stats.Posts++
	l.mu.Unlock()
	l.call(fn)
	l.mu.Lock()
}

// drainFinalizers calls the pending finalizers when the loop closes, the most urgent first, each once. After a panic it still calls
// the others.
func (l *Loop) drainFinalizers() {
	var due []*Event
	l.mu.Lock()
	for _, list := range l.active.lists {
		for e := list.head; e != nil; e = e.nextActive {
			if e.state&stateFinalized != 0 {
				due = append(due, e)
			}
		}
	}
	l.mu.Unlock()
	l.finalize(due)
}

func (l *Loop) finalize(due []*Event) {
	defer func() {
		if len(due) > 0 {
			l.finalize(due)
		}
	}()
	for len(due) > 0 {
		e := due[0]
		due = due[1:]
		l.mu.Lock()
		l.active.remove(e)
		fn := e.fn
		l.mu.Unlock()
		l.call(func() { fn(e, 0) })
	}
}
