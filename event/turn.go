package event

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
	l.endTurn()
	return nil
}

// beginTurn reads the clock, once for the whole turn. Under l.mu.
func (l *Loop) beginTurn(reports int) {
	now := l.clock.Now()
	if l.slept {
		l.slept = false
		l.meter.begin(now, now-l.Now())
	}
	l.now.Store(int64(now))
	l.called = 0
	l.stats.Turns++
	l.stats.Reports += uint64(reports)
}

// expire makes the events active whose time has come, as many as the budget allows. Under l.mu.
func (l *Loop) expire() {
	now := l.Now()
	for left := l.budget.Callbacks; left > 0; {
		e := l.timers.first()
		if e == nil || e.deadline > now {
			return
		}
		l.timers.remove(e)
		if e == l.exitEvent { // no event among others: nothing more urgent holds an Exit up
			e.state &^= stateAdded
			l.exit = true
			continue
		}
		l.stats.Timeouts++
		l.stats.Lag = now - e.deadline
		l.stats.MaxLag = max(l.stats.MaxLag, l.stats.Lag)
		l.activate(e, Timeout)
		if int(e.priority) >= l.budget.MinPriority {
			left--
		}
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
	l.active.wave++
	left := Unlimited
	if level >= l.budget.MinPriority {
		left = l.budget.Callbacks
	}
	for ; left > 0 && !l.interrupted(); left-- {
		e := l.active.levels[level].head
		if e == nil || e.wave == l.active.wave {
			return
		}
		if what, ok := l.begin(e); ok {
			l.invoke(e, what)
		}
		if l.turnOver(level) {
			return
		}
	}
}

// turnOver reports whether something more urgent than level waits, or the turn's time is spent. Under l.mu.
func (l *Loop) turnOver(level int) bool {
	return l.active.urgent() < level ||
		l.budget.Time > 0 && level >= l.budget.MinPriority && l.clock.Now()-l.Now() >= l.budget.Time
}

// interrupted reports whether the turn is to end after the callback that has run.
func (l *Loop) interrupted() bool { return l.interrupt.Load() }

// invoke calls e's callback, as often as a signal came. It unlocks l.mu meanwhile.
func (l *Loop) invoke(e *Event, what Flags) {
	l.running = e
	internal, signal := e.state&stateInternal != 0, e.kind&Signal != 0 // the callback may make it another event
	for {
		e.calls = max(0, e.calls-1)
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
			l.guard(func() { fn(e, what) }, e.callbackName)
		}
		l.mu.Lock()
		if e.calls == 0 || e.state&stateActive != 0 || l.interrupted() {
			break
		}
	}
	l.finish()
}

// finish ends the callback that was chosen and lets those go who wait for that. A signal's calls that were cut short, by a
// Break or a panic, stay owed. Under l.mu.
func (l *Loop) finish() {
	if e := l.running; e != nil && e.calls > 0 && e.state&stateActive == 0 {
		e.what = Signal
		l.active.push(e)
	}
	l.running = nil
	if l.ran != nil {
		close(l.ran)
		l.ran = nil
	}
}

// returned is closed when the callback of e that runs now has returned; nil if none runs. Under l.mu.
func (l *Loop) returned(e *Event) <-chan struct{} {
	if l.running != e {
		return nil
	}
	if l.ran == nil {
		l.ran = make(chan struct{})
	}
	return l.ran
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
