package event

import "time"

// The wake protocol. The README of docs/model lists the functions for each step of the model.
//
// A goroutine that has work for the loop publishes it in the tables and then checks the asleep flag, both under l.mu
// (wakeOnUnlock). The goroutine that changes the flag from asleep to awake, and no other, wakes the loop after unlocking
// (unlock). Before the loop sleeps, it sets the flag and then checks the tables, both under l.mu (fallAsleep). After the wait
// it clears the flag itself (clearAsleepInLoop), in the critical section in which it begins to empty the tables. A wake may
// come late, when the loop is already awake for another reason; it then ends a later sleep at once, which costs one empty turn.
// Correctness does not depend on a timeout.

// wakeOnUnlock makes the unlock at the end of the critical section wake the loop if it sleeps, by changing the flag from asleep
// to awake. Under l.mu.
func (l *Loop) wakeOnUnlock() {
	if !l.asleep {
		l.stats.Coalesced++
		return
	}
	l.stats.Wakes++
	l.woken = true
	l.announceWake()
}

// announceWake is wakeOnUnlock for a loop that is asleep, without counting. Under l.mu.
func (l *Loop) announceWake() {
	l.asleep, l.wakeDue = false, l.driver.announceWake()
}

// unlock unlocks l.mu and then wakes the loop if wakeOnUnlock was called and the loop was asleep. It wakes after unlocking,
// since the woken loop takes the lock. Every critical section that can call wakeOnUnlock ends with unlock, except those of the
// goroutine that runs the loop, which is awake.
func (l *Loop) unlock() {
	w := l.wakeDue
	l.wakeDue = wayNone
	l.mu.Unlock()
	if w != wayNone {
		l.driver.wake(w)
	}
}

// fallAsleep sets the flag and checks for work. If there is work it clears the flag and returns false; else it returns the deadline
// until which the loop may sleep, NoTimeout for no limit. A deadline that is set later wakes the loop only if it is before that one.
func (l *Loop) fallAsleep() (deadline time.Duration, asleep bool) {
	l.mu.Lock()
	l.asleep = true
	deadline, mayWait := l.mayWait()
	if !mayWait || deadline <= l.Now() { // due timers beyond the last turn's budget
		l.asleep = false
		l.mu.Unlock()
		return 0, false
	}
	l.sleepsUntil = deadline
	l.slept, l.woken = true, false
	l.sleptAt = l.endMeter()
	l.mu.Unlock()
	return deadline, true
}

// mayWait returns the deadline, NoTimeout for none, until which the loop may wait, and false if it has a reason not to. Under l.mu.
func (l *Loop) mayWait() (deadline time.Duration, ok bool) {
	if l.active.len > 0 || l.stopping() || l.empty() || len(l.pendingLog.records) > 0 {
		return 0, false
	}
	return l.timers.nearest(), true
}

// clearAsleepInLoop clears the flag after a sleep. Under l.mu.
func (l *Loop) clearAsleepInLoop() {
	l.assertInLoop()
	l.asleep = false
}
