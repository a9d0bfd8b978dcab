package testkit

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/evmq/evmq/event"
)

// Clock is an event.Clock whose time passes only by Advance. Any goroutine, callbacks included.
//
// A test names a deadline, waits until the deadline runs (a callback was called, a counter has changed), advances the clock, and waits
// for the effect. A loop that arms an alarm while the clock is advanced notices that; see event.Config.
type Clock struct {
	mu    sync.Mutex
	now   time.Duration
	armed []*clockTimer // in the order of arming
}

type clockTimer struct {
	clock *Clock
	at    time.Duration
	call  func()
}

// NewClock returns a Clock at 0.
func NewClock() *Clock { return NewClockAt(0) }

// NewClockAt returns a Clock at the time start, which may be negative.
func NewClockAt(start time.Duration) *Clock { return &Clock{now: start} }

// Now implements event.Clock.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc implements event.Clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) event.ClockTimer {
	t := &clockTimer{clock: c, call: f}
	t.Reset(d)
	return t
}

// Advance makes d pass at once, and calls the functions that are due then, in the order of their times, before it returns.
func (c *Clock) Advance(d time.Duration) {
	for _, t := range c.advance(d) {
		t.call()
	}
}

// advance makes d pass, and takes the timers that are due.
func (c *Clock) advance(d time.Duration) (due []*clockTimer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
	c.armed = slices.DeleteFunc(c.armed, func(t *clockTimer) bool {
		if t.at <= c.now {
			due = append(due, t)
		}
		return t.at <= c.now
	})
	slices.SortStableFunc(due, func(a, b *clockTimer) int { return cmp.Compare(a.at, b.at) })
	return due
}

// AwaitTimer waits until a function is to be called when Now is at: until a loop on another goroutine sleeps until then.
func (c *Clock) AwaitTimer(t T, at time.Duration) {
	t.Helper()
	Until(t, "a timer for "+at.String(), func() bool { return c.armedFor(at) })
}

func (c *Clock) armedFor(at time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.armed, func(t *clockTimer) bool { return t.at == at })
}

func (t *clockTimer) Reset(d time.Duration) bool {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := t.disarm()
	t.at = c.now + d
	if d <= 0 {
		go t.call() // due already, but never from within Reset
	} else {
		c.armed = append(c.armed, t)
	}
	return pending
}

func (t *clockTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.disarm()
}

// disarm reports whether t was armed. The caller holds clock.mu.
func (t *clockTimer) disarm() bool {
	i := slices.Index(t.clock.armed, t)
	if i < 0 {
		return false
	}
	t.clock.armed = slices.Delete(t.clock.armed, i, i+1)
	return true
}
