package event_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// SetTimeout with NoTimeout leaves the condition pending.
func TestRemovedTimeoutLeavesTheConditionPending(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	_, _, fd, peer := pair(t)
	var told []event.Flags
	e := eventFor(t, l, fd, event.Read, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, e.Add(10*time.Millisecond))
	testkit.Must(t, e.SetTimeout(event.NoTimeout))
	testkit.Must(t, e.SetTimeout(event.NoTimeout))
	passTime(t, l, clock, time.Hour)
	wantOrder(t, told)
	send(t, peer, "x")
	testkit.Run(t, l)
	wantOrder(t, told, event.Read)
}

// A timer whose timeout is removed keeps the loop, as any added event does, and can be given another.
func TestTimerWithoutItsTimeoutStaysAdded(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	calls := 0
	e := userEvent(t, l, 0, func() { calls++ })
	testkit.Must(t, e.Add(time.Second))
	testkit.Must(t, e.SetTimeout(event.NoTimeout))
	passTime(t, l, clock, time.Minute)
	testkit.WantEqual(t, "calls, added", [2]int{calls, l.Stats().Added}, [2]int{0, 1})
	testkit.Must(t, e.Add(time.Second))
	passTime(t, l, clock, time.Second)
	testkit.WantEqual(t, "calls, added", [2]int{calls, l.Stats().Added}, [2]int{1, 0})
}

// A ticker runs at its interval until its Del, and Run ends with that.
func TestTickerRunsUntilItsDel(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var at []time.Duration
	e, err := l.NewTicker(func(e *event.Event, what event.Flags) {
		testkit.WantEqual(t, "what", what, event.Timeout)
		if at = append(at, clock.Now()); len(at) == 6 {
			testkit.Must(t, e.Del())
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(10*time.Millisecond))
	passTime(t, l, clock, time.Hour)
	for i, d := range at {
		at[i] = d / time.Millisecond
	}
	wantOrder(t, at, 10, 20, 30, 40, 50, 60)
	testkit.Run(t, l)
}

// An activation half way through the interval moves the calls that follow.
func TestActivationMovesATicker(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	type call struct {
		at   time.Duration
		what event.Flags
	}
	var calls []call
	e, err := l.NewTicker(func(_ *event.Event, what event.Flags) { calls = append(calls, call{clock.Now(), what}) })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(200*time.Millisecond))
	_, err = l.AfterFunc(100*time.Millisecond, func() { testkit.Must(t, e.Activate(event.Read)) })
	testkit.Must(t, err)
	passTime(t, l, clock, 600*time.Millisecond)
	wantOrder(t, calls, call{100 * time.Millisecond, event.Read},
		call{300 * time.Millisecond, event.Timeout}, call{500 * time.Millisecond, event.Timeout})
}

// A callback that takes many intervals is followed by one call to catch up and then by the interval, not by a burst.
func TestTickerWithALongCallbackDoesNotBurst(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var at []time.Duration
	e, err := l.NewTicker(func(*event.Event, event.Flags) {
		if at = append(at, clock.Now()/time.Millisecond); len(at) == 1 {
			clock.Advance(time.Second)
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(100*time.Millisecond))
	passTime(t, l, clock, 100*time.Millisecond)
	passTime(t, l, clock, 200*time.Millisecond)
	wantOrder(t, at, 100, 1100, 1200, 1300)
}

// By the system's clock a timer is not early, and its lateness is the system's.
func TestTimerByTheSystemsClock(t *testing.T) {
	const d = 20 * time.Millisecond
	l := testkit.NewLoop(t, nil)
	began := time.Now()
	var took time.Duration
	_, err := l.AfterFunc(d, func() { took = time.Since(began) })
	testkit.Must(t, err)
	testkit.Run(t, l)
	if took < d || took > testkit.Patience {
		t.Errorf("a timer of %v took %v", d, took)
	}
}

// A hundred timers of few durations, some moved from one to another and some deleted, are called in the order of their
// deadlines and, where these are equal, of Add; those left at Close are not called.
func TestTimersOfEqualDurationsKeepTheirOrder(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	durations := []time.Duration{time.Second, 2 * time.Second, 2 * time.Second, 3 * time.Second}
	var got, want []int
	var all []*event.Event
	for i := range 100 {
		e := userEvent(t, l, 0, func() { got = append(got, i) })
		testkit.Must(t, e.Add(durations[i%4]))
		all = append(all, e)
	}
	for i := 0; i < 100; i += 10 { // to a time that no other has, and from there behind the others of one second
		testkit.Must(t, all[i].Add(time.Duration(i+1)*time.Hour))
		testkit.Must(t, all[i].Add(time.Second))
	}
	for i := 5; i < 100; i += 10 {
		testkit.Must(t, all[i].Del())
	}
	for i := range 100 { // due after one second
		if i%4 == 0 && i%10 != 0 {
			want = append(want, i)
		}
	}
	for i := 0; i < 100; i += 10 {
		want = append(want, i)
	}
	for i := range 100 { // after two
		if (i%4 == 1 || i%4 == 2) && i%5 != 0 {
			want = append(want, i)
		}
	}
	passTime(t, l, clock, 2*time.Second)
	wantOrder(t, got, want...)
	testkit.Must(t, l.Close())
	wantOrder(t, got, want...)
}

// Twenty thousand timers, each added anew in its callback with a time by chance, are called exactly in time, none early
// and none forgotten.
func TestManyTimersAddedAnewAreEachInTime(t *testing.T) {
	const timers, calls = 20_000, 60_000
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() time.Duration { return time.Duration(rng.IntN(50_000)) * time.Microsecond }
	due := make([]time.Duration, timers)
	called := 0
	add := func(i int, e *event.Event) {
		d := random()
		due[i] = clock.Now() + d
		testkit.Must(t, e.Add(d))
	}
	all := make([]*event.Event, timers)
	for i := range all {
		all[i] = eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) {
			if now := clock.Now(); now != due[i] {
				t.Fatalf("timer %d is called at %v, was due at %v", i, now, due[i])
			}
			if called++; called <= calls {
				add(i, e)
				other := rng.IntN(timers) // and another one is moved, if it is not due by now
				if due[other] > clock.Now() {
					add(other, all[other])
				}
			} else {
				due[i] = 0
			}
		})
		add(i, all[i])
	}
	passTime(t, l, clock, time.Minute)
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
	for i, d := range due {
		if d != 0 {
			t.Fatalf("timer %d, due at %v, was not called", i, d)
		}
	}
}

// Now is one reading for all callbacks of a turn, and a new one for the next.
func TestNowIsFreshPerTurnAndConstantInside(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var seen []time.Duration
	look := func() {
		seen = append(seen, l.Now()/time.Millisecond)
		clock.Advance(5 * time.Millisecond)
		seen = append(seen, l.Now()/time.Millisecond)
	}
	first, second := userEvent(t, l, 0, look), userEvent(t, l, 0, look)
	clock.Advance(10 * time.Millisecond)
	testkit.Must(t, first.Activate(0))
	testkit.Must(t, second.Activate(0))
	turns(t, l, 1)
	wantOrder(t, seen, 10, 10, 10, 10)
	testkit.WantEqual(t, "Now between the runs", l.Now(), 10*time.Millisecond)
	testkit.Must(t, first.Activate(0))
	turns(t, l, 1)
	wantOrder(t, seen[4:], 20, 20)
}

func TestTimerFires(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fired := 0
	e, err := l.NewTimer(func(_ *event.Event, what event.Flags) {
		fired++
		if what != event.Timeout {
			t.Errorf("told %v", what)
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(time.Millisecond))
	testkit.Run(t, l)
	if fired != 1 {
		t.Fatalf("fired %d times", fired)
	}
}
