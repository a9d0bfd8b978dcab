package event_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Break in a timer's callback ends the run before another timer that is due at the same moment.
func TestBreakComesBeforeATimerOfTheSameMoment(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []int
	for i := range 2 {
		e := userEvent(t, l, 0, func() {
			got = append(got, i)
			if i == 0 {
				l.Break()
			}
		})
		testkit.Must(t, e.Add(0))
	}
	testkit.Run(t, l)
	wantOrder(t, got, 0)
	testkit.WantEqual(t, "GotBreak, GotExit", [2]bool{l.GotBreak(), l.GotExit()}, [2]bool{true, false})
	testkit.Run(t, l)
	wantOrder(t, got, 0, 1)
	testkit.WantEqual(t, "GotBreak, GotExit", [2]bool{l.GotBreak(), l.GotExit()}, [2]bool{})
}

// Exit ends a sleeping run when its time has come, and later timers stay pending.
func TestExitEndsRunInTime(t *testing.T) {
	const d = 20 * time.Millisecond
	l := testkit.NewLoop(t, nil)
	calls := 0
	early := userEvent(t, l, 0, func() { calls++ })
	testkit.Must(t, early.Add(d/2))
	late := silent(t, l, -1, 0)
	testkit.Must(t, late.Add(time.Hour))
	began := time.Now()
	testkit.Must(t, l.Exit(d))
	testkit.Run(t, l)
	if took := time.Since(began); took < d {
		t.Errorf("Exit of %v ended the run after %v", d, took)
	}
	testkit.WantEqual(t, "GotBreak, GotExit", [2]bool{l.GotBreak(), l.GotExit()}, [2]bool{false, true})
	testkit.WantEqual(t, "calls", calls, 1)
	testkit.WantEqual(t, "the late timer", late.Pending(), event.Timeout)
}

// Of several Exits the earliest applies, however far away the others are and whichever goroutines call them.
func TestEarliestOfManyExitsEndsRun(t *testing.T) {
	for _, others := range []time.Duration{time.Hour, math.MaxInt64 - 1, event.NoTimeout} {
		l := testkit.NewLoop(t, nil)
		l.Ref()
		testkit.Must(t, l.Exit(others))
		testkit.Must(t, l.Exit(5*time.Millisecond))
		testkit.Must(t, l.Exit(others))
		go func() {
			for range 10 {
				if err := l.Exit(others); err != nil && !errors.Is(err, event.ErrClosed) {
					t.Error(err)
				}
			}
		}()
		testkit.Run(t, l)
		testkit.WantEqual(t, "GotExit", l.GotExit(), true)
	}
}

// Exit without a delay, called by another goroutine, ends a run that sleeps.
func TestExitFromOutsideWakesTheLoop(t *testing.T) {
	for name, stop := range map[string]func(l *event.Loop) error{
		"Exit":  func(l *event.Loop) error { return l.Exit(0) },
		"Break": func(l *event.Loop) error { l.Break(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				l := testkit.NewLoop(t, nil)
				testkit.Must(t, silent(t, l, idle(t), event.Read).Add(event.NoTimeout))
				done := make(chan error, 1)
				go func() { done <- l.Run(context.Background()) }()
				runtime.Gosched()
				testkit.Must(t, stop(l))
				testkit.Must(t, testkit.Await(t, done, "the end of Run"))
				testkit.WantEqual(t, "GotBreak or GotExit", l.GotBreak() || l.GotExit(), true)
			}
		})
	}
}

// Once calls for a condition, for a timeout and without either, each once and with what has happened.
func TestOnceCallsForWhatHappened(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var got []string
	note := func(name string) func(event.Flags) {
		return func(what event.Flags) { got = append(got, name+" "+what.String()) }
	}
	fd := readable(t)
	for _, c := range []struct {
		name    string
		fd      int
		flags   event.Flags
		timeout time.Duration
	}{
		{"late", -1, 0, 2 * time.Second},
		{"data", fd, event.Read, event.NoTimeout},
		{"data or timeout", fd, event.Read, time.Second},
		{"timeout", idle(t), event.Read, time.Second},
		{"first", -1, 0, 0},
		{"second", -1, event.Timeout, 0},
	} {
		_, err := l.Once(c.fd, c.flags, c.timeout, note(c.name))
		testkit.Must(t, err)
	}
	testkit.WantEqual(t, "added", l.Stats().Added, 6)
	turns(t, l, 1)
	// The descriptor's two come in no promised order.
	if len(got) == 4 && got[0] == "data or timeout Read" {
		got[0], got[1] = got[1], got[0]
	}
	wantOrder(t, got, "data Read", "data or timeout Read", "first Timeout", "second Timeout")
	passTime(t, l, clock, time.Minute)
	wantOrder(t, got[4:], "timeout Timeout", "late Timeout")
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
	testkit.Run(t, l)
}

func TestDelCancelsOnceAndAfterFunc(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	once, err := l.Once(readable(t), event.Read, 0, func(event.Flags) { t.Error("Once was called after Del") })
	testkit.Must(t, err)
	after, err := l.AfterFunc(0, func() { t.Error("AfterFunc was called after Del") })
	testkit.Must(t, err)
	testkit.Must(t, once.Del())
	testkit.Must(t, after.Del())
	testkit.Run(t, l)
}

// Close does not call the functions of Once that were not called before, and a closed loop does not keep them alive.
func TestCloseReleasesWhatOnceNeverCalled(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var refs []weak.Pointer[[1 << 10]byte]
	for _, d := range []time.Duration{time.Hour, event.NoTimeout} {
		refs = append(refs, onceWith(t, l, idle(t), event.Read, d), onceWith(t, l, -1, 0, d))
	}
	testkit.Must(t, l.Close())
	for i, ref := range refs {
		for range 10 {
			if ref.Value() == nil {
				break
			}
			runtime.GC()
		}
		if ref.Value() != nil {
			t.Errorf("what Once %d refers to is kept by the closed loop", i)
		}
	}
	runtime.KeepAlive(l)
}

// onceWith gives Once a function that refers to memory of its own.
func onceWith(t *testing.T, l *event.Loop, fd int, flags event.Flags, d time.Duration) weak.Pointer[[1 << 10]byte] {
	big := new([1 << 10]byte)
	_, err := l.Once(fd, flags, d, func(event.Flags) { t.Errorf("called with %d", big[0]) })
	testkit.Must(t, err)
	return weak.Make(big)
}

// RunForever continues while nothing is added, so other goroutines can add work.
func TestRunForeverWaitsForOtherGoroutines(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	done := make(chan error, 1)
	go func() { done <- l.RunForever(context.Background()) }()
	called := make(chan string, 1)
	user := userEvent(t, l, 0, func() { called <- "activated" })
	for range 20 {
		testkit.Must(t, user.Activate(0))
		testkit.WantEqual(t, "called", testkit.Await(t, called, "an activation"), "activated")
		_, err := l.AfterFunc(0, func() { called <- "timer" })
		testkit.Must(t, err)
		testkit.WantEqual(t, "called", testkit.Await(t, called, "a timer"), "timer")
		_, err = l.Once(readable(t), event.Read, event.NoTimeout, func(event.Flags) { called <- "data" })
		testkit.Must(t, err)
		testkit.WantEqual(t, "called", testkit.Await(t, called, "data"), "data")
	}
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
	l.Break()
	testkit.Must(t, testkit.Await(t, done, "the end of RunForever"))
	testkit.WantEqual(t, "GotBreak", l.GotBreak(), true)
}

// Ref keeps a Run going that has nothing else to wait for. Refs are counted, and an extra Unref does nothing.
func TestRefKeepsRunGoing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	l.Unref()
	l.Ref()
	l.Ref()
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	ping := make(chan struct{})
	for range 3 {
		testkit.Must(t, l.Post(func() { ping <- struct{}{} }))
		testkit.Await(t, ping, "a posted function")
	}
	l.Unref()
	testkit.Must(t, l.Post(func() { ping <- struct{}{} }))
	testkit.Await(t, ping, "a posted function after the first Unref")
	l.Unref()
	testkit.Must(t, testkit.Await(t, done, "the end of Run"))
	testkit.Run(t, l)
}

// RunOnce waits for the first callback and ends with its turn.
func TestRunOnceEndsWithTheFirstCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	ticker, err := l.NewTicker(func(*event.Event, event.Flags) { calls++ })
	testkit.Must(t, err)
	testkit.Must(t, ticker.Add(time.Millisecond))
	for i := range 3 {
		testkit.Must(t, l.RunOnce(context.Background()))
		testkit.WantEqual(t, "calls", calls, i+1)
	}
}

// The end of the context ends a run with the context's cause, whether it came before the run or later.
func TestContextEndsRunWithItsCause(t *testing.T) {
	cause := errors.New("the cause")
	for name, wait := range map[string]time.Duration{"before": 0, "later": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			l.Ref()
			ctx, cancel := context.WithCancelCause(context.Background())
			if wait == 0 {
				cancel(cause)
			} else {
				time.AfterFunc(wait, func() { cancel(cause) })
			}
			testkit.WantErr(t, l.Run(ctx), cause)
			l.Unref()
			testkit.Run(t, l) // the next run has nothing to do with it
		})
	}
}
