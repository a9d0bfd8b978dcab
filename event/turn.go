package event

import "math"

// turn is the heart: wait, collect what happened, call back. The package comment explains its order. It is called with
// l.mu held and returns so; watchers, the wait and callbacks run without it.
func (l *Loop) turn(block bool) error {
	if l.prepare.first != nil {
		l.watch(&l.prepare)
	}
	l.mu.Unlock()
	l.yield()
	n, err := l.driver.wait(l.ready, block)
	l.mu.Lock()
	l.awake()
	if err != nil {
		return err
	}
	l.takeReports(n)
	l.expire()
	l.dispatch()
	l.endTurn()
	return nil
}

// takeReports begins the turn, and makes active what the n reports say once the check watchers have been called. Like turn, it is
// called with l.mu held and returns so.
func (l *Loop) takeReports(n int) {
	if l.check.first != nil || l.foreignClock {
		l.callChecks(n)
	} else {
		l.beginTurn(n)
	}
	l.collect(l.ready[:n])
	if n > len(l.ready)/2 && len(l.ready) < maxReadyBatch && len(l.active.levels) > 1 {
		l.ready = make([]Ready, 4*len(l.ready))
	}
}

// callChecks begins a turn in which a user's code runs before the reports are made active. If that panics, it makes them active
// all the same: the poller reports an edge only once.
func (l *Loop) callChecks(n int) {
	over := false
	defer func() {
		if !over { // and l.mu is not held
			l.mu.Lock()
			l.collect(l.ready[:n])
			l.mu.Unlock()
		}
	}()
	l.beginTurn(n)
	l.watch(&l.check)
	over = true
}

// beginTurn reads the clock, once for the whole turn. Under l.mu.
func (l *Loop) beginTurn(reports int) {
	now := l.readClock()
	if l.slept {
		l.slept = false
		l.rested = now
		l.meter.begin(now, now-l.Now())
	}
	l.now.Store(int64(now))
	l.called = 0
	l.stats.Turns++
	l.stats.Reports += uint64(reports)
}

// expire makes the events active whose time has come, the most urgent priority first, as many as the budget allows. It
// stops where the callbacks of a turn would, so a turn has no more work by it than by its callbacks. Under l.mu.
func (l *Loop) expire() {
	now := l.Now()
	l.expired = l.seq
	if !l.timers.due(now) {
		return
	}
	if e := l.exitEvent; e.heapIndex >= 0 && e.deadline <= now { // not an event among others: nothing delays an Exit
		l.timers.remove(e)
		e.state &^= stateAdded
		l.exit = true
	}
	left, corrections := l.budget.Callbacks, maxCorrections
	for p := range l.timers {
		for left > 0 || p < l.budget.MinPriority {
			e := l.timers[p].first(now, &corrections)
			if e == nil {
				break
			}
			l.timedOut(e)
			l.activate(e, Timeout)
			if p >= l.budget.MinPriority {
				left--
			}
		}
	}
}

// timedOut takes e's deadline, which has passed, out of the timers. Under l.mu.
func (l *Loop) timedOut(e *Event) {
	l.timers.remove(e)
	l.stats.Timeouts++
	l.stats.Lag = l.Now() - e.deadline
	l.stats.MaxLag = max(l.stats.MaxLag, l.stats.Lag)
}

// dispatch calls back the most urgent priority that has something active, in the order of activation. What becomes active
// meanwhile waits for the next turn, so that no callback can keep the loop from its descriptors; something more urgent
// ends this one at once. It is called with l.mu held and returns so; callbacks run without it.
func (l *Loop) dispatch() {
	level := l.active.urgent()
	if level == len(l.active.levels) {
		return
	}
	l.active.wave++
	l.beginLevel(level)
	left := math.MaxInt
	if level >= l.budget.MinPriority {
		left = l.budget.Callbacks
	}
	for left > 0 && !l.interrupted() {
		e := l.active.levels[level].head
		if e == nil || e.wave == l.active.wave {
			break
		}
		calls := 1
		if what, ok := l.begin(e); ok {
			calls = l.invoke(e, what, left)
		}
		if left -= calls; l.turnOver() {
			break
		}
	}
	l.endLevel()
}

// beginLevel sets what ends the dispatch of a priority early. Under l.mu.
func (l *Loop) beginLevel(level int) {
	l.level = level
	if l.budget.Time > 0 && level >= l.budget.MinPriority {
		l.turnEnd.Store(int64(later(l.Now(), l.budget.Time)))
		l.timed = true
		l.setInterrupt()
	}
}

// endLevel takes back what beginLevel has set. Under l.mu.
func (l *Loop) endLevel() {
	l.level = 0
	if l.overtaken || l.timed {
		l.overtaken, l.timed = false, false
		l.setInterrupt()
	}
}

// turnOver reports whether something more urgent than what is dispatched waits, or the turn's time is spent. Under l.mu.
func (l *Loop) turnOver() bool {
	return l.level > 0 && l.active.urgent() < l.level || l.timed && int64(l.readClock()) >= l.turnEnd.Load()
}

// interrupted reports whether the turn is to end after the callback that has run.
func (l *Loop) interrupted() bool { return l.interrupt.Load() == interruptedNow }

// invoke calls e's callback and returns how often: once, and for a signal once for each delivery that has come before, as the
// budget allows. The other deliveries stay owed. It unlocks l.mu meanwhile.
func (l *Loop) invoke(e *Event, what Flags, left int) (calls int) {
	l.running = e
	internal, signal := e.state&stateInternal != 0, e.kind&Signal != 0 // the callback may make it another event
	owed := int(e.calls)
	for {
		e.calls = max(0, e.calls-1)
		calls++
		if !internal {
			l.called++
			l.stats.Callbacks++
		}
		fn := e.fn
		l.mu.Unlock()
		if signal {
			l.reapSignals() // of a one-shot that begin has removed
		}
		if internal || !l.guarded() {
			fn(e, what)
		} else {
			told := what // since what changes, a function that refers to it would keep it in memory
			l.guard(func() { fn(e, told) }, e.callbackName)
		}
		l.mu.Lock()
		if calls >= min(owed, left) || e.calls == 0 || e.state&stateActive != 0 || l.interrupted() || l.turnOver() {
			break
		}
		what = Signal // a timeout is told once
	}
	l.finish()
	return calls
}

// finish ends the callback that was chosen. It removes the event for the DelWaits that wait for this, whatever the callback has
// done. A signal's calls that were cut short, by the end of the turn or a panic, stay owed. Under l.mu.
func (l *Loop) finish() {
	e := l.running
	l.running = nil
	if e == nil {
		return
	}
	if l.delWaits > 0 {
		_ = l.del(e) // the event keeps ErrStale, which DelWait returns
		l.delWaits = 0
	}
	if e.calls > 0 && e.state&stateActive == 0 {
		e.what = Signal
		l.active.push(e)
		e.state |= stateDelivered
		l.maxActive = max(l.maxActive, l.active.len)
	}
	if l.ran != nil {
		close(l.ran)
		l.ran = nil
	}
}

// awaitReturn announces a DelWait of e to finish. What it returns is closed when the callback of e that runs now has returned; it
// is nil if none runs, or on the loop itself. Under l.mu.
func (l *Loop) awaitReturn(e *Event) <-chan struct{} {
	if l.running != e || l.owner == goroutineID(l.idBuf[:]) {
		return nil
	}
	l.delWaits++
	if l.ran == nil {
		l.ran = make(chan struct{})
	}
	return l.ran
}

// stopAwaiting takes back an awaitReturn.
func (l *Loop) stopAwaiting(done <-chan struct{}) {
	l.mu.Lock()
	if l.ran == done { // else finish came first
		l.delWaits--
	}
	l.mu.Unlock()
}

// endTurn does what cannot be done in the middle of a turn. Under l.mu.
func (l *Loop) endTurn() {
	if l.again {
		l.again = false
		l.setInterrupt()
	}
	if l.mustRebuild {
		l.tryRebuild()
	}
	l.flushNotes()
}
