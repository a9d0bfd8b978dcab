package event

import (
	"math"

	"github.com/evmq/evmq/internal/goid"
	"github.com/evmq/evmq/internal/poller"
)

// turnInLoop makes one turn: it waits, collects what has happened and calls callbacks. The package comment explains the order. It is called with
// l.mu held and returns with l.mu held; watchers, the wait and callbacks run without it.
func (l *Loop) turnInLoop(block bool) error {
	l.assertInLoop()
	if l.suspended {
		l.suspended = false
		l.continueDispatchInLoop()
		if !l.suspended {
			l.endTurnInLoop()
		}
		return nil
	}
	if l.turnOpen { // a callback has cut the last turn short
		l.endTurnInLoop()
	}
	if l.prepare.first != nil {
		l.callWatchers(&l.prepare)
	}
	l.waiting = true
	l.mu.Unlock()
	l.yieldInLoop()
	n, err := l.driver.wait(l.ready, block)
	l.mu.Lock()
	l.waiting = false
	l.clearAsleepInLoop()
	if err != nil {
		l.slept = false
		return err
	}
	l.turnOpen = true
	l.takeReportsInLoop(n)
	l.expireInLoop()
	l.dispatchInLoop()
	if !l.suspended {
		l.endTurnInLoop()
	}
	return nil
}

// takeReportsInLoop reads the time of the turn, calls the functions of OnCheck, and activates the events of the n reports. It
// is called with l.mu held and returns with l.mu held; the functions run without it.
func (l *Loop) takeReportsInLoop(n int) {
	l.assertInLoop()
	if l.check.first != nil || l.userClock {
		l.callChecksInLoop(n)
	} else {
		l.readTurnTimeInLoop(n)
	}
	l.collectInLoop(l.ready[:n])
	if n > len(l.ready)/2 && len(l.ready) < maxReadyBatch && len(l.active.lists) > 1 {
		l.ready = make([]poller.Ready, 4*len(l.ready))
	}
}

// callChecksInLoop reads the time of the turn and calls the functions of OnCheck. If a function or a user's clock panics, it
// collects the n reports nevertheless, since the poller reports an edge only once.
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
	l.readTurnTimeInLoop(n)
	l.callWatchers(&l.check)
	over = true
}

// readTurnTimeInLoop reads the clock, once for the whole turn, and counts the turn and its reports. Under l.mu.
func (l *Loop) readTurnTimeInLoop(reports int) {
	l.assertInLoop()
	now := l.readClock()
	if l.slept {
		l.slept = false
		l.yieldedAt = now
		if l.driver.afterSleep(l.sleptAt, now, l.woken) {
			l.yieldedAt -= maxBusy
		}
		l.meter.begin(now, now-l.Now())
	}
	l.now.Store(int64(now))
	l.called = 0
	l.stats.Turns++
	l.stats.Reports += uint64(reports)
}

// expireInLoop activates the events whose deadlines have passed, the most urgent priority first. Of the priorities that the
// budget applies to, it activates at most Budget.Callbacks events; the next turn activates more. So the time that a turn takes
// does not grow with the number of events that are due. Under l.mu.
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
			l.removeExpired(e)
			l.activate(e, Timeout)
			if p >= l.budget.MinPriority {
				left--
			}
		}
	}
}

// removeExpired removes e's deadline, which has passed, from the timers. Under l.mu.
func (l *Loop) removeExpired(e *Event) {
	l.timers.remove(e)
	l.stats.Timeouts++
	l.stats.Lag = l.Now() - e.deadline
	l.stats.MaxLag = max(l.stats.MaxLag, l.stats.Lag)
}

// dispatchInLoop calls the active events of the most urgent priority in the order of activation. Events that become active
// meanwhile wait for the next turn, so that no callback can prevent the loop from polling; one of a more urgent priority also
// ends the dispatch after the running callback. It is called with l.mu held and returns with l.mu held; callbacks run without
// it.
func (l *Loop) dispatchInLoop() {
	l.assertInLoop()
	priority := l.active.urgent()
	if priority == len(l.active.lists) {
		return
	}
	l.active.dispatches++
	l.beginDispatch(priority)
	l.left = math.MaxInt
	if priority >= l.budget.MinPriority {
		l.left = l.budget.Callbacks
	}
	l.continueDispatchInLoop()
}

// continueDispatchInLoop is dispatchInLoop from the next active event on. If a callback suspends the turn, and events are left, it sets
// suspended.
func (l *Loop) continueDispatchInLoop() {
	l.assertInLoop()
	for e := l.nextInDispatch(); e != nil; e = l.nextInDispatch() {
		calls := 1
		if what, ok := l.dequeue(e); ok {
			calls = l.invokeInLoop(e, what, l.left)
		}
		if l.left -= calls; l.timeExceeded() {
			break
		}
		if l.suspend > 0 {
			few := l.active.len < l.suspend
			l.suspend = 0
			if l.suspended = few && l.nextInDispatch() != nil; l.suspended {
				return
			}
		}
	}
	l.suspend = 0
	l.endDispatch()
}

// nextInDispatch returns the event that the dispatch calls next, or nil if it is over. Under l.mu.
func (l *Loop) nextInDispatch() *Event {
	if l.left <= 0 || l.interrupted() {
		return nil
	}
	if e := l.active.lists[l.priority].head; e != nil && e.dispatch != l.active.dispatches {
		return e
	}
	return nil
}

// beginDispatch sets the priority that is dispatched and the time at which Budget.Time ends the dispatch. Under l.mu.
func (l *Loop) beginDispatch(priority int) {
	l.priority = priority
	if l.budget.Time > 0 && priority >= l.budget.MinPriority {
		l.turnEnd.Store(int64(later(l.Now(), l.budget.Time)))
		l.timed = true
		l.updateInterrupt()
	}
}

// endDispatch reverts beginDispatch, and also the interruption by a more urgent event. Under l.mu.
func (l *Loop) endDispatch() {
	l.priority = 0
	if l.moreUrgent || l.timed {
		l.moreUrgent, l.timed = false, false
		l.updateInterrupt()
	}
}

// timeExceeded reports whether Budget.Time has passed since the dispatch began. Under l.mu.
func (l *Loop) timeExceeded() bool {
	return l.timed && int64(l.readClock()) >= l.turnEnd.Load()
}

// interrupted reports whether the turn ends now because of Break, Continue, Close, a canceled Run or a more urgent event.
func (l *Loop) interrupted() bool { return l.interrupt.Load() == interruptedNow }

// noteUrgent records that an event of the given priority has become active, and interrupts the dispatch if it is more urgent. Under l.mu.
func (l *Loop) noteUrgent(priority uint8) {
	if int(priority) < l.priority {
		l.moreUrgent = true
		l.updateInterrupt()
	}
}

// invokeInLoop calls e's callback and returns the number of calls. It is one; for a signal, one for each delivery before the
// first call, but at most left calls and none after an interruption. Further calls that are due stay pending. It is called with
// l.mu held and returns with l.mu held; callbacks run without it.
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
			l.reapSignals() // if dequeue has removed a non-persistent event
		}
		if internal || !l.guarded() {
			fn(e, what)
		} else {
			flags := what // a closure over what, which changes, would move it to the heap
			l.guard(func() { fn(e, flags) }, e.callbackName)
		}
		l.mu.Lock()
		if calls >= min(pending, left) || e.calls == 0 || e.state&stateActive != 0 || l.interrupted() || l.timeExceeded() {
			break
		}
		what = Signal // a timeout is reported once
	}
	l.finish()
	return calls
}

// finish is called when the calls of the running event have ended: by return, or by leave after a panic or runtime.Goexit. If
// DelWaits wait for that, it removes the event, even if the callback has added it, and notifies them. If further calls for a
// signal are due, it makes the event active again. Under l.mu.
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
		l.noteUrgent(e.priority) // the callback may have changed it
	}
	if l.returned != nil {
		close(l.returned)
		l.returned = nil
	}
}

// returnedChan registers a DelWait of e, for which finish then removes e. It returns a channel that is closed when the running
// callback of e has returned, or nil if none is running or the caller is on the loop. Under l.mu.
func (l *Loop) returnedChan(e *Event) <-chan struct{} {
	if l.running != e || l.runner == goid.Of(l.idBuf[:]) {
		return nil
	}
	l.delWaits++
	if l.returned == nil {
		l.returned = make(chan struct{})
	}
	return l.returned
}

// stopAwaiting reverts returnedChan.
func (l *Loop) stopAwaiting(done <-chan struct{}) {
	l.mu.Lock()
	if l.returned == done { // else finish came first
		l.delWaits--
	}
	l.mu.Unlock()
}

// endTurnInLoop does the work that must wait for the end of a turn. It is called with l.mu held and returns with l.mu held; the functions
// of OnTurnEnd run without it.
func (l *Loop) endTurnInLoop() {
	l.assertInLoop()
	if l.enders.first != nil {
		l.callWatchers(&l.enders)
	}
	l.turnOpen = false
	if l.pollAgain {
		l.pollAgain = false
		l.updateInterrupt()
	}
	if l.mustRebuild {
		l.tryRebuildInLoop()
	}
	l.writeLog()
}
