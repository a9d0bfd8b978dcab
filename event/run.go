package event

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/evmq/evmq/internal/goid"
)

// runMode determines when a run returns.
type runMode uint8

const (
	runUntilEmpty runMode = iota // until nothing is added
	runForever
	runOnce     // until at least one callback has run
	runNonblock // one turn
)

// Run runs the loop on the calling goroutine until no event is added, no call is pending and there is no Ref; or until
// Exit, Break, Close or the end of ctx. It returns nil, ErrClosed if the loop was closed, ctx's cause, or the poller's error.
// Watchers and functions given to Post do not keep it running, but functions that Post has accepted are called first. A Break or
// Exit before Run is kept and makes Run return. Run fails at once with ErrRunning, ErrClosed or ErrOwned, and with ErrInvalid if
// ctx is nil. May block; not in a callback.
func (l *Loop) Run(ctx context.Context) error { return l.run(ctx, anyone, runUntilEmpty) }

// RunForever is like Run, but continues when no event is added: other goroutines may add events later. May block; not
// in a callback.
func (l *Loop) RunForever(ctx context.Context) error { return l.run(ctx, anyone, runForever) }

// RunOnce is like Run, but returns after the first turn in which a callback was called. If the budget or priorities leave events or
// due timers of that turn uncalled, it makes further turns to call them, until they are called or more urgent work takes a whole turn.
// Events that callbacks activate wait for the next run, and so do messages and posts beyond the budget; so RunOnce returns whatever the
// callbacks do. A wake alone does not make it return. May block; not in a callback.
func (l *Loop) RunOnce(ctx context.Context) error { return l.run(ctx, anyone, runOnce) }

// RunNonblock makes one turn without waiting. It serves a loop inside another loop. Its errors are those of Run; in a callback
// of the loop it returns ErrRunning. Any goroutine.
func (l *Loop) RunNonblock() error { return l.run(context.Background(), anyone, runNonblock) }

// run runs the loop on behalf of c.
//
//go:noinline
func (l *Loop) run(ctx context.Context, c caller, mode runMode) error {
	if ctx == nil {
		return fmt.Errorf("run loop: %w", invalid("context is nil"))
	}
	id, err := l.enter(c, mode)
	if err != nil {
		return fmt.Errorf("run loop: %w", err)
	}
	defer l.leave()            // also when a callback panics or calls runtime.Goexit
	var ending context.Context // ctx if it can end, else nil
	if ctx.Done() != nil {
		ending = ctx
		defer context.AfterFunc(ctx, func() { l.cancel(id, context.Cause(ctx)) })()
	}
	if l.driver.name() == DriverThread {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	l.mu.Lock()
	err = l.turns(ending, mode) // a panic passes with l.mu unlocked
	l.writeLog()
	l.mu.Unlock()
	return err
}

// turns makes turns until the run is over. It is called with l.mu held and returns with l.mu held, as are turnInLoop and over.
func (l *Loop) turns(ctx context.Context, mode runMode) error {
	var once pass
	for {
		if over, err := l.over(ctx); over {
			return err
		}
		if err := l.turnInLoop(mode != runNonblock && !once.begun); err != nil {
			return fmt.Errorf("run loop: %w", err)
		}
		if mode == runNonblock || mode == runOnce && once.endedBy(l) {
			_, err := l.over(ctx) // this run consumes a Break or Exit of this turn
			return err
		}
	}
}

// enter makes the calling goroutine the one that runs the loop.
func (l *Loop) enter(c caller, mode runMode) (id uint64, err error) {
	l.mu.Lock()
	now := l.readClock()
	defer l.mu.Unlock()
	switch {
	case !l.permits(c):
		return 0, ErrOwned
	case l.state != loopOpen: // before runner, which Close sets, too
		return 0, ErrClosed
	case l.runner != 0:
		return 0, ErrRunning
	}
	l.runner, l.mode = goid.Of(l.idBuf[:]), mode
	l.gotBreak, l.gotExit = false, false
	l.runs++
	l.now.Store(int64(now))
	l.meter.begin(now, measureAlways)
	return l.runs, nil
}

// leave ends what enter began: no goroutine runs the loop, and another Run or Close may begin.
func (l *Loop) leave() {
	l.mu.Lock()
	l.runner, l.canceled, l.pollAgain, l.waiting, l.asleep, l.slept = 0, nil, false, false, false, false
	l.endDispatch()
	l.updateInterrupt()
	l.finish()
	if l.runnerLeft != nil {
		close(l.runnerLeft)
		l.runnerLeft = nil
	}
	l.endMeter() // last, since a Clock may panic
	l.mu.Unlock()
}

// runnerLeftChan returns a channel that is closed when the goroutine that runs the loop leaves it. Under l.mu.
func (l *Loop) runnerLeftChan() <-chan struct{} {
	if l.runnerLeft == nil {
		l.runnerLeft = make(chan struct{})
	}
	return l.runnerLeft
}

// over reports, between two turns, whether the run is over, and consumes the Break or Exit that ends it. A nil ctx never
// ends.
func (l *Loop) over(ctx context.Context) (over bool, err error) {
	switch {
	case l.state != loopOpen:
		return true, fmt.Errorf("run loop: %w", ErrClosed)
	case l.breaking:
		l.breaking, l.gotBreak = false, true
		l.updateInterrupt()
	case l.exiting:
		l.exiting, l.gotExit = false, true
	case l.canceled != nil:
		return true, l.canceled
	default:
		if ctx != nil {
			err = l.ended(ctx)
		}
		return err != nil || l.empty(), err
	}
	return true, nil
}

// ended returns ctx's cause if ctx has ended, even if cancel is not called yet. It unlocks l.mu meanwhile, since a user may have
// implemented ctx.
func (l *Loop) ended(ctx context.Context) (cause error) {
	l.mu.Unlock()
	if ctx.Err() != nil {
		cause = context.Cause(ctx)
	}
	l.mu.Lock()
	return cause
}

// empty reports whether the run ends because no callback can become active. Under l.mu.
func (l *Loop) empty() bool {
	return l.runner != 0 && (l.mode == runUntilEmpty || l.mode == runOnce) && l.added+l.refs+l.active.len == 0
}

// stopping reports whether the loop has a reason not to sleep other than events. Under l.mu.
func (l *Loop) stopping() bool {
	return l.breaking || l.exiting || l.canceled != nil || l.state != loopOpen
}

// cancel ends the run with the given number. It does nothing if that run is over.
func (l *Loop) cancel(run uint64, cause error) {
	l.mu.Lock()
	if l.runs == run && l.runner != 0 {
		l.canceled = cause
		l.updateInterrupt()
		l.wakeOnUnlock()
	}
	l.unlock()
}

// Break makes Run return after the running callback; active events remain active for the next Run. If no Run is in progress, the
// next one returns at once. Errors: ErrOwned. Any goroutine.
func (l *Loop) Break() error {
	l.mu.Lock()
	if l.owned {
		l.mu.Unlock()
		return fmt.Errorf("break loop: %w", ErrOwned)
	}
	l.breaking = true
	l.updateInterrupt()
	l.wakeOnUnlock()
	l.unlock()
	return nil
}

// Exit makes Run return at the end of the turn in which the loop finds that the duration after has passed since the call of Exit. After
// several calls the earliest time applies. If no Run is in progress, the next one returns then, or at once if the duration has passed. A
// pending Exit does not keep a Run going. Errors: ErrInvalid if after is negative, ErrClosed, ErrOwned. Any goroutine.
func (l *Loop) Exit(after time.Duration) error {
	l.mu.Lock()
	var err error
	switch e := l.exitEvent; {
	case after < 0:
		err = fmt.Errorf("exit loop: %w", invalid("time %v", after))
	case l.owned:
		err = fmt.Errorf("exit loop: %w", ErrOwned)
	case l.state != loopOpen:
		err = fmt.Errorf("exit loop: %w", ErrClosed)
	case after == 0:
		l.exiting = true
		l.timers.remove(e)
		l.wakeOnUnlock()
	case l.exiting: // the pending Exit is not later
	case e.heapIndex < 0 || e.deadline > l.deadline(after):
		err = l.add(e, after)
	}
	l.unlock()
	return err
}

// Continue makes the loop poll its descriptors again after the running callback, before it calls other active
// events. While no callback of an event or a post runs, as in a watcher, it does nothing, because the loop polls before the next
// callback anyway. Any goroutine.
func (l *Loop) Continue() {
	l.mu.Lock()
	if l.running != nil {
		l.pollAgain = true
		l.updateInterrupt()
	}
	l.mu.Unlock()
}

// Interrupted reports whether the turn ends after the running callback: because of Break, Continue, Close or the end
// of Run's context, because something more urgent has become active, or because Budget.Time has passed. A callback that performs many
// operations can check it between them. It costs an atomic load, and with Budget.Time a reading of the clock. Any goroutine.
func (l *Loop) Interrupted() bool {
	return l.interrupt.Load() != notInterrupted && l.interruptedByNow()
}

// interruptedByNow is Interrupted if there may be an interruption.
func (l *Loop) interruptedByNow() bool {
	return l.interrupted() || int64(l.clock.Now()) >= l.turnEnd.Load()
}

// The values of Loop.interrupt: whether the turn ends early.
const (
	notInterrupted    uint32 = iota
	interruptedInTime        // at the time turnEnd
	interruptedNow
)

// updateInterrupt sets l.interrupt. It is called under l.mu after each change of a field that it reads.
func (l *Loop) updateInterrupt() {
	switch {
	case l.breaking || l.pollAgain || l.moreUrgent || l.canceled != nil || l.state != loopOpen:
		l.interrupt.Store(interruptedNow)
	case l.timed:
		l.interrupt.Store(interruptedInTime)
	default:
		l.interrupt.Store(notInterrupted)
	}
}

// GotBreak reports whether the latest Run has ended because of Break. The next Run resets it. Any goroutine.
func (l *Loop) GotBreak() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gotBreak
}

// GotExit reports whether the latest Run has ended because of Exit. The next Run resets it. Any goroutine.
func (l *Loop) GotExit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gotExit
}
