package server

// do has fn called on the loop, in the order of the calls and however many posts of users wait. It reports whether fn will be
// called: not on a loop that is closed. Any goroutine.
func (l *loop) do(fn func()) bool { return l.orders.Push(fn) == nil }

// doFully has fn called on the loop, again if a callback in it calls runtime.Goexit, and then done. fn goes on where it was cut
// short. On a loop that is closed both are called here, since nothing runs there any more. Any goroutine.
func (l *loop) doFully(fn, done func()) {
	var attempt func()
	attempt = func() {
		complete := false
		defer func() {
			switch {
			case complete:
				done()
			case !l.do(attempt):
				attempt()
			}
		}()
		fn()
		complete = true
	}
	if !l.do(attempt) {
		attempt()
	}
}

// end is called once, when the loop is closed, on the goroutine that closes it: it does what was still to be done, and ends the
// connections that had not arrived yet.
func (l *loop) end() {
	l.leftOrders = l.orders.Close()
	l.left = append(l.left, l.queue.Close()...)
	l.endRest()
}

// endRest goes on where a callback has cut it short.
func (l *loop) endRest() {
	complete := false
	defer func() {
		if !complete {
			l.endRest()
		}
	}()
	if l.visiting != nil {
		l.mend()
	}
	for len(l.leftOrders) > 0 {
		fn := l.leftOrders[0]
		l.leftOrders = l.leftOrders[1:]
		fn()
	}
	l.cut = true
	for len(l.left) > 0 {
		c := l.left[0]
		l.left = l.left[1:]
		c.mu.Lock()
		commands := c.commands
		c.commands, c.place = 0, visited
		c.mu.Unlock()
		l.enter(c)
		c.obey(commands)
		l.visiting = nil
	}
	complete = true
}
