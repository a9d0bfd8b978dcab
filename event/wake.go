package event

import "time"

// The wake protocol. Its steps bear the names that the model in docs/model uses.
//
// Whoever has something for the loop publishes it in the tables and then looks at the flag, both under l.mu (claim). Only
// the one who turns the flag from asleep to awake wakes the loop (ring), after unlocking. The loop, before it sleeps, sets
// the flag and then looks at the tables, both under l.mu (fallAsleep); back from the wait it turns the flag itself
// (awake), in the same critical section in which it begins to empty the tables. A ring may come late, when the loop is
// awake for another reason; it then ends a later sleep at once, which costs one empty turn and nothing else. Nothing
// relies on a timeout.

// claim turns the flag from asleep to awake, if it is not so already. The critical section in which it is called then ends
// in a ring, which unlock sees to. Under l.mu.
func (l *Loop) claim() {
	if !l.asleep {
		l.stats.Coalesced++
		return
	}
	l.stats.Wakes++
	l.turnFlag()
}

// turnFlag is claim's second half, for who knows that the loop is asleep.
func (l *Loop) turnFlag() {
	l.asleep, l.ringDue = false, true
	l.driver.claimed()
}

// unlock unlocks l.mu and rings if the flag was turned meanwhile: never under the lock, into which the woken loop would run.
// Every critical section that can claim ends here. Those of the loop itself cannot: it is awake.
func (l *Loop) unlock() {
	ring := l.ringDue
	l.ringDue = false
	l.mu.Unlock()
	if ring {
		l.driver.ring()
	}
}

// fallAsleep sets the flag and looks for work. It returns false, with the flag unset, if there is some; else the deadline
// until which the loop may sleep, NoTimeout for ever. A deadline that is set later wakes the loop only if it is before that one.
func (l *Loop) fallAsleep() (deadline time.Duration, asleep bool) {
	l.mu.Lock()
	l.asleep = true
	deadline, mayWait := l.mayWait()
	if !mayWait || deadline <= l.Now() { // due timers that the turn has left for the next
		l.asleep = false
		l.mu.Unlock()
		return 0, false
	}
	l.sleepsUntil = deadline
	l.slept = true
	l.endMeter()
	l.mu.Unlock()
	return deadline, true
}

// mayWait returns the deadline, NoTimeout for none, until which the loop may wait, and false if it has a reason not to. Under l.mu.
func (l *Loop) mayWait() (deadline time.Duration, ok bool) {
	if l.active.len > 0 || l.stopping() || l.empty() || len(l.notes.lines) > 0 {
		return 0, false
	}
	return l.timers.nearest(), true
}

// awake turns the flag back. Under l.mu.
func (l *Loop) awake() { l.asleep = false }
