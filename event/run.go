package event

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// runMode is how long a run goes on.
type runMode uint8

const (
	runUntilEmpty runMode = iota // until nothing is added
	runForever
	runOnce     // until at least one callback has run
	runNonblock // one turn
)

// Run runs the loop on the calling goroutine until no event is added, no call is pending and there is no Ref; or until
// Exit, Break, Close or the end of ctx. It returns nil; ErrClosed if the loop was closed; ctx's cause; or the poller's error.
// Watchers and functions given to Post do not keep it going, but what Post accepted before is called first. Break and
// Exit that came before Run are kept, and make it return. Errors at once: ErrRunning, ErrClosed, ErrOwned. May block; not in a
// callback.
func (l *Loop) Run(ctx context.Context) error { return l.run(ctx, runUntilEmpty) }

// RunForever is Run that goes on when nothing is added: for a loop that other goroutines will give work to. May block; not
// in a callback.
func (l *Loop) RunForever(ctx context.Context) error { return l.run(ctx, runForever) }

// RunOnce is Run that returns after the first turn in which a user's callback was called, or after the next ones that call what that
// one had to leave: events that were active and timers that were due before its callbacks, which the budget or their priority
// held up. It ends whatever callbacks do: what they make active waits for the next run, their own events and messages and posts
// that the budget has left included, and so does what was left as soon as more urgent work takes a whole turn. A wake alone does
// not end it. May block; not in a callback.
func (l *Loop) RunOnce(ctx context.Context) error { return l.run(ctx, runOnce) }

// RunNonblock makes one turn, without waiting, and returns: for a loop inside another loop. It ends and fails as Run does;
// in a callback it is ErrRunning. Any goroutine.
func (l *Loop) RunNonblock() error { return l.run(context.Background(), runNonblock) }

func (l *Loop) run(ctx context.Context, mode runMode) error { return l.runAs(ctx, anyone, mode) }

// runAs is run for c.
func (l *Loop) runAs(ctx context.Context, c caller, mode runMode) error {
	id, err := l.enter(c, mode)
	if err != nil {
		return fmt.Errorf("run loop: %w", err)
	}
	defer l.leave()           // also when a callback panics or calls runtime.Goexit
	var asked context.Context // nil for one that never ends, which is not asked again
	if ctx.Done() != nil {
		asked = ctx
		defer context.AfterFunc(ctx, func() { l.cancel(id, context.Cause(ctx)) })()
	}
	if l.driver.name() == DriverThread {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	l.mu.Lock()
	err = l.turns(asked, mode) // a panic passes with l.mu unlocked
	l.flushNotes()
	l.mu.Unlock()
	return err
}

// turns makes turn after turn until the run is over. Like turn and over, it is called with l.mu held and returns so.
func (l *Loop) turns(ctx context.Context, mode runMode) error {
	var once pass
	for {
		if over, err := l.over(ctx); over {
			return err
		}
		if err := l.turn(mode != runNonblock && !once.begun); err != nil {
			return fmt.Errorf("run loop: %w", err)
		}
		if mode == runNonblock || mode == runOnce && once.endedBy(l) {
			_, err := l.over(ctx) // a Break or an Exit of this turn is consumed by this run
			return err
		}
	}
}

// enter makes the calling goroutine the loop's.
func (l *Loop) enter(c caller, mode runMode) (id uint64, err error) {
	l.mu.Lock()
	now := l.readClock()
	defer l.mu.Unlock()
	switch {
	case !l.permits(c):
		return 0, ErrOwned
	case l.state != loopOpen: // first, since a Close under way is the owner too
		return 0, ErrClosed
	case l.owner != 0:
		return 0, ErrRunning
	}
	l.owner, l.mode = goroutineID(l.idBuf[:]), mode
	l.gotBreak, l.gotExit = false, false
	l.runs++
	l.now.Store(int64(now))
	l.meter.begin(now, measureAlways)
	return l.runs, nil
}

// leave gives the loop up, for the next Run or for Close.
func (l *Loop) leave() {
	l.mu.Lock()
	l.owner, l.canceled, l.again, l.asleep, l.slept = 0, nil, false, false, false
	l.endLevel()
	l.setInterrupt()
	l.finish()
	if l.left != nil {
		close(l.left)
		l.left = nil
	}
	l.endMeter() // last, since a Clock may panic
	l.mu.Unlock()
}

// leaving is closed when the goroutine that runs the loop gives it up. Under l.mu.
func (l *Loop) leaving() <-chan struct{} {
	if l.left == nil {
		l.left = make(chan struct{})
	}
	return l.left
}

// over decides, between two turns, whether the run has come to its end, and consumes the Break or Exit that says so. A nil ctx never
// ends.
func (l *Loop) over(ctx context.Context) (over bool, err error) {
	switch {
	case l.state != loopOpen:
		return true, fmt.Errorf("run loop: %w", ErrClosed)
	case l.brk:
		l.brk, l.gotBreak = false, true
		l.setInterrupt()
	case l.exit:
		l.exit, l.gotExit = false, true
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

// ended is ctx's cause if it has ended, which the run may know before cancel is called. It unlocks l.mu meanwhile, since a context's
// methods may be a user's.
func (l *Loop) ended(ctx context.Context) (cause error) {
	l.mu.Unlock()
	if ctx.Err() != nil {
		cause = context.Cause(ctx)
	}
	l.mu.Lock()
	return cause
}

// empty reports whether the run ends because nothing could call back any more. Under l.mu.
func (l *Loop) empty() bool {
	return l.owner != 0 && (l.mode == runUntilEmpty || l.mode == runOnce) && l.added+l.refs+l.active.len == 0
}

// stopping reports whether the loop has a reason not to sleep other than events. Under l.mu.
func (l *Loop) stopping() bool {
	return l.brk || l.exit || l.canceled != nil || l.state != loopOpen
}

// cancel ends the run with the given number. A run that is over already, and its successor, are left alone.
func (l *Loop) cancel(run uint64, cause error) {
	l.mu.Lock()
	if l.runs == run && l.owner != 0 {
		l.canceled = cause
		l.setInterrupt()
		l.claim()
	}
	l.unlock()
}

// Break makes Run return after the callback that runs now; what is active stays so for the next Run. Without a Run it is
// kept for the next one. Errors: ErrOwned. Any goroutine.
func (l *Loop) Break() error {
	l.mu.Lock()
	if l.owned {
		l.mu.Unlock()
		return fmt.Errorf("break loop: %w", ErrOwned)
	}
	l.brk = true
	l.setInterrupt()
	l.claim()
	l.unlock()
	return nil
}

// Exit makes Run return when the time after has passed, at the end of the turn that finds it so; of several, the earliest
// counts. Without a Run it is kept for the next one, and the time passes all the same. It keeps no Run going.
// Errors: ErrInvalid, ErrClosed, ErrOwned. Any goroutine.
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
		l.exit = true
		l.timers.remove(e)
		l.claim()
	case l.exit: // nothing can be earlier than the one that stands
	case e.heapIndex < 0 || e.deadline > l.deadline(after):
		err = l.add(e, after)
	}
	l.unlock()
	return err
}

// Continue makes the loop look at its descriptors again after the callback that runs now, before it calls what else is
// active. While no callback of an event or a post runs, as in a watcher, it does nothing: the loop looks before the next one
// in any case. Any goroutine.
func (l *Loop) Continue() {
	l.mu.Lock()
	if l.running != nil {
		l.again = true
		l.setInterrupt()
	}
	l.mu.Unlock()
}

// Interrupted reports whether the turn under way is to end after the callback that runs: by Break, Continue, Close or the end
// of Run's context, since something more urgent has become active, or since Budget.Time has passed. A callback that does many
// things in a row asks it in between; it costs an atomic load, and with Budget.Time a reading of the clock. Any goroutine.
func (l *Loop) Interrupted() bool {
	return l.interrupt.Load() != notInterrupted && l.interruptedByNow()
}

func (l *Loop) interruptedByNow() bool {
	return l.interrupted() || int64(l.clock.Now()) >= l.turnEnd.Load()
}

// What ends a turn early.
const (
	notInterrupted    uint32 = iota
	interruptedInTime        // when turnEnd comes
	interruptedNow
)

// setInterrupt keeps what Interrupted reads. Under l.mu, after each change of what it depends on.
func (l *Loop) setInterrupt() {
	switch {
	case l.brk || l.again || l.overtaken || l.canceled != nil || l.state != loopOpen:
		l.interrupt.Store(interruptedNow)
	case l.timed:
		l.interrupt.Store(interruptedInTime)
	default:
		l.interrupt.Store(notInterrupted)
	}
}

// GotBreak reports whether the last Run ended by Break. Any goroutine.
func (l *Loop) GotBreak() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gotBreak
}

// GotExit reports whether the last Run ended by Exit. Any goroutine.
func (l *Loop) GotExit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gotExit
}
