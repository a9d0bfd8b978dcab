package server

// do has fn called on the loop, in the order of the calls and however many posts of users wait. It reports whether fn will be
// called: not on a loop that is closed. Any goroutine.
func (l *loop) do(fn func()) bool { return l.orders.Push(fn) == nil }

// doFully has fn called on the loop, again if a callback in it calls runtime.Goexit, and then done. fn goes on where it was cut
// short. When the loop has ended, they are called as lateWork says. Any goroutine.
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
