package event_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// newRunner returns a loop that the test's goroutine runs turn by turn. It skips the test where the driver cannot.
func newRunner(t *testing.T, cfg *event.Config) (*event.Loop, *event.Owner, *event.Runner) {
	l, err := event.NewLoop(cfg)
	testkit.Must(t, err)
	owner, err := l.Own()
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, owner.Close()) })
	r, err := owner.Runner()
	if l.Driver() == event.DriverThread {
		testkit.CheckErr(t, "Runner", err, event.ErrUnsupported)
		t.SkipNow()
	}
	testkit.Must(t, err)
	return l, owner, r
}

// TestNoGoroutineRunsALoopBetweenTurns: in a turn and in a Call the Runner's goroutine is the loop's, between them it is not.
func TestNoGoroutineRunsALoopBetweenTurns(t *testing.T) {
	l, _, r := newRunner(t, nil)
	var in []bool
	note := func() { in = append(in, l.OnLoop()) }
	testkit.Must(t, l.Post(note))
	testkit.Must(t, r.Turn(true))
	note()
	testkit.Must(t, r.Call(note))
	note()
	testkit.Must(t, l.Post(func() {
		testkit.CheckErr(t, "a turn in a callback", r.Turn(false), event.ErrRunning)
		testkit.CheckErr(t, "a call in a callback", r.Call(note), event.ErrRunning)
	}))
	testkit.Must(t, r.Turn(false))
	testkit.Must(t, r.Turn(false)) // nothing is ready
	want := []bool{true, false, true, false}
	for i := range want {
		if len(in) != len(want) || in[i] != want[i] {
			t.Fatalf("OnLoop in a turn, between turns, in a call, after it: %v, want %v", in, want)
		}
	}
}

// TestATurnSleepsUntilThereIsWork: a timer, an event, or work from another goroutine.
func TestATurnSleepsUntilThereIsWork(t *testing.T) {
	l, _, r := newRunner(t, nil)
	called := 0
	_, err := l.AfterFunc(time.Millisecond, func() { called++ })
	testkit.Must(t, err)
	for called == 0 {
		testkit.Must(t, r.Turn(true))
	}
	go func() { _ = l.Post(func() { called++ }) }()
	for called == 1 {
		testkit.Must(t, r.Turn(true))
	}
}

// TestAnotherGoroutineMayContinueALoop: goroutines take turns, each with a Runner of its own, and every post is called once.
func TestAnotherGoroutineMayContinueALoop(t *testing.T) {
	l, owner, _ := newRunner(t, nil)
	called := 0 // not synchronized but by the handing over
	for i := range 20 {
		over := make(chan struct{})
		testkit.Must(t, l.Post(func() { called++ }))
		go func() {
			defer close(over)
			r, err := owner.Runner()
			if err != nil {
				t.Error(err)
				return
			}
			if i%2 == 0 {
				testkit.Must(t, l.Post(runtime.Goexit)) // the loop goes on
			}
			for range 2 {
				if err := r.Turn(false); err != nil {
					t.Error(err)
				}
			}
		}()
		testkit.Await(t, over, "the goroutine's end")
	}
	r, err := owner.Runner()
	testkit.Must(t, err)
	testkit.Must(t, r.Turn(false))
	if called != 20 {
		t.Errorf("%d of 20 posts were called", called)
	}
}

// TestGoexitInACallLeavesALoopThatGoesOn: also Close does not wait for the goroutine that is gone.
func TestGoexitInACallLeavesALoopThatGoesOn(t *testing.T) {
	l, owner, r := newRunner(t, nil)
	over := make(chan struct{})
	go func() {
		defer close(over)
		r, err := owner.Runner()
		testkit.Must(t, err)
		_ = r.Call(runtime.Goexit)
	}()
	testkit.Await(t, over, "the goroutine's end")
	called := false
	testkit.Must(t, l.Post(func() { called = true }))
	testkit.Must(t, r.Turn(false))
	if !called {
		t.Error("the loop does not go on")
	}
}

// TestCloseEndsALoopBetweenTurns: at once, and ends a turn that sleeps.
func TestCloseEndsALoopBetweenTurns(t *testing.T) {
	_, owner, r := newRunner(t, nil)
	closed := make(chan error, 1)
	go func() { closed <- owner.Close() }()
	var err error
	for err == nil {
		err = r.Turn(true)
	}
	testkit.CheckErr(t, "Turn", err, event.ErrClosed)
	testkit.Must(t, testkit.Await(t, closed, "Close"))
	testkit.CheckErr(t, "Call", r.Call(func() { t.Error("called after Close") }), event.ErrClosed)
}

// TestTheEndOfATurnIsCalledInEachTurn: the functions of OnTurnEnd, and not after a Call.
func TestTheEndOfATurnIsCalledInEachTurn(t *testing.T) {
	l, _, r := newRunner(t, nil)
	ends := 0
	_, err := l.OnTurnEnd(func() { ends++ })
	testkit.Must(t, err)
	for range 3 {
		testkit.Must(t, r.Turn(false))
		testkit.Must(t, r.Call(func() {}))
	}
	if ends != 3 {
		t.Errorf("%d calls in 3 turns", ends)
	}
}

func TestATurnOfARunnerAllocatesNothing(t *testing.T) {
	l, _, r := newRunner(t, nil)
	e, err := l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {})
	testkit.Must(t, err)
	fn := func() {}
	if n := testing.AllocsPerRun(100, func() {
		err := errors.Join(e.Activate(0), r.Turn(true), r.Call(fn))
		if err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTurnOfARunner(b *testing.B) {
	l, err := event.NewLoop(nil)
	testkit.Must(b, err)
	owner, err := l.Own()
	testkit.Must(b, err)
	defer func() { _ = owner.Close() }()
	r, err := owner.Runner()
	if errors.Is(err, event.ErrUnsupported) {
		b.Skip(err)
	}
	testkit.Must(b, err)
	e, err := l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {})
	testkit.Must(b, err)
	for b.Loop() {
		_ = e.Activate(0)
		if err := r.Turn(true); err != nil {
			b.Fatal(err)
		}
	}
}
