package event

import "time"

// turn is the heart: wait, collect what happened, call back. The package comment explains its order. It is called with
// l.mu held and returns so; watchers, the wait and callbacks run without it.
func (l *Loop) turn(block bool) error {
	l.watch(l.prepare)
	l.mu.Unlock()
	n, err := l.driver.wait(l.ready, block)
	l.mu.Lock()
	l.awake()
	if err != nil {
		return err
	}
	l.beginTurn(n)
	l.watch(l.check)
	l.collect(l.ready[:n])
	l.expire()
	l.dispatch()
	return l.endTurn()
}

// beginTurn reads the clock, once for the whole turn. Under l.mu.
func (l *Loop) beginTurn(reports int) {
	now := l.clock.Now()
	if l.slept {
		l.slept = false
		l.meter.begin(now, now-l.now)
	}
	l.now = now
	l.called = 0
	l.stats.Turns++
	l.stats.Reports += uint64(reports)
}

// expire makes the events active whose time has come. Under l.mu.
func (l *Loop) expire() {
	for n := l.budget.Callbacks; n > 0; n-- {
		e := l.timers.first()
		if e == nil || e.deadline > l.now {
			return
		}
		l.timers.remove(e)
		l.stats.Timeouts++
		if e.deadline != NoTimeout {
			l.stats.Lag = l.now - e.deadline
			l.stats.MaxLag = max(l.stats.MaxLag, l.stats.Lag)
		}
		l.activate(e, Timeout)
	}
}

// dispatch calls back the most urgent priority that has something active, in the order of activation. What becomes active
// meanwhile waits for the next turn, so that no callback can keep the loop from its descriptors; something more urgent
// ends this one at once. It is called with l.mu held and returns so; callbacks run without it.
func (l *Loop) dispatch() {
	level := l.active.urgent()
	if level == len(l.active.levels) {
		return
	}
	left, start := l.active.levels[level].len, l.now
	if level >= l.budget.MinPriority {
		left = min(left, l.budget.Callbacks)
	}
	for ; left > 0 && !l.interrupted(); left-- {
		e := l.active.levels[level].head
		if e == nil {
			return
		}
		if what, ok := l.begin(e); ok {
			l.invoke(e, what)
		}
		if l.active.urgent() < level || l.spent(level, start) {
			return
		}
	}
}

// interrupted reports whether the turn is to end after the callback that has run. Under l.mu.
func (l *Loop) interrupted() bool {
	return l.brk || l.again || l.canceled != nil || l.state != loopOpen
}

// spent reports whether the turn's time is over.
func (l *Loop) spent(level int, start time.Duration) bool {
	return l.budget.Time > 0 && level >= l.budget.MinPriority && l.clock.Now()-start >= l.budget.Time
}

// invoke calls e's callback, as often as a signal came. It unlocks l.mu meanwhile.
func (l *Loop) invoke(e *Event, what Flags) {
	l.running = e
	for {
		e.calls--
		if e.state&stateInternal == 0 {
			l.called++
			l.stats.Callbacks++
		}
		fn := e.fn
		l.mu.Unlock()
		if e.kind&Signal != 0 {
			l.reapSignals() // of a one-shot that begin has removed
		}
		if l.slow == 0 && l.onPanic == nil {
			fn(e, what)
		} else {
			l.guard(func() { fn(e, what) }, func() string { return e.callbackName() })
		}
		l.mu.Lock()
		if e.calls <= 0 || e.state&stateActive != 0 || l.interrupted() {
			break
		}
	}
	l.finish()
}

// finish ends the callback that was chosen and lets those go who wait for that. Under l.mu.
func (l *Loop) finish() {
	l.running = nil
	if l.ran != nil {
		close(l.ran)
		l.ran = nil
	}
}

// ranLocked is closed when the callback of e that runs now has returned; nil if none runs.
func (l *Loop) ranLocked(e *Event) <-chan struct{} {
	if l.running != e {
		return nil
	}
	if l.ran == nil {
		l.ran = make(chan struct{})
	}
	return l.ran
}

// endTurn does what cannot be done in the middle of a turn. Under l.mu.
func (l *Loop) endTurn() error {
	l.again = false
	if l.mustRebuild {
		if err := l.rebuild(); err != nil {
			return err
		}
	}
	l.flushNotes()
	return nil
}
