package server

// A loop works on one connection at a time: it reads, calls the handler, writes and calls completions. Only callbacks of this connection
// run meanwhile. A callback may end the work early, by runtime.Goexit or by a panic that an option of the loops recovers from. Then
// loop.current is still the connection when the loop continues, and abortCurrent ends it.

// setCurrent begins the work on c. clearCurrent ends it.
func (l *loop) setCurrent(c *loopConn) {
	l.assertInLoop("the work on a connection")
	if l.current != nil {
		l.abortCurrent()
	}
	l.current, l.inData = c, false
}

// clearCurrent ends the work on the current connection.
func (l *loop) clearCurrent() { l.current = nil }

// abortCurrent is called when a callback has ended the work early. It aborts the connection of the callback with ErrPanic, and reports the
// outcome of its writes. A callback may end abortCurrent early, too; then it is called again.
func (l *loop) abortCurrent() {
	c := l.current
	c.mu.Lock()
	c.setState(connClosed)
	c.setReason(ErrPanic)
	c.commands |= cmdCheck
	c.stopRunning()
	c.sched = c.sched&schedRefused | schedQueued
	c.mu.Unlock()
	if l.queue.Push(c) != nil { // the loop is being closed
		l.leftConns = append(l.leftConns, c)
	}
	l.report(c, l.outcome)
	l.current = nil
}

// maxDones is the largest capacity of dones that a loop keeps.
const maxDones = 1 << 10

// report calls the completions in l.dones, which belong to writes to c, with their outcome. When a callback ends it early, the next call
// continues after that callback.
func (l *loop) report(c *loopConn, outcome error) {
	l.outcome = outcome
	for l.reported < len(l.dones) {
		done := l.dones[l.reported]
		l.dones[l.reported] = nil
		l.reported++
		if l.srv.cfg.OnPanic == nil {
			done(outcome)
		} else {
			c.guard(func() { done(outcome) })
		}
	}
	l.reported, l.outcome = 0, nil
	if l.dones = l.dones[:0]; cap(l.dones) > maxDones {
		l.dones = nil
	}
}
