package event

import "time"

// SetTimeout gives an event that is added a timeout that is reported once and that nothing renews: neither a report nor, for a persistent
// event, the timeout itself. It replaces the timeout that runs, if any; NoTimeout takes it away. It is for users that keep several
// deadlines of their own, of which the nearest moves with every report, and look at them when the timeout comes.
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
	l.takeBack(e, Timeout)
	e.interval = NoTimeout
	if timeout == NoTimeout {
		l.timers.remove(e)
	}
	l.keepUser(e, timeout)
	if timeout == NoTimeout {
		return nil
	}
	l.schedule(e, deadline)
	return nil
}
