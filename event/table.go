package event

import (
	"errors"
	"time"
)

// The operations on a loop's tables. All run under l.mu and return at once; those that may have to end the loop's
// sleep say so, and their caller wakes it after unlocking.

// usable says why e cannot be added or activated.
func (l *Loop) usable(e *Event) error {
	switch {
	case l.state != loopOpen:
		return ErrClosed
	case e.state&stateFinalized != 0:
		return ErrFinalized
	}
	return nil
}

// add makes e wait, and reports whether a sleeping loop must be woken for it.
func (l *Loop) add(e *Event, timeout time.Duration) (wake bool, err error) {
	if err := l.usable(e); err != nil {
		return false, err
	}
	if e.state&stateAdded == 0 {
		if e.kind&readiness != 0 {
			if err := l.register(e); err != nil {
				return false, err
			}
			wake = !l.features.Has(FeatureConcurrent)
		}
		e.state = e.state&^stateStale | stateAdded
		l.count(e, +1)
	}
	l.keepUser(e, timeout)
	if timeout != NoTimeout {
		if e.state&stateActive != 0 && e.what&Timeout != 0 {
			if e.what &^= Timeout; e.what&outcomes == 0 {
				l.active.remove(e)
			}
		}
		e.interval = timeout
		wake = l.schedule(e, l.clock.Now()+timeout) || wake
	}
	return wake && l.claim(), nil
}

// schedule sets e's deadline and reports whether it is now the nearest.
func (l *Loop) schedule(e *Event, deadline time.Duration) bool {
	if deadline < 0 { // past the end of the clock: the sum has overflowed
		deadline = NoTimeout
	}
	l.seq++
	e.deadline, e.seq = deadline, l.seq
	l.timers.set(e)
	return e.heapIndex == 0
}

// del makes e wait no more and takes back a callback that is not chosen yet.
func (l *Loop) del(e *Event) (wake bool, err error) {
	if e.state&stateFinalized != 0 {
		return false, nil
	}
	l.active.remove(e)
	e.what, e.calls = 0, 0
	if e.state&stateStale != 0 {
		err = ErrStale
	} else {
		err = l.remove(e)
	}
	return l.added == 0 && l.claim(), err // a loop that waits for the last event has nothing to wait for any more
}

// remove takes e out of the tables that wait, but not out of the active queue.
func (l *Loop) remove(e *Event) (err error) {
	l.timers.remove(e)
	e.interval = NoTimeout
	if e.state&stateAdded == 0 {
		return nil
	}
	e.state &^= stateAdded
	l.count(e, -1)
	switch {
	case e.kind&readiness != 0:
		if err = l.unregister(e); errors.Is(err, ErrStale) {
			e.state |= stateStale
		}
	case e.kind&Signal != 0:
		l.signals[int(e.fd)].drop(e)
	case len(l.users) > 0:
		delete(l.users, e)
	}
	return err
}

// keepUser remembers the added events that stand in no other table, for Dump and Close.
func (l *Loop) keepUser(e *Event, timeout time.Duration) {
	switch {
	case e.kind&(readiness|Signal) != 0:
	case timeout != NoTimeout:
		if len(l.users) > 0 {
			delete(l.users, e)
		}
	case e.heapIndex < 0:
		l.users[e] = struct{}{}
	}
}

// activate puts e into the active queue, or adds to what it will be told, and reports whether the loop must be woken.
func (l *Loop) activate(e *Event, what Flags) (wake bool) {
	if e.state&stateActive != 0 {
		e.what |= what
		l.stats.Coalesced++
		return false
	}
	e.what = what
	e.calls++ // and not 1: a signal's callback that runs now may have more calls to come
	l.active.push(e)
	l.maxActive = max(l.maxActive, l.active.len)
	return l.claim()
}

// begin removes e from the active queue as its callback is chosen, and returns what to tell it. What does not persist
// is removed before the callback, and what does is timed again, so that an Add or Del in the callback has the last word.
// It returns false if there is nothing to tell: the descriptor turned out to have been closed.
func (l *Loop) begin(e *Event) (what Flags, ok bool) {
	l.active.remove(e)
	what = e.what
	e.what = 0
	switch {
	case e.state&stateAdded == 0:
	case e.kind&Persist == 0:
		e.calls = 1
		if errors.Is(l.remove(e), ErrStale) {
			return 0, false
		}
	case e.interval != NoTimeout:
		l.rearm(e, what)
	}
	return what, true
}

// rearm counts a persistent event's next timeout from the last one that was due, so that it does not drift, or from now
// if something else called or the time has passed already: one call catches up, however long the stop was.
func (l *Loop) rearm(e *Event, what Flags) {
	timedOut := what&Timeout != 0 && e.heapIndex < 0
	if next := e.deadline + e.interval; timedOut && next > l.now {
		l.schedule(e, next)
	} else {
		l.schedule(e, l.clock.Now()+e.interval)
	}
}

// count keeps the numbers of events that are added.
func (l *Loop) count(e *Event, n int) {
	if e.state&stateInternal == 0 {
		l.added += n
		l.maxAdded = max(l.maxAdded, l.added)
	}
}
