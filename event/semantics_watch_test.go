package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// A timeout that a prepare watcher adds bounds the sleep of the same turn.
func TestTimerMadeInPrepareBoundsTheSleep(t *testing.T) {
	clock := newFakeClock()
	l := newLoop(t, &event.Config{Clock: clock})
	fired := make(chan struct{})
	timer, err := l.NewTimer(func(*event.Event, event.Flags) { close(fired) })
	must(t, err)
	rounds := 0
	_, err = l.OnPrepare(func() {
		if rounds++; rounds == 1 {
			must(t, timer.Add(10*ms))
		}
	})
	must(t, err)
	background(t, l)
	clock.awaitAlarm(t, 10*ms)
	clock.Advance(10 * ms)
	await(t, fired, "the timeout")
}

// What a prepare watcher activates is called in the same turn, and what it makes ready is seen by the look that follows.
func TestActivationInPrepareIsCalledInThisTurn(t *testing.T) {
	l := newLoop(t, nil)
	a, b := socketpair(t)
	var calls journal
	e := calls.user(t, l, "activated", nil)
	must(t, calls.event(t, l, "ready", fdOf(t, a), event.Read, nil).Add(event.NoTimeout))
	_, err := l.OnPrepare(func() { activateAll(t, e); makeReadable(t, b) })
	must(t, err)
	oneTurn(t, l)
	calls.want(t, "activated", "ready")
}

// However much comes from outside while the loop wakes up and works, it is woken once.
func TestBurstCostsOneWake(t *testing.T) {
	clock := newFakeClock()
	l := newLoop(t, &event.Config{Clock: clock})
	var calls journal
	must(t, calls.user(t, l, "timer", nil).Add(time.Hour))
	called := make(chan struct{})
	other, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) {})
	must(t, err)
	last, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) { close(called) })
	must(t, err)
	entered, free := make(chan struct{}), make(chan struct{})
	background(t, l)
	clock.awaitAlarm(t, time.Hour)
	before := l.Stats().Wakes
	must(t, l.Post(func() { close(entered); <-free }))
	await(t, entered, "the first function")
	for range 1000 {
		must(t, l.Post(func() {}))
		must(t, other.Activate(event.Read))
	}
	must(t, last.Activate(0))
	if wakes := l.Stats().Wakes - before; wakes != 1 {
		t.Errorf("%d wakes, want 1", wakes)
	}
	close(free)
	await(t, called, "the last callback")
}

// Added counts each added event once, whatever it waits for. The loop's internal events are not counted and keep no Run going.
func TestAddedCountsEventsOnce(t *testing.T) {
	l := newLoop(t, nil)
	a, _ := socketpair(t)
	want := func(added, highest int) {
		t.Helper()
		if s := l.Stats(); s.Added != added || s.MaxAdded != highest {
			t.Fatalf("added %d, at most %d; want %d, %d", s.Added, s.MaxAdded, added, highest)
		}
	}
	var calls journal
	idle := calls.event(t, l, "idle", fdOf(t, a), event.Read|event.Write|event.Persist, nil)
	must(t, idle.Add(time.Hour))
	want(1, 1)
	must(t, idle.Add(time.Minute))
	want(1, 1)
	second := calls.event(t, l, "second", fdOf(t, a), event.Read, nil)
	must(t, second.Add(event.NoTimeout))
	want(2, 2)
	must(t, second.Del())
	must(t, second.Del())
	must(t, idle.Del())
	want(0, 2)

	must(t, l.Exit(time.Hour))
	_, err := l.OnPrepare(func() {})
	must(t, err)
	activateAll(t, second)
	want(0, 2)
	must(t, second.Del())
	must(t, l.Post(func() { calls.note("post") }))
	want(0, 2)
	run(t, l)
	calls.want(t, "post")
	want(0, 2)
}
