package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// A timeout that a prepare watcher adds bounds the sleep of the same turn.
func TestTimerMadeInPrepareBoundsTheSleep(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	fired := make(chan struct{})
	timer, err := l.NewTimer(func(*event.Event, event.Flags) { close(fired) })
	testkit.Must(t, err)
	rounds := 0
	_, err = l.OnPrepare(func() {
		if rounds++; rounds == 1 {
			testkit.Must(t, timer.Add(10*ms))
		}
	})
	testkit.Must(t, err)
	testkit.Background(t, l)
	clock.AwaitTimer(t, 10*ms)
	clock.Advance(10 * ms)
	testkit.Await(t, fired, "the timeout")
}

// An event that a prepare watcher activates is called in the same turn, and a descriptor that it makes ready is seen by the poll that follows.
func TestActivationInPrepareIsCalledInThisTurn(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	var calls journal
	e := calls.user(t, l, "activated", nil)
	testkit.Must(t, calls.event(t, l, "ready", fdOf(t, a), event.Read, nil).Add(event.NoTimeout))
	_, err := l.OnPrepare(func() { activateAll(t, e); makeReadable(t, b) })
	testkit.Must(t, err)
	oneTurn(t, l)
	calls.want(t, "activated", "ready")
}

// However much comes from outside while the loop wakes up and works, it is woken once.
func TestBurstCostsOneWake(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	testkit.Must(t, calls.user(t, l, "timer", nil).Add(time.Hour))
	called := make(chan struct{})
	other, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) {})
	testkit.Must(t, err)
	last, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) { close(called) })
	testkit.Must(t, err)
	entered, free := make(chan struct{}), make(chan struct{})
	testkit.Background(t, l)
	clock.AwaitTimer(t, time.Hour)
	before := l.Stats().Wakes
	testkit.Must(t, l.Post(func() { close(entered); <-free }))
	testkit.Await(t, entered, "the first function")
	for range 1000 {
		testkit.Must(t, l.Post(func() {}))
		testkit.Must(t, other.Activate(event.Read))
	}
	testkit.Must(t, last.Activate(0))
	if wakes := l.Stats().Wakes - before; wakes != 1 {
		t.Errorf("%d wakes, want 1", wakes)
	}
	close(free)
	testkit.Await(t, called, "the last callback")
}

// Added counts each added event once, whatever it waits for. The loop's internal events are not counted and keep no Run going.
func TestAddedCountsEventsOnce(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, _ := socketpair(t)
	want := func(added, highest int) {
		t.Helper()
		if s := l.Stats(); s.Added != added || s.MaxAdded != highest {
			t.Fatalf("added %d, at most %d; want %d, %d", s.Added, s.MaxAdded, added, highest)
		}
	}
	var calls journal
	idle := calls.event(t, l, "idle", fdOf(t, a), event.Read|event.Write|event.Persist, nil)
	testkit.Must(t, idle.Add(time.Hour))
	want(1, 1)
	testkit.Must(t, idle.Add(time.Minute))
	want(1, 1)
	second := calls.event(t, l, "second", fdOf(t, a), event.Read, nil)
	testkit.Must(t, second.Add(event.NoTimeout))
	want(2, 2)
	testkit.Must(t, second.Del())
	testkit.Must(t, second.Del())
	testkit.Must(t, idle.Del())
	want(0, 2)

	testkit.Must(t, l.Exit(time.Hour))
	_, err := l.OnPrepare(func() {})
	testkit.Must(t, err)
	activateAll(t, second)
	want(0, 2)
	testkit.Must(t, second.Del())
	testkit.Must(t, l.Post(func() { calls.note("post") }))
	want(0, 2)
	testkit.Run(t, l)
	calls.want(t, "post")
	want(0, 2)
}
