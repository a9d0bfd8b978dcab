package server

import (
	"sync"
)

// do makes the loop call fn, in the order of the calls of do and independently of the posts of users. It reports whether fn will be called;
// if the loop is closed, it will not. Any goroutine.
func (l *loop) do(fn func()) bool { return l.tasks.Push(fn) == nil }

// runTask is the callback of tasks.
func (l *loop) runTask(fn func()) {
	l.assertInLoop("a task")
	fn()
}

// doFully makes the loop call fn and then done. If a callback in fn calls runtime.Goexit, fn is called again and must continue where it
// stopped. When the loop has ended, doLate calls them. Any goroutine.
func (l *loop) doFully(fn, done func()) {
	var attempt func()
	attempt = func() {
		complete := false
		defer func() {
			switch {
			case complete:
				done()
			case !l.do(attempt):
				l.doLate(attempt)
			}
		}()
		fn()
		complete = true
	}
	if !l.do(attempt) {
		l.doLate(attempt)
	}
}

// lateWork has functions for a loop that has ended, such as the end of a request on a worker. The loop has no goroutine any more: each
// function runs on the goroutine that adds it, or on one that runs another of them at that time, so that they run one after the other.
type lateWork struct {
	mu      sync.Mutex // guards the fields; not held while a function runs
	busy    bool       // the loop has not ended, or a goroutine runs the functions
	waiting []func()
}

// doLate runs fn, or makes another goroutine run it, when the loop has ended; see lateWork. Any goroutine.
func (l *loop) doLate(fn func()) {
	w := &l.late
	w.mu.Lock()
	w.waiting = append(w.waiting, fn)
	busy := w.busy
	w.busy = true
	w.mu.Unlock()
	if !busy {
		l.runLate()
	}
}

// runLate runs the functions of lateWork. The caller has set busy.
func (l *loop) runLate() {
	complete := false
	defer func() {
		if !complete { // a callback has called runtime.Goexit or panicked
			l.runLate()
		}
	}()
	w := &l.late
	for {
		l.runLeft()
		l.countTraffic()
		w.mu.Lock()
		if len(w.waiting) == 0 {
			w.busy, w.waiting = false, nil
			w.mu.Unlock()
			break
		}
		fn := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.mu.Unlock()
		fn()
	}
	complete = true
	l.goneOnce.Do(func() { close(l.gone) })
}
