package event_test

import (
	"context"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// wantGot compares how l says that its last run ended.
func wantGot(t testing.TB, l *event.Loop, brk, exit bool) {
	t.Helper()
	if l.GotBreak() != brk || l.GotExit() != exit {
		t.Fatalf("GotBreak %v, GotExit %v; want %v, %v", l.GotBreak(), l.GotExit(), brk, exit)
	}
}

// stops are the two ways to make a loop return.
var stops = []struct {
	name      string
	stop      func(*event.Loop)
	brk, exit bool
}{
	{"Break", func(l *event.Loop) { l.Break() }, true, false},
	{"Exit", func(l *event.Loop) { l.Exit(0) }, false, true},
}

// Break and Exit that come before Run are kept, end one run of any kind before its first callback, and no other.
func TestBreakAndExitBeforeRunAreKept(t *testing.T) {
	for _, s := range stops {
		for name, runs := range map[string]func(*event.Loop, context.Context) error{
			"Run":         (*event.Loop).Run,
			"RunForever":  (*event.Loop).RunForever,
			"RunOnce":     (*event.Loop).RunOnce,
			"RunNonblock": func(l *event.Loop, _ context.Context) error { return l.RunNonblock() },
		} {
			t.Run(s.name+" before "+name, func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				var calls journal
				activateAll(t, calls.user(t, l, "event", nil))
				s.stop(l)
				testkit.Must(t, runs(l, inPatience(t)))
				calls.want(t)
				wantGot(t, l, s.brk, s.exit)
				testkit.Run(t, l)
				calls.want(t, "event")
				wantGot(t, l, false, false)
			})
		}
	}
}

// A Break and an Exit are two, each for a run of its own.
func TestBreakDoesNotConsumeExit(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	l.Break()
	testkit.Must(t, l.Exit(0))
	oneTurn(t, l)
	wantGot(t, l, true, false)
	oneTurn(t, l)
	wantGot(t, l, false, true)
}

// Break ends the run after the callback that runs; what is active stays so for the next run.
func TestBreakLeavesActiveEventsForTheNextRun(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	activateAll(t, calls.user(t, l, "first", func() { l.Break() }), calls.user(t, l, "second", nil), calls.user(t, l, "third", nil))
	testkit.Run(t, l)
	calls.want(t, "first")
	wantGot(t, l, true, false)
	testkit.Run(t, l)
	calls.want(t, "second", "third")
}

// Break holds among posted functions as among callbacks.
func TestBreakLeavesThePostsForTheNextRun(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	testkit.Must(t, l.Post(func() { calls.note("first"); l.Break() }))
	testkit.Must(t, l.Post(func() { calls.note("second") }))
	testkit.Run(t, l)
	calls.want(t, "first")
	testkit.Run(t, l)
	calls.want(t, "second")
}

// Exit lets the turn finish: what was active with the callback is called, and the rest is left for the next run.
func TestExitLetsTheTurnFinish(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	later := calls.user(t, l, "later", nil)
	first := calls.user(t, l, "first", func() { activateAll(t, later); testkit.Must(t, l.Exit(0)) })
	activateAll(t, first, calls.user(t, l, "second", nil))
	testkit.Run(t, l)
	calls.want(t, "first", "second")
	wantGot(t, l, false, true)
	testkit.Run(t, l)
	calls.want(t, "later")
}

// If any kind of event keeps the most urgent priority busy, Exit still ends the run in time.
func TestExitIsNotDelayedByPriorities(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * ms} {
		t.Run(after.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 3})
			turns := 0
			var busy *event.Event
			busy, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) {
				if turns++; turns > 100 {
					l.Break()
				}
				clock.Advance(ms)
				activateAll(t, busy)
			})
			testkit.Must(t, err)
			testkit.Must(t, busy.SetPriority(0))
			first := true
			_, err = l.OnPrepare(func() {
				if first {
					first = false
					testkit.Must(t, l.Exit(after))
				}
			})
			testkit.Must(t, err)
			activateAll(t, busy)
			testkit.Run(t, l)
			wantGot(t, l, false, true)
			// Each turn takes a millisecond and reads the clock at its beginning.
			if want := int(after/ms) + 1; turns != want {
				t.Errorf("ended after %d turns, want %d", turns, want)
			}
		})
	}
}

// Of several Exits the earliest counts, and they are one: the others end no later run.
func TestEarliestExitCounts(t *testing.T) {
	for name, exits := range map[string][]time.Duration{
		"the first":         {10 * ms, 20 * ms, time.Hour},
		"the last":          {time.Hour, 20 * ms, 10 * ms},
		"one after another": {20 * ms, 10 * ms, 15 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			l.Ref()
			for _, d := range exits {
				testkit.Must(t, l.Exit(d))
			}
			clock.Advance(10*ms - 1)
			oneTurn(t, l)
			wantGot(t, l, false, false)
			clock.Advance(1)
			testkit.Run(t, l)
			wantGot(t, l, false, true)
			clock.Advance(2 * time.Hour)
			oneTurn(t, l)
			wantGot(t, l, false, false)
		})
	}
}

// After Exit(0) a later Exit has no effect.
func TestLaterExitDoesNotPostponeAPendingOne(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	testkit.Must(t, l.Exit(0))
	testkit.Must(t, l.Exit(time.Hour))
	oneTurn(t, l)
	wantGot(t, l, false, true)
	clock.Advance(2 * time.Hour)
	oneTurn(t, l)
	wantGot(t, l, false, false)
}

// An Exit that is due is not postponed by another one in the same turn.
func TestLaterExitDoesNotPostponeADueOne(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	timer := calls.user(t, l, "timer", func() { testkit.Must(t, l.Exit(time.Hour)) })
	testkit.Must(t, timer.Add(10*ms))
	testkit.Must(t, l.Exit(10*ms))
	l.Ref()
	clock.Advance(10 * ms)
	oneTurn(t, l)
	calls.want(t, "timer")
	wantGot(t, l, false, true)
}

// The time of an Exit passes without a run, and Exit keeps no run going.
func TestExitPassesWithoutARun(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	testkit.Must(t, l.Exit(10*ms))
	testkit.Run(t, l)
	wantGot(t, l, false, false)
	clock.Advance(10 * ms)
	testkit.Must(t, l.RunForever(inPatience(t)))
	wantGot(t, l, false, true)
}

// GotBreak and GotExit speak of the last run until the next begins.
func TestGotBreakAndGotExitLastUntilTheNextRun(t *testing.T) {
	for _, s := range stops {
		t.Run(s.name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			activateAll(t, new(journal).user(t, l, "stop", func() { s.stop(l) }))
			testkit.Run(t, l)
			for range 2 {
				wantGot(t, l, s.brk, s.exit)
			}
			activateAll(t, new(journal).user(t, l, "look", func() { wantGot(t, l, false, false) }))
			testkit.Run(t, l)
			wantGot(t, l, false, false)
		})
	}
}

// RunNonblock makes one turn, however ready a descriptor stays, and consumes the Break or Exit of that turn.
func TestRunNonblockMakesOneTurn(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	var calls journal
	ready := calls.event(t, l, "ready", fdOf(t, a), event.Read|event.Persist, func() {
		if len(calls) > 3 {
			l.Break()
		}
	})
	testkit.Must(t, ready.Add(event.NoTimeout))
	makeReadable(t, b)
	before := l.Stats().Turns
	for range 3 {
		oneTurn(t, l)
		calls.want(t, "ready")
	}
	if turns := l.Stats().Turns - before; turns != 3 {
		t.Errorf("%d turns, want 3", turns)
	}
	testkit.Must(t, ready.Del())
	for _, s := range stops {
		activateAll(t, calls.user(t, l, s.name, func() { s.stop(l) }))
		oneTurn(t, l)
		wantGot(t, l, s.brk, s.exit)
		oneTurn(t, l)
		wantGot(t, l, false, false)
	}
}

// RunNonblock does not wait for a descriptor, a timer or another goroutine.
func TestRunNonblockDoesNotWait(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, _ := socketpair(t)
	var calls journal
	testkit.Must(t, calls.event(t, l, "quiet", fdOf(t, a), event.Read, nil).Add(time.Hour))
	l.Ref()
	oneTurn(t, l)
	calls.want(t)
}

// RunOnce sleeps through wakes that bring no callback, and ends with the turn that does.
func TestRunOnceIsNotEndedByAWakeAlone(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	testkit.Must(t, calls.user(t, l, "timer", nil).Add(time.Hour))
	early := calls.user(t, l, "deleted", nil)
	done := make(chan error, 1)
	go func() { done <- l.RunOnce(context.Background()) }()
	clock.AwaitTimer(t, time.Hour)
	for range 3 {
		now := clock.Now()
		testkit.Must(t, early.Add(ms)) // the nearest timeout: a wake
		clock.AwaitTimer(t, now+ms)
		testkit.Must(t, early.Del())
		clock.Advance(ms) // the alarm of a timeout that is gone: another
		clock.AwaitTimer(t, time.Hour)
	}
	clock.Advance(time.Hour)
	testkit.Must(t, testkit.Await(t, done, "the end of RunOnce"))
	calls.want(t, "timer")
}

// RunOnce ends when nothing is left to call: lower priorities have their turns first, and those of the next call wait.
func TestRunOnceEndsWhenNothingIsLeftToCall(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 2})
	var calls journal
	activateAll(t, calls.urgent(t, l, "low", 1, nil), calls.urgent(t, l, "high", 0, nil))
	testkit.Must(t, calls.user(t, l, "timer", nil).Add(time.Hour))
	testkit.Must(t, l.RunOnce(inPatience(t)))
	calls.want(t, "high", "low")
	clock.Advance(time.Hour)
	testkit.Must(t, l.RunOnce(inPatience(t)))
	calls.want(t, "timer")
	testkit.Must(t, l.RunOnce(inPatience(t))) // nothing is added any more
	calls.want(t)
}

// A loop is run by one goroutine at a time, and not by its own callbacks.
func TestReentrantRunIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	refused := func() {
		testkit.WantErr(t, l.Run(context.Background()), event.ErrRunning)
		testkit.WantErr(t, l.RunForever(context.Background()), event.ErrRunning)
		testkit.WantErr(t, l.RunOnce(context.Background()), event.ErrRunning)
		testkit.WantErr(t, l.RunNonblock(), event.ErrRunning)
	}
	called := false
	activateAll(t, new(journal).user(t, l, "inside", func() {
		called = true
		refused()
		testkit.WantErr(t, l.Close(), event.ErrOnLoop)
		other := make(chan error)
		go func() { other <- l.RunNonblock() }()
		testkit.WantErr(t, <-other, event.ErrRunning)
	}))
	testkit.Run(t, l)
	if !called {
		t.Error("the loop did not run")
	}
	oneTurn(t, l) // the refusals have left no trace
}
