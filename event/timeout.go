package event

import "time"

// SetTimeout sets a timeout that is reported once. It is not restarted, neither by a report nor, for a persistent event, when it has
// passed. It replaces the current timeout; NoTimeout removes it, and cancels a Timeout that is not delivered yet. Use it when you track
// several deadlines yourself and want one timer for the nearest.
// Errors: ErrInvalid, ErrClosed, ErrFinalized, ErrNotAdded. Any goroutine.
func (e *Event) SetTimeout(timeout time.Duration) error {
	if timeout < 0 {
		return e.opError("set timeout of", invalid("timeout %v", timeout))
	}
	l := e.loop
	l.mu.Lock()
	err := l.setTimeout(e, timeout)
	l.unlock()
	return e.opError("set timeout of", err)
}

// setTimeout is SetTimeout. Under l.mu.
func (l *Loop) setTimeout(e *Event, timeout time.Duration) error {
	if err := l.usable(e); err != nil {
		return err
	}
	if e.state&stateAdded == 0 {
		return ErrNotAdded
	}
	deadline := NoTimeout
	if timeout != NoTimeout {
		deadline = l.deadline(timeout) // before anything has changed, since a Clock may panic
	}
	l.withdraw(e, Timeout)
	e.interval = NoTimeout
	if timeout == NoTimeout {
		l.timers.remove(e)
	}
	l.trackUntimed(e, timeout)
	if timeout == NoTimeout {
		return nil
	}
	l.schedule(e, deadline)
	return nil
}
