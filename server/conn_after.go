package server

import (
	"time"

	"github.com/evmq/evmq/event"
)

// A ConnTimer is a timer of a connection, made by Conn.AfterFunc. It ends with the connection. The zero ConnTimer must not be used.
type ConnTimer struct {
	ev event.Event
	c  *Conn
	fn func()

	// Guarded by the connection's mu.
	running    bool       // it was started, and neither fired nor stopped since
	prev, next *ConnTimer // in the list of the connection's running timers
}

// AfterFunc calls fn once on the connection's loop when d has passed on the loop's clock, or in the loop's next turn if d is not positive.
// The timer is stopped when the connection ends: fn is not called after Abort, after the descriptor was closed for any reason, or after
// Handler.Close, and a timer that is made or reset then does not run. The timers of a connection that is being closed in order still run. A
// running timer delays neither the end of a connection nor a shutdown. fn must not block; a panic in it is handled like a panic in a method
// of the Handler. AfterFunc allocates the timer, about 250 bytes; Stop and Reset allocate nothing. It panics if fn is nil. Any goroutine.
func (c *Conn) AfterFunc(d time.Duration, fn func()) *ConnTimer {
	if fn == nil {
		panic("server: AfterFunc of a nil function")
	}
	t := new(ConnTimer)
	t.init(c, fn)
	t.Reset(d)
	return t
}

// init prepares a timer that does not run.
func (t *ConnTimer) init(c *Conn, fn func()) {
	t.c, t.fn = c, fn
	if err := c.loop.ev.InitEvent(&t.ev, -1, 0, t.expired); err != nil { // the loop is closed, and the connection too
		t.fn = nil
	}
}

// Stop stops the timer. It reports whether it did: false if fn was called or is being called, if the timer was stopped before, or if the
// connection has ended. It does not wait for a call that runs. On the loop, fn is never called after Stop. Any goroutine.
func (t *ConnTimer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return t.stopLocked()
}

// Reset makes the timer call fn when d has passed from now on, whether it runs or not. It reports whether the timer was running. After the
// connection's end it does nothing and reports false. Any goroutine.
func (t *ConnTimer) Reset(d time.Duration) bool {
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	ran := t.stopLocked()
	if c.state == connClosed || t.fn == nil || t.ev.Add(max(0, d)) != nil {
		return ran
	}
	x := c.extra()
	t.running, t.next = true, x.timers
	if t.next != nil {
		t.next.prev = t
	}
	x.timers = t
	return ran
}

// stopLocked is Stop under the connection's mu.
func (t *ConnTimer) stopLocked() bool {
	if !t.unlink() {
		return false
	}
	_ = t.ev.Del() // fails if the loop is closed, which then calls nothing
	return true
}

// unlink removes the timer from the list of its connection's running timers, and reports whether it was in it. Under the connection's mu.
func (t *ConnTimer) unlink() bool {
	if !t.running {
		return false
	}
	t.running = false
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		t.c.ext.timers = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	return true
}

// expired is the callback of the timer's event. Its call may have begun when another goroutine stops or resets the timer.
func (t *ConnTimer) expired(*event.Event, event.Flags) {
	t.c.loop.assertInLoop("a connection's timer")
	c := t.c
	c.mu.Lock()
	_, again := t.ev.Remaining()
	calls := !again && c.state != connClosed && t.unlink()
	c.mu.Unlock()
	if !calls {
		return
	}
	c.loop.setCurrent(c.loopPart())
	c.guard(t.fn)
	c.loop.clearCurrent()
	c.mu.Lock()
	c.loopPart().dropExt()
	c.mu.Unlock()
}

// stopTimers stops all timers of a connection that ends. Under mu, on the loop.
func (c *loopConn) stopTimers() {
	for c.ext.timers != nil {
		c.ext.timers.stopLocked()
	}
}
