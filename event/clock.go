package event

import "time"

// Clock provides a loop, and a server on it, with the time, and wakes it when a time has passed. Its methods and those of its timers may be
// called from any goroutine, and while locks of the loop or of the server are held: they must not block, and must not call the loop, its
// events or the server. f takes such locks, so the clock must not call it while it holds a lock of its own that its methods need. A
// panic in a method passes to the caller of the loop's method that needed the time, Run included; the loop can continue and be closed.
type Clock interface {
	// Now returns the time since a fixed point in time, which may be negative. It never goes back.
	Now() time.Duration
	// AfterFunc calls f once, from a goroutine of the clock's choice, when d has passed, never earlier and never from
	// within AfterFunc or Reset themselves. If d is not positive, f is due at once.
	AfterFunc(d time.Duration, f func()) ClockTimer
}

// ClockTimer is a pending call of a Clock. *time.Timer is one. The loop ignores the results of Reset and Stop.
type ClockTimer interface {
	// Reset makes the call happen when d has passed from now, pending or not. A call that has begun is not affected.
	Reset(d time.Duration) bool
	// Stop cancels a pending call.
	Stop() bool
}

// epoch is the origin of the system's clock. Only its monotonic reading is used.
var epoch = time.Now()

type systemClock struct{}

// readClock returns the clock's reading. It is called with l.mu held and returns with l.mu held, but a panic of the clock passes
// with l.mu unlocked. So a function that defers the unlocking must not call it.
func (l *Loop) readClock() time.Duration { return l.clockUnderMu.Now() }

// unlockingClock is a user's clock whose panic passes with l.mu unlocked.
type unlockingClock struct {
	Clock
	l *Loop
}

func (c unlockingClock) Now() time.Duration {
	read := false
	defer func() {
		if !read {
			c.l.unlock()
		}
	}()
	now := c.Clock.Now()
	read = true
	return now
}

// setClock sets the loop's clock. Only a user's clock may panic, so only that is read through an unlockingClock.
func (l *Loop) setClock(c Clock) {
	l.clock, l.clockUnderMu = c, c
	if _, ok := c.(systemClock); !ok {
		l.userClock, l.clockUnderMu = true, unlockingClock{c, l}
	}
}

func (systemClock) Now() time.Duration { return time.Since(epoch) }

func (systemClock) AfterFunc(d time.Duration, f func()) ClockTimer { return time.AfterFunc(d, f) }
