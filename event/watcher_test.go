package event_test

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func onPrepare(t testing.TB, l *event.Loop, fn func()) *event.Watcher {
	t.Helper()
	w, err := l.OnPrepare(fn)
	testkit.Must(t, err)
	return w
}

func onCheck(t testing.TB, l *event.Loop, fn func()) *event.Watcher {
	t.Helper()
	w, err := l.OnCheck(fn)
	testkit.Must(t, err)
	return w
}

// Prepare watchers come before the look, check watchers after it and before the callbacks, each kind in the order in
// which it was added, in every turn.
func TestWatchersAreCalledInOrder(t *testing.T) {
	p := newScriptPoller()
	l := testkit.NewLoop(t, &event.Config{OpenPoller: p.open, Driver: event.DriverThread})
	var seen []string
	see := func(what string) func() { return func() { seen = append(seen, what) } }
	onCheck(t, l, see("check 1"))
	onPrepare(t, l, see("prepare 1"))
	onPrepare(t, l, func() {
		see("prepare 2")()
		p.report(5, event.Read) // what becomes ready from here on is seen in this turn
	})
	onCheck(t, l, see("check 2"))
	e := eventFor(t, l, 5, event.Read|event.Persist, func(*event.Event, event.Flags) { see("callback")() })
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 2)
	turn := []string{"prepare 1", "prepare 2", "check 1", "check 2", "callback"}
	wantOrder(t, seen, append(turn, turn...)...)
}

func TestWatcherStopHoldsAtOnce(t *testing.T) {
	for name, add := range map[string]func(testing.TB, *event.Loop, func()) *event.Watcher{"prepare": onPrepare, "check": onCheck, "turn end": onTurnEnd} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			var seen []int
			var own, later *event.Watcher
			add(t, l, func() { seen = append(seen, 1) })
			own = add(t, l, func() {
				seen = append(seen, 2)
				own.Stop()
				later.Stop()
			})
			later = add(t, l, func() { seen = append(seen, 3) })
			add(t, l, func() { seen = append(seen, 4) })
			turns(t, l, 2)
			own.Stop() // a second time
			turns(t, l, 1)
			wantOrder(t, seen, 1, 2, 4, 1, 4, 1, 4)
		})
	}
}

func TestWatcherAddedInARoundWaitsForTheNext(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	rounds, calls := 0, 0
	onPrepare(t, l, func() {
		if rounds++; rounds == 1 {
			onPrepare(t, l, func() { calls++ })
			onCheck(t, l, func() { calls += 10 })
		}
	})
	turns(t, l, 1)
	testkit.WantEqual(t, "calls in the first turn, whose check is still to come", calls, 10)
	turns(t, l, 1)
	testkit.WantEqual(t, "calls after the second turn", calls, 21)
}

func TestWatcherKeepsNoRunGoing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	onPrepare(t, l, func() {})
	onCheck(t, l, func() {})
	testkit.Run(t, l)
}

func TestPollTimeoutIsTheTimeOfTheSleep(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	want := func(what string, d time.Duration, some bool) {
		t.Helper()
		if got, ok := l.PollTimeout(); got != d || ok != some {
			t.Errorf("%s: %v, %v; want %v, %v", what, got, ok, d, some)
		}
	}
	later, err := l.NewTimer(func(*event.Event, event.Flags) {})
	testkit.Must(t, err)
	soon, err := l.NewTimer(func(*event.Event, event.Flags) {})
	testkit.Must(t, err)
	now := userEvent(t, l, 0, func() {})
	rounds := 0
	onPrepare(t, l, func() {
		rounds++
		want("nothing added", 0, false)
		testkit.Must(t, later.Add(2*time.Hour))
		want("one timer", 2*time.Hour, true)
		testkit.Must(t, soon.Add(time.Hour))
		want("two timers", time.Hour, true)
		clock.Advance(time.Minute)
		want("a minute later", 59*time.Minute, true)
		clock.Advance(time.Hour)
		want("overdue", 0, true)
		testkit.Must(t, soon.Del())
		want("the nearest deleted", 59*time.Minute, true)
		testkit.Must(t, now.Activate(0))
		want("active", 0, true)
		testkit.Must(t, now.Del())
		testkit.Must(t, later.Del())
		want("all deleted", 0, false)
		l.Break()
		want("Break", 0, true)
	})
	testkit.Must(t, l.RunForever(t.Context()))
	testkit.WantEqual(t, "rounds", rounds, 1)
}

// An event that a prepare watcher adds or activates counts for the sleep that follows.
func TestPrepareWatcherPreventsTheSleep(t *testing.T) {
	cases := map[string]func(t *testing.T, l *event.Loop, e *event.Event){
		"timer":      func(t *testing.T, _ *event.Loop, e *event.Event) { testkit.Must(t, e.Add(time.Millisecond)) },
		"activation": func(t *testing.T, _ *event.Loop, e *event.Event) { testkit.Must(t, e.Activate(0)) },
		"post": func(t *testing.T, l *event.Loop, e *event.Event) {
			testkit.Must(t, l.Post(func() { testkit.Must(t, e.Activate(0)) }))
		},
		"Break":      func(_ *testing.T, l *event.Loop, _ *event.Event) { l.Break() },
		"Exit":       func(t *testing.T, l *event.Loop, _ *event.Event) { testkit.Must(t, l.Exit(0)) },
		"later Exit": func(t *testing.T, l *event.Loop, _ *event.Event) { testkit.Must(t, l.Exit(time.Millisecond)) },
	}
	for name, do := range cases {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			l.Ref() // or Run would have no reason to sleep
			e := userEvent(t, l, 0, func() { l.Break() })
			first := true
			onPrepare(t, l, func() {
				if first {
					do(t, l, e)
				}
				first = false
			})
			testkit.Run(t, l)
		})
	}
}

func TestCheckWatcherActivatesForItsOwnTurn(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e := userEvent(t, l, 0, func() { calls++ })
	onCheck(t, l, func() { testkit.Must(t, e.Activate(0)) })
	turns(t, l, 1)
	testkit.WantEqual(t, "calls in the first turn", calls, 1)
}

func TestWatcherIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, err := l.OnPrepare(nil)
	testkit.WantErr(t, err, event.ErrInvalid)
	_, err = l.OnCheck(nil)
	testkit.WantErr(t, err, event.ErrInvalid)
	w := onPrepare(t, l, func() { t.Error("called by Close") })
	testkit.Must(t, l.Close())
	_, err = l.OnPrepare(func() {})
	testkit.WantErr(t, err, event.ErrClosed)
	_, err = l.OnCheck(func() {})
	testkit.WantErr(t, err, event.ErrClosed)
	w.Stop()
}

// Adding and stopping a watcher takes the same work however many there are: the memory that is allocated on the way grows with their
// number and not with its square. Those that are left are called in their order.
func TestVeryManyWatchersAreAddedAndStopped(t *testing.T) {
	const n, each = 10_000, 1000 // watchers, and bytes for each
	kinds := map[string]func(*event.Loop, func()) (*event.Watcher, error){
		"OnPrepare": (*event.Loop).OnPrepare, "OnCheck": (*event.Loop).OnCheck, "OnTurnEnd": (*event.Loop).OnTurnEnd, "OnClose": (*event.Loop).OnClose,
	}
	for name, add := range kinds {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			var got []int
			watchers := make([]*event.Watcher, n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for i := range watchers {
				w, err := add(l, func() { got = append(got, i) })
				testkit.Must(t, err)
				watchers[i] = w
			}
			for i := range watchers {
				if i = i * 7919 % n; i%(n/4) != 0 {
					watchers[i].Stop()
				}
			}
			runtime.ReadMemStats(&after)
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > n*each {
				t.Errorf("%d bytes allocated for adding and stopping %d watchers", bytes, n)
			}
			if name != "OnClose" {
				oneTurn(t, l)
			}
			testkit.Must(t, l.Close())
			wantOrder(t, got, 0, n/4, n/2, 3*n/4)
		})
	}
}

// A round continues after a watcher that stops itself and those next to it, and a new round begins after one that a panic has
// ended.
func TestRoundContinuesThoughWatchersAreStopped(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []int
	watchers := make([]*event.Watcher, 6)
	for i := range watchers {
		watchers[i] = onPrepare(t, l, func() {
			got = append(got, i)
			switch i {
			case 2:
				for _, w := range watchers[1:5] {
					w.Stop()
				}
				onPrepare(t, l, func() { got = append(got, 10) })
			case 5:
				watchers[5].Stop()
				panic("the last")
			}
		})
	}
	panics(t, func() { oneTurn(t, l) })
	wantOrder(t, got, 0, 1, 2, 5)
	oneTurn(t, l)
	wantOrder(t, got, 0, 1, 2, 5, 0, 10)
}

// A closed loop keeps nothing alive that its watchers refer to, and a stopped watcher keeps none of its neighbours alive.
func TestStoppedWatcherKeepsNoMemoryAlive(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	first := onPrepare(t, l, func() {})
	second := onPrepare(t, l, func() {})
	gone := weak.Make(onPrepare(t, l, func() {}))
	second.Stop()
	gone.Value().Stop()
	first.Stop()
	testkit.Until(t, "collection of a stopped watcher", func() bool {
		runtime.GC()
		return gone.Value() == nil
	})
	runtime.KeepAlive([]*event.Watcher{first, second})
}

// PollTimeout is 0 where the loop would not sleep: with due timers that the budget has left, and at the end of a run
// for which nothing is left.
func TestPollTimeoutIsZeroWhereTheLoopWouldNotSleep(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Budget: event.Budget{Callbacks: 1}})
	zero := func(what string) {
		t.Helper()
		if d, some := l.PollTimeout(); d != 0 || !some {
			t.Errorf("%s: %v, %v; want 0, true", what, d, some)
		}
	}
	first, left := userEvent(t, l, 0, func() {}), silent(t, l, -1, 0)
	testkit.Must(t, first.Add(time.Second))
	testkit.Must(t, left.Add(time.Second))
	testkit.Must(t, silent(t, l, -1, 0).Add(time.Hour))
	clock.Advance(time.Second)
	oneTurn(t, l)
	zero("due timer left by the budget")
	testkit.Must(t, left.Del())
	if d, some := l.PollTimeout(); d != time.Hour-time.Second || !some {
		t.Errorf("without the due timer: %v, %v", d, some)
	}
	last := testkit.NewLoop(t, nil)
	e := silent(t, last, -1, 0)
	testkit.Must(t, e.Add(time.Hour))
	asked := false
	onPrepare(t, last, func() {
		asked = true
		testkit.Must(t, e.Del())
		if d, some := last.PollTimeout(); d != 0 || !some {
			t.Errorf("at the end of a run: %v, %v; want 0, true", d, some)
		}
	})
	testkit.Run(t, last)
	testkit.WantEqual(t, "asked", asked, true)
	if _, some := last.PollTimeout(); some {
		t.Error("without a run the loop is to sleep for ever, but a timeout is told")
	}
}
