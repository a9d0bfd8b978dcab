package event

import (
	"fmt"

	"github.com/evmq/evmq/internal/goid"
)

// A Runner runs an owned loop turn by turn. It is for a package that has work of its own between the turns, which may block, and which
// another goroutine may have to take over: during that work no goroutine runs the loop, and no function of this package is on the stack.
// A Runner belongs to the goroutine that made it. Any number of goroutines may have one, but no two of them may use theirs at once;
// they must synchronize as for an unlocked variable.
type Runner struct {
	l  *Loop
	id uint64 // of the goroutine
}

// Runner returns a Runner for the calling goroutine, which may use it until the goroutine ends. It does not run the loop. Errors:
// ErrUnsupported with DriverThread, which needs a goroutine that is locked to its thread. Any goroutine.
func (o *Owner) Runner() (*Runner, error) {
	l := o.loop
	if l.driver.name() == DriverThread {
		return nil, fmt.Errorf("run loop turn by turn: %w: driver %s", ErrUnsupported, DriverThread)
	}
	return &Runner{l, goid.Current()}, nil
}

// Turn makes one turn, as RunForever does. With wait it sleeps until an event is ready, another goroutine wakes the loop, or the next timer
// is due; without, it handles only what is ready. While it runs, the calling goroutine is the loop's. A panic and runtime.Goexit pass
// through it, and the loop can go on. Errors: ErrRunning if another goroutine runs the loop, ErrClosed, the poller's. For the Runner's
// goroutine only. May block; not in a callback.
//
//go:noinline
func (r *Runner) Turn(wait bool) error {
	l, normal := r.l, false
	if err := r.begin(); err != nil {
		return fmt.Errorf("turn of loop: %w", err)
	}
	defer r.endAbruptly(&normal)
	err := l.turnInLoop(wait)
	normal = true
	r.end()
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("turn of loop: %w", err)
	}
	return nil
}

// Suspend makes the Turn in which it is called return when the running callback has returned, if no more than most events are active then.
// The next Turn continues with them, without a poll and without a sleep, and completes the turn. It is for work between the turns that should
// not wait for these events. An interruption takes some 0.2 µs. A turn is over, and not suspended, when no event is left, or when
// Continue, a Budget or an event of a more urgent priority ends it. For the Runner's goroutine, in the callback of an event. Loop only.
func (r *Runner) Suspend(most int) { r.l.suspend = max(most, 0) + 1 }

// Suspended reports whether the latest turn was suspended, so that the next Turn continues it. Any goroutine.
func (r *Runner) Suspended() bool {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	return r.l.suspended
}

// Call calls fn at once, as the loop calls a callback of a post: the calling goroutine is the loop's meanwhile, OnLoop is true, and calls
// that would have to wait for the loop return ErrOnLoop. Errors: as Turn. For the Runner's goroutine only. May block; not in a callback.
//
//go:noinline
func (r *Runner) Call(fn func()) error {
	if err := r.begin(); err != nil {
		return fmt.Errorf("call on loop: %w", err)
	}
	normal := false
	defer r.endAbruptly(&normal)
	r.l.mu.Unlock()
	fn()
	r.l.mu.Lock()
	normal = true
	r.end()
	r.l.mu.Unlock()
	return nil
}

// begin makes the calling goroutine the one that runs the loop, and returns with l.mu held unless it fails.
func (r *Runner) begin() error {
	l := r.l
	l.mu.Lock()
	switch {
	case l.state != loopOpen: // before runner, which Close sets, too
		l.mu.Unlock()
		return ErrClosed
	case l.runner != 0:
		l.mu.Unlock()
		return ErrRunning
	}
	l.runner, l.mode = r.id, runForever
	return nil
}

// end ends what begin began. Unlike leave it does not end the time in which the loop is awake, which lasts until the loop sleeps. Under l.mu.
func (r *Runner) end() {
	l := r.l
	l.runner = 0
	if l.runnerLeft != nil {
		close(l.runnerLeft)
		l.runnerLeft = nil
	}
}

// endAbruptly is deferred. It ends what begin began if a callback has panicked or called runtime.Goexit, as leave does.
func (r *Runner) endAbruptly(normal *bool) {
	if *normal {
		return
	}
	l := r.l
	l.mu.Lock()
	l.waiting, l.asleep, l.slept, l.suspend, l.suspended = false, false, false, 0, false
	l.endDispatch()
	l.finish()
	r.end()
	l.mu.Unlock()
}
