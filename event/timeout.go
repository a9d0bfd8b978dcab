package event

import (
	"fmt"
	"time"
)

// SetTimeout gives an event that is added a timeout that is reported once and that nothing renews: neither a report nor, for a persistent
// event, the timeout itself. It replaces whatever timeout runs; NoTimeout takes it away. It is for who keeps several
// deadlines, of which the nearest moves with every report, and would rather look at them when the timeout comes.
// Errors: ErrTimeout, ErrClosed, ErrFinalized, ErrNotAdded. Any goroutine.
func (e *Event) SetTimeout(timeout time.Duration) error {
	if timeout < 0 {
		return e.opError("set timeout of", fmt.Errorf("%w: %v", ErrTimeout, timeout))
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
	l.takeBack(e, Timeout)
	e.interval = NoTimeout
	if timeout == NoTimeout {
		l.timers.remove(e)
	}
	l.keepUser(e, timeout)
	if timeout == NoTimeout {
		return nil
	}
	if l.schedule(e, l.deadline(timeout)) {
		l.claim()
	}
	return nil
}
