package event

import (
	"errors"
	"time"
)

// The operations on a loop's tables. All run under l.mu and return at once; those that may have to end the loop's sleep
// claim it, and the unlocking wakes it.

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

// add makes e wait.
func (l *Loop) add(e *Event, timeout time.Duration) error {
	if err := l.usable(e); err != nil {
		return err
	}
	deadline := NoTimeout
	if timeout != NoTimeout {
		deadline = l.deadline(timeout) // before anything has changed, since a Clock may panic
	}
	if e.state&stateAdded == 0 {
		if e.ofDescriptor() {
			if err := l.register(e); err != nil {
				l.claimIfEmpty() // the attempt may have found the descriptor's other events stale
				return err
			}
			if !l.features.Has(FeatureConcurrent) {
				l.claim()
			}
		}
		e.state = e.state&^stateStale | stateAdded
		l.count(e, +1)
	}
	l.keepUser(e, timeout)
	if timeout == NoTimeout {
		return nil
	}
	l.takeBack(e, Timeout)
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
		return ErrStale // resuming an event that has ended would wait for nothing
	case gained|lost == 0:
		return nil
	case e.state&stateAdded == 0:
		e.conditions = conditions
	default:
		if err := l.reregister(e, conditions); err != nil {
			l.claimIfEmpty() // the descriptor's events may have turned out stale
			return err
		}
		if gained != 0 && !l.features.Has(FeatureConcurrent) {
			l.claim()
		}
	}
	l.takeBack(e, lost)
	return nil
}

// takeBack takes flags out of what an active event will be told, and the event out of the queue if there is nothing else to
// tell and it was not activated with 0.
func (l *Loop) takeBack(e *Event, flags Flags) {
	if e.state&stateActive == 0 || e.what&flags == 0 {
		return
	}
	e.what &^= flags
	if e.what&readiness == 0 {
		e.what &^= EdgeTriggered // it tells in what manner a condition was reported
	}
	if e.what == 0 && e.state&stateAsked == 0 {
		l.active.remove(e)
		e.calls = max(0, e.calls-1) // deliveries of a signal that came before, if its callback runs now, stay owed
	}
}

// claimIfEmpty ends the sleep of a loop that waits for nothing any more.
func (l *Loop) claimIfEmpty() {
	if l.added+l.refs == 0 {
		l.claim()
	}
}

// deadline is the clock's reading after d has passed.
func (l *Loop) deadline(d time.Duration) time.Duration { return later(l.readClock(), d) }

// later is the time d after t, where d is not negative; at most NoTimeout, which is the end of the clock.
func later(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return NoTimeout
}

// schedule sets e's deadline, and ends the loop's sleep if that would pass it.
func (l *Loop) schedule(e *Event, deadline time.Duration) {
	l.seq++
	e.deadline, e.seq = deadline, l.seq
	l.timers.set(e)
	if l.asleep && deadline < l.sleepsUntil {
		l.claim()
	}
}

// del makes e wait no more and takes back a callback that is not chosen yet.
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
	l.claimIfEmpty()
	return err
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
	case e.ofDescriptor():
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
	case e.fd >= 0: // stands in its descriptor's row, whether it waits for a condition or not, or with its signal
	case timeout != NoTimeout:
		if len(l.users) > 0 {
			delete(l.users, e)
		}
	case e.heapIndex < 0:
		l.users[e] = struct{}{}
	}
}

// activate puts e into the active queue, or adds to what it will be told.
func (l *Loop) activate(e *Event, what Flags) {
	if e.state&stateActive != 0 {
		e.what |= what
		l.stats.Coalesced++
		return
	}
	e.what = what
	if e.kind&Signal != 0 {
		e.calls++ // its callback may run now and have more calls to come
	}
	l.active.push(e)
	l.maxActive = max(l.maxActive, l.active.len)
	if int(e.priority) < l.level {
		l.overtaken = true
		l.setInterrupt()
	}
	l.claim()
}

// begin removes e from the active queue as its callback is chosen, and returns what to tell it, a timeout that has passed
// meanwhile included. What does not persist is removed before the callback, and what does is timed again, so that an Add or Del
// in the callback has the last word. It returns false if there is nothing to tell: the descriptor turned out to have been closed.
func (l *Loop) begin(e *Event) (what Flags, ok bool) {
	if e.heapIndex >= 0 && e.deadline <= l.Now() && e.seq <= l.expired {
		l.timedOut(e)
		e.what |= Timeout
	}
	what = e.what
	persists := e.state&stateAdded != 0 && e.kind&Persist != 0
	next := NoTimeout
	if persists && e.interval != NoTimeout {
		next = l.nextDeadline(e) // before anything has changed, since a Clock may panic
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
		l.keepUser(e, NoTimeout) // one of SetTimeout, which nothing renews
	}
	return what, true
}

// nextDeadline counts a persistent event's next timeout from the last one that was due, so that it does not drift, or from now
// if something else called or the time has passed already: one call catches up, however long the stop was.
func (l *Loop) nextDeadline(e *Event) time.Duration {
	timedOut := e.what&Timeout != 0 && e.heapIndex < 0
	if next := later(e.deadline, e.interval); timedOut && next > l.Now() {
		return next
	}
	return l.deadline(e.interval)
}

// count keeps the numbers of events that are added.
func (l *Loop) count(e *Event, n int) {
	if e.state&stateInternal == 0 {
		l.added += n
		l.maxAdded = max(l.maxAdded, l.added)
	}
}
