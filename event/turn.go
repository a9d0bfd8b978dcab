package event

import (
	"math"

	"github.com/evmq/evmq/internal/poller"
)

// turnInLoop makes one turn: it waits, collects what has happened and calls callbacks. The package comment explains the order. It is called with
// l.mu held and returns with l.mu held; watchers, the wait and callbacks run without it.
func (l *Loop) turnInLoop(block bool) error {
	l.assertInLoop()
	if l.prepare.first != nil {
		l.watch(&l.prepare)
	}
	l.mu.Unlock()
	l.yieldInLoop()
	n, err := l.driver.wait(l.ready, block)
	l.mu.Lock()
	l.awake()
	if err != nil {
		return err
	}
	l.takeReportsInLoop(n)
	l.expireInLoop()
	l.dispatchInLoop()
	l.endTurnInLoop()
	return nil
}

// takeReportsInLoop begins the turn and, after the check watchers, activates the events of the n reports. Like turn, it is
// called with l.mu held and returns with l.mu held.
func (l *Loop) takeReportsInLoop(n int) {
	l.assertInLoop()
	if l.check.first != nil || l.foreignClock {
		l.callChecksInLoop(n)
	} else {
		l.beginTurnInLoop(n)
	}
	l.collectInLoop(l.ready[:n])
	if n > len(l.ready)/2 && len(l.ready) < maxReadyBatch && len(l.active.levels) > 1 {
		l.ready = make([]poller.Ready, 4*len(l.ready))
	}
}

// callChecksInLoop begins a turn in which a user's code runs before the reports are collected. If that panics, it collects them
// nevertheless, since the poller reports an edge only once.
func (l *Loop) callChecksInLoop(n int) {
	l.assertInLoop()
	over := false
	defer func() {
		if !over { // and l.mu is not held
			l.mu.Lock()
			l.collectInLoop(l.ready[:n])
			l.mu.Unlock()
		}
	}()
	l.beginTurnInLoop(n)
	l.watch(&l.check)
	over = true
}

// beginTurnInLoop reads the clock, once for the whole turn. Under l.mu.
func (l *Loop) beginTurnInLoop(reports int) {
	l.assertInLoop()
	now := l.readClock()
	if l.slept {
		l.slept = false
		l.yieldedAt = now
		l.meter.begin(now, now-l.Now())
	}
	l.now.Store(int64(now))
	l.called = 0
	l.stats.Turns++
	l.stats.Reports += uint64(reports)
}

// expireInLoop activates the events whose deadlines have passed, the most urgent priority first, as many as the budget allows. The budget
// bounds its work as it bounds the callbacks of a turn. Under l.mu.
func (l *Loop) expireInLoop() {
	l.assertInLoop()
	now := l.Now()
	l.expired = l.seq
	if !l.timers.due(now) {
		return
	}
	if e := l.exitEvent; e.heapIndex >= 0 && e.deadline <= now { // before other events: nothing delays an Exit
		l.timers.remove(e)
		e.state &^= stateAdded
		l.exiting = true
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

// timedOut removes e's deadline, which has passed, from the timers. Under l.mu.
func (l *Loop) timedOut(e *Event) {
	l.timers.remove(e)
	l.stats.Timeouts++
	l.stats.Lag = l.Now() - e.deadline
	l.stats.MaxLag = max(l.stats.MaxLag, l.stats.Lag)
}

// dispatchInLoop calls the active events of the most urgent priority in the order of activation. Events that become active
// meanwhile wait for the next turn, so that no callback can prevent the loop from polling; a more urgent one
// ends the dispatch at once. It is called with l.mu held and returns with l.mu held; callbacks run without it.
func (l *Loop) dispatchInLoop() {
	l.assertInLoop()
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
			calls = l.invokeInLoop(e, what, left)
		}
		if left -= calls; l.turnOver() {
			break
		}
	}
	l.endLevel()
}

// beginLevel begins the dispatch of a priority. Under l.mu.
func (l *Loop) beginLevel(level int) {
	l.level = level
	if l.budget.Time > 0 && level >= l.budget.MinPriority {
		l.turnEnd.Store(int64(later(l.Now(), l.budget.Time)))
		l.timed = true
		l.setInterrupt()
	}
}

// endLevel ends the dispatch of a priority. Under l.mu.
func (l *Loop) endLevel() {
	l.level = 0
	if l.moreUrgent || l.timed {
		l.moreUrgent, l.timed = false, false
		l.setInterrupt()
	}
}

// turnOver reports whether an event more urgent than the current priority is active, or Budget.Time has passed. Under l.mu.
func (l *Loop) turnOver() bool {
	return l.level > 0 && l.active.urgent() < l.level || l.timed && int64(l.readClock()) >= l.turnEnd.Load()
}

// interrupted reports whether the turn is to end now, apart from Budget.Time.
func (l *Loop) interrupted() bool { return l.interrupt.Load() == interruptedNow }

// invokeInLoop calls e's callback and returns the number of calls: one, or for a signal one for each delivery before the first call, as the
// budget allows. Calls for other deliveries remain pending. It unlocks l.mu meanwhile.
func (l *Loop) invokeInLoop(e *Event, what Flags, left int) (calls int) {
	l.assertInLoop()
	l.running = e
	internal, signal := e.state&stateInternal != 0, e.kind&Signal != 0 // read before the call: the callback may reuse the event
	pending := int(e.calls)
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
			l.reapSignals() // if begin has removed a non-persistent event
		}
		if internal || !l.guarded() {
			fn(e, what)
		} else {
			flags := what // a closure over what, which changes, would move it to the heap
			l.guard(func() { fn(e, flags) }, e.callbackName)
		}
		l.mu.Lock()
		if calls >= min(pending, left) || e.calls == 0 || e.state&stateActive != 0 || l.interrupted() || l.turnOver() {
			break
		}
		what = Signal // a timeout is reported once
	}
	l.finish()
	return calls
}

// finish is called when a callback has returned or panicked. If DelWaits wait for it, it removes the event, even if the callback has
// added it. Remaining calls for a signal, after the end of the turn or a panic, stay pending. Under l.mu.
func (l *Loop) finish() {
	e := l.running
	l.running = nil
	if e == nil {
		return
	}
	if l.delWaits > 0 {
		_ = l.del(e) // the event records ErrStale, which DelWait returns
		l.delWaits = 0
	}
	if e.calls > 0 && e.state&stateActive == 0 {
		e.what = Signal
		l.active.push(e)
		e.state |= stateDelivered
		l.maxActive = max(l.maxActive, l.active.len)
	}
	if l.returned != nil {
		close(l.returned)
		l.returned = nil
	}
}

// awaitReturn registers a DelWait of e with finish. It returns a channel that is closed when the running callback of e has returned, or
// nil if none is running or the caller is on the loop. Under l.mu.
func (l *Loop) awaitReturn(e *Event) <-chan struct{} {
	if l.running != e || l.runner == goroutineID(l.idBuf[:]) {
		return nil
	}
	l.delWaits++
	if l.returned == nil {
		l.returned = make(chan struct{})
	}
	return l.returned
}

// stopAwaiting reverts awaitReturn.
func (l *Loop) stopAwaiting(done <-chan struct{}) {
	l.mu.Lock()
	if l.returned == done { // else finish came first
		l.delWaits--
	}
	l.mu.Unlock()
}

// endTurnInLoop does the work that must wait for the end of a turn. Under l.mu.
func (l *Loop) endTurnInLoop() {
	l.assertInLoop()
	if l.pollAgain {
		l.pollAgain = false
		l.setInterrupt()
	}
	if l.mustRebuild {
		l.tryRebuildInLoop()
	}
	l.writeLog()
}
