package event

import (
	"errors"
	"time"
)

// The operations on a loop's tables. All run under l.mu and do not block. Those that may have to end the loop's sleep
// call wakeOnUnlock.

// usable returns an error if e cannot be added or activated.
func (l *Loop) usable(e *Event) error {
	switch {
	case l.state != loopOpen:
		return ErrClosed
	case e.state&stateFinalized != 0:
		return ErrFinalized
	}
	return nil
}

// add adds e to the tables.
func (l *Loop) add(e *Event, timeout time.Duration) error {
	if err := l.usable(e); err != nil {
		return err
	}
	deadline := NoTimeout
	if timeout != NoTimeout {
		deadline = l.deadline(timeout) // before any change, since a Clock may panic
	}
	if e.state&stateAdded == 0 {
		if e.ofDescriptor() {
			if err := l.register(e); err != nil {
				l.wakeOnUnlockIfEmpty() // the attempt may have ended the descriptor's other events as stale
				return err
			}
			if !l.features.Has(FeatureConcurrent) {
				l.wakeOnUnlock()
			}
		}
		e.state = e.state&^stateStale | stateAdded
		l.count(e, +1)
	}
	l.trackUntimed(e, timeout)
	if timeout == NoTimeout {
		return nil
	}
	l.withdraw(e, Timeout)
	e.interval = timeout
	l.schedule(e, deadline)
	return nil
}

// setConditions changes what e waits for.
func (l *Loop) setConditions(e *Event, conditions Flags) error {
	if err := l.usable(e); err != nil {
		return err
	}
	gained, lost := conditions&^e.conditions, e.conditions&^conditions
	switch {
	case e.state&stateStale != 0:
		return ErrStale // resuming a stale event would never fire
	case gained|lost == 0:
		return nil
	case e.state&stateAdded == 0:
		e.conditions = conditions
	default:
		if err := l.reregister(e, conditions); err != nil {
			l.wakeOnUnlockIfEmpty() // the descriptor's events may have ended as stale
			return err
		}
		if gained != 0 && !l.features.Has(FeatureConcurrent) {
			l.wakeOnUnlock()
		}
	}
	l.withdraw(e, lost)
	return nil
}

// withdraw removes flags from those that an active event will be called with, and deactivates the event if no flags remain
// and it was not activated with 0.
func (l *Loop) withdraw(e *Event, flags Flags) {
	if e.state&stateActive == 0 || e.what&flags == 0 {
		return
	}
	e.what &^= flags
	if e.what&readiness == 0 {
		e.what &^= EdgeTriggered // it only qualifies a condition
	}
	if e.what == 0 && e.state&stateAsked == 0 {
		l.active.remove(e)
		e.calls = max(0, e.calls-1) // pending calls for earlier deliveries of a signal remain
	}
}

// wakeOnUnlockIfEmpty wakes a loop that has nothing left to wait for, so that its Run returns.
func (l *Loop) wakeOnUnlockIfEmpty() {
	if l.added+l.refs == 0 {
		l.wakeOnUnlock()
	}
}

// deadline returns the time at which d will have passed.
func (l *Loop) deadline(d time.Duration) time.Duration { return later(l.readClock(), d) }

// later returns t + d, or NoTimeout if that overflows. d is not negative.
func later(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return NoTimeout
}

// schedule sets e's deadline, and ends the loop's sleep if the sleep would last longer.
func (l *Loop) schedule(e *Event, deadline time.Duration) {
	l.seq++
	e.deadline, e.seq = deadline, l.seq
	l.timers.set(e)
	if l.asleep && deadline < l.sleepsUntil {
		l.wakeOnUnlock()
	}
}

// del removes e from all tables and cancels a call that has not begun.
func (l *Loop) del(e *Event) error {
	if e.state&stateFinalized != 0 {
		return nil
	}
	l.active.remove(e)
	e.what, e.calls = 0, 0
	if e.state&stateStale != 0 {
		return ErrStale
	}
	err := l.remove(e)
	l.wakeOnUnlockIfEmpty()
	return err
}

// remove removes e from all tables except the active queue.
func (l *Loop) remove(e *Event) (err error) {
	l.timers.remove(e)
	e.interval = NoTimeout
	if e.state&stateAdded == 0 {
		return nil
	}
	e.state &^= stateAdded
	l.count(e, -1)
	switch {
	case e.ofDescriptor():
		if err = l.unregister(e); errors.Is(err, ErrStale) {
			e.state |= stateStale
		}
	case e.kind&Signal != 0:
		l.signals[int(e.fd)].drop(e)
	case len(l.untimed) > 0:
		delete(l.untimed, e)
	}
	return err
}

// trackUntimed keeps the set of added events that are in no other table, for Events and Close.
func (l *Loop) trackUntimed(e *Event, timeout time.Duration) {
	switch {
	case e.fd >= 0: // it is with its descriptor, even without conditions, or with its signal
	case timeout != NoTimeout:
		if len(l.untimed) > 0 {
			delete(l.untimed, e)
		}
	case e.heapIndex < 0:
		l.untimed[e] = struct{}{}
	}
}

// activate puts e into the active queue, or adds what to its flags if it is there.
func (l *Loop) activate(e *Event, what Flags) {
	if e.state&stateActive != 0 {
		e.what |= what
		l.stats.Coalesced++
		return
	}
	e.what = what
	if e.kind&Signal != 0 {
		e.calls++ // its callback may be running, with further calls pending
	}
	l.active.push(e)
	l.maxActive = max(l.maxActive, l.active.len)
	l.noteUrgent(e.priority)
	l.wakeOnUnlock()
}

// dequeue removes e from the active queue to call its callback, and returns the flags of the call, including Timeout if the timeout has
// passed meanwhile. A non-persistent event is removed, and the timeout of a persistent one is restarted, before the callback, so that an
// Add or Del in the callback takes effect. It returns false if there is no call, because the descriptor was found closed.
func (l *Loop) dequeue(e *Event) (what Flags, ok bool) {
	if e.heapIndex >= 0 && e.deadline <= l.Now() && e.seq <= l.expired {
		l.removeExpired(e)
		e.what |= Timeout
	}
	what = e.what
	persists := e.state&stateAdded != 0 && e.kind&Persist != 0
	next := NoTimeout
	if persists && e.interval != NoTimeout {
		next = l.nextDeadline(e) // before any change, since a Clock may panic
	}
	l.active.remove(e)
	e.what = 0
	switch {
	case e.state&stateAdded == 0:
	case !persists:
		e.calls = min(e.calls, 1)
		if errors.Is(l.remove(e), ErrStale) {
			return 0, false
		}
	case e.interval != NoTimeout:
		l.schedule(e, next)
	case what&Timeout != 0:
		l.trackUntimed(e, NoTimeout) // the timeout of SetTimeout is not repeated
	}
	return what, true
}

// nextDeadline returns a persistent event's next deadline. It counts from the previous one, so that delays do not accumulate;
// or from now if the call has another cause or the next deadline has passed already, so that one call makes up for a long
// delay.
func (l *Loop) nextDeadline(e *Event) time.Duration {
	timedOut := e.what&Timeout != 0 && e.heapIndex < 0
	if next := later(e.deadline, e.interval); timedOut && next > l.Now() {
		return next
	}
	return l.deadline(e.interval)
}

// count updates the number of added events.
func (l *Loop) count(e *Event, n int) {
	if e.state&stateInternal == 0 {
		l.added += n
		l.maxAdded = max(l.maxAdded, l.added)
	}
}
