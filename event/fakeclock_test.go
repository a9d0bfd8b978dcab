package event_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// fakeClock is an event.Clock that begins at 0 and whose time passes only by Advance. Any goroutine, callbacks included.
//
// A loop that is stepped with RunNonblock needs no more. A loop that sleeps on another goroutine reads the clock and arms
// its alarm in two steps: awaitAlarm before Advance, so that the time does not pass between them.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Duration
	armed []*fakeTimer // in the order of arming
}

type fakeTimer struct {
	clock *fakeClock
	at    time.Duration
	call  func()
}

func newFakeClock() *fakeClock { return &fakeClock{} }

func (c *fakeClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) event.ClockTimer {
	t := &fakeTimer{clock: c, call: f}
	t.Reset(d)
	return t
}

// Advance lets d pass at once, and calls what has come due, in order, before it returns.
func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now += d
	var due []*fakeTimer
	c.armed = slices.DeleteFunc(c.armed, func(t *fakeTimer) bool {
		if t.at <= c.now {
			due = append(due, t)
			return true
		}
		return false
	})
	c.mu.Unlock()
	slices.SortStableFunc(due, func(a, b *fakeTimer) int { return int(a.at - b.at) })
	for _, t := range due {
		t.call()
	}
}

// awaitAlarm waits until something is armed for the moment at: until a loop on another goroutine sleeps till then.
func (c *fakeClock) awaitAlarm(t testing.TB, at time.Duration) {
	t.Helper()
	for giveUp := time.Now().Add(patience); !c.armedFor(at); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(giveUp) {
			t.Fatalf("no alarm was set for %v within %v", at, patience)
		}
	}
}

func (c *fakeClock) armedFor(at time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.armed, func(t *fakeTimer) bool { return t.at == at })
}

func (t *fakeTimer) Reset(d time.Duration) bool {
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

func (t *fakeTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.disarm()
}

// disarm reports whether t was armed. Under clock.mu.
func (t *fakeTimer) disarm() bool {
	i := slices.Index(t.clock.armed, t)
	if i < 0 {
		return false
	}
	t.clock.armed = slices.Delete(t.clock.armed, i, i+1)
	return true
}

func TestFakeClockCallsInOrderWhenTimePasses(t *testing.T) {
	clock := newFakeClock()
	var calls journal
	clock.AfterFunc(20*time.Millisecond, func() { calls.note("late") })
	clock.AfterFunc(10*time.Millisecond, func() { calls.note("early") })
	moved := clock.AfterFunc(5*time.Millisecond, func() { calls.note("moved") })
	stopped := clock.AfterFunc(10*time.Millisecond, func() { calls.note("stopped") })
	if !moved.Reset(15*time.Millisecond) || !stopped.Stop() || stopped.Stop() {
		t.Error("Reset and Stop do not say whether a call was pending")
	}
	clock.Advance(10*time.Millisecond - 1)
	calls.want(t)
	clock.Advance(1)
	calls.want(t, "early")
	clock.Advance(time.Hour)
	calls.want(t, "moved", "late")

	done := make(chan struct{})
	clock.AfterFunc(0, func() { close(done) })
	await(t, done, "a call that was due at once")
}
