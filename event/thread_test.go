package event_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// 100 goroutines each set 100 timers on one loop, one after the other, and wait for each: every timer runs, none early.
func TestTimersFromManyGoroutines(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		var ran atomic.Int32
		var all sync.WaitGroup
		for seed := range uint64(100) {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, 1))
				fired := make(chan time.Time, 1)
				e := eventFor(t, l, -1, 0, func(_ *event.Event, what event.Flags) {
					if what != event.Timeout {
						t.Errorf("told %v", what)
					}
					fired <- time.Now()
				})
				for range 100 {
					d := time.Duration(random.IntN(300)) * time.Microsecond
					begun := time.Now()
					if err := e.Add(d); err != nil {
						t.Error(err)
						return
					}
					if at := <-fired; at.Sub(begun) < d {
						t.Errorf("a timer of %v ran after %v", d, at.Sub(begun))
					}
					ran.Add(1)
				}
			})
		}
		over := make(chan struct{})
		go func() { all.Wait(); close(over) }()
		testkit.Await(t, over, "the last timer")
		testkit.WantEqual(t, "timers", ran.Load(), 10000)
		testkit.WantEqual(t, "added", l.Stats().Added, 0)
	}, 1, 2, 4)
}

func TestManyLoopsAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			l, err := event.NewLoop(nil)
			if err != nil {
				t.Error(err)
				return
			}
			calls := 0
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			for range 20 {
				if _, err := l.AfterFunc(time.Microsecond, func() { calls++ }); err != nil {
					t.Error(err)
				}
				if err := l.Run(ctx); err != nil {
					t.Error(err)
				}
			}
			if err := l.Close(); err != nil || calls != 20 {
				t.Errorf("%d calls, Close: %v", calls, err)
			}
		})
	}
	all.Wait()
}

var errImpatient = errors.New("impatient")

// sleeper is a loop that sleeps on another goroutine, with an event without a condition and one with a timeout of an hour.
type sleeper struct {
	l           *event.Loop
	user, timer *event.Event
}

// A sleeping loop sees a call of another goroutine at once, not at its next wake: each case would otherwise never end, since
// nothing else is due.
func TestSleepingLoopIsWokenBy(t *testing.T) {
	cases := map[string]struct {
		do   func(t *testing.T, s sleeper)
		ends bool // Run, and not only the sleep
	}{
		"Activate":      {func(t *testing.T, s sleeper) { testkit.Must(t, s.user.Activate(0)) }, false},
		"Add of nearer": {func(t *testing.T, s sleeper) { testkit.Must(t, s.timer.Add(time.Millisecond)) }, false},
		"AfterFunc":     {func(t *testing.T, s sleeper) { s.l.AfterFunc(0, func() { s.user.Activate(0) }) }, false},
		"Post":          {func(t *testing.T, s sleeper) { testkit.Must(t, s.l.Post(func() { s.user.Activate(0) })) }, false},
		"ActivateFD": {func(t *testing.T, s sleeper) {
			s.activateOf(t, idle(t), event.Read|event.Persist, func(n int) error { return s.l.ActivateFD(n, event.Read) })
		}, false},
		"ActivateSignal": {func(t *testing.T, s sleeper) {
			s.activateOf(t, int(syscall.SIGWINCH), event.Signal|event.Persist, s.l.ActivateSignal)
		}, false},
		"Finalize": {func(t *testing.T, s sleeper) {
			testkit.Must(t, s.user.Finalize(func(*event.Event) { s.timer.Activate(0) }))
		}, false},
		"Break":      {func(_ *testing.T, s sleeper) { s.l.Break() }, true},
		"Exit":       {func(t *testing.T, s sleeper) { testkit.Must(t, s.l.Exit(0)) }, true},
		"later Exit": {func(t *testing.T, s sleeper) { testkit.Must(t, s.l.Exit(time.Millisecond)) }, true},
		"last Del": {func(t *testing.T, s sleeper) {
			testkit.Must(t, s.user.Del())
			testkit.Must(t, s.timer.Del())
		}, true},
		"last Finalize": {func(t *testing.T, s sleeper) {
			testkit.Must(t, s.timer.Del())
			testkit.Must(t, s.user.Finalize(func(*event.Event) {}))
		}, true},
		"last Unref": {func(t *testing.T, s sleeper) {
			s.l.Ref()
			testkit.Must(t, s.user.Del())
			testkit.Must(t, s.timer.Del())
			s.l.Unref()
		}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			called := make(chan struct{}, 1)
			call := func(*event.Event, event.Flags) { called <- struct{}{} }
			s := sleeper{l, eventFor(t, l, -1, event.Persist, call), eventFor(t, l, -1, 0, call)}
			testkit.Must(t, s.user.Add(event.NoTimeout))
			testkit.Must(t, s.timer.Add(time.Hour))
			over := make(chan error, 1)
			go func() { over <- l.Run(t.Context()) }()
			letSleep(t, l)
			c.do(t, s)
			if !c.ends {
				testkit.Await(t, called, "callback")
				l.Break()
			}
			testkit.Must(t, testkit.Await(t, over, "end of Run"))
		})
	}
}

// activateOf makes an event that calls back what user would, lets the loop fall asleep again and activates it.
func (s sleeper) activateOf(t *testing.T, fd int, flags event.Flags, activate func(n int) error) {
	t.Helper()
	e := eventFor(t, s.l, fd, flags, func(e *event.Event, _ event.Flags) {
		testkit.Must(t, e.Del())
		testkit.Must(t, s.user.Activate(0))
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	letSleep(t, s.l)
	testkit.Must(t, activate(fd))
}

// letSleep waits until the loop, which another goroutine runs, has done what is due and sleeps.
func letSleep(t testing.TB, l *event.Loop) {
	t.Helper()
	passed := make(chan struct{})
	testkit.Must(t, l.Post(func() { close(passed) }))
	testkit.Await(t, passed, "post")
	testkit.Until(t, "the sleep of the loop", func() bool { return event.Asleep(l) })
}

// One post to a sleeping loop, round after round: nothing but the post itself can bring the loop to run it.
func TestIdleLoopRunsEachPost(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		ran := make(chan struct{})
		for range tenfold(500) {
			testkit.Must(t, l.Post(func() { ran <- struct{}{} }))
			testkit.Await(t, ran, "post")
		}
	}, 1, 2, 4)
}

// Wakes race readiness, level- and edge-triggered, and none of either is lost.
func TestWakesRaceReadiness(t *testing.T) {
	manners := map[string]event.Flags{"level": 0, "edge": event.EdgeTriggered}
	for name, manner := range manners {
		t.Run(name, func(t *testing.T) {
			onProcessors(t, func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				if manner != 0 && !l.Features().Has(event.FeatureEdge) {
					_, err := l.NewEvent(idle(t), event.Read|manner, func(*event.Event, event.Flags) {})
					testkit.WantErr(t, err, event.ErrUnsupported)
					return
				}
				fd, peer := idlePair(t)
				read := make(chan int, 64)
				e := eventFor(t, l, fd, event.Read|event.Persist|manner, func(*event.Event, event.Flags) {
					s, _ := receive(fd)
					read <- len(s)
				})
				testkit.Must(t, e.Add(event.NoTimeout))
				testkit.Background(t, l)
				var both sync.WaitGroup
				both.Go(func() {
					for range tenfold(300) {
						send(t, peer, "x")
						for got := 0; got < 1; {
							got += testkit.Await(t, read, "readiness")
						}
					}
				})
				both.Go(func() {
					ran := make(chan struct{})
					for range tenfold(300) {
						testkit.Must(t, l.Post(func() { close(ran) }))
						testkit.Await(t, ran, "post")
						ran = make(chan struct{})
					}
				})
				both.Wait()
			}, 1, 2, 4)
		})
	}
}

// idlePair returns two connected descriptors.
func idlePair(t testing.TB) (fd, peer int) {
	t.Helper()
	_, _, fd, peer = pair(t)
	return fd, peer
}

func TestClockOfTheLoopNeverGoesBack(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	last, rounds := l.Now(), 0
	var e *event.Event
	e = userEvent(t, l, event.Persist, func() {
		now := l.Now()
		if now < last {
			t.Errorf("the clock went from %v to %v", last, now)
		}
		last = now
		if rounds++; rounds < 1000 {
			testkit.Must(t, e.Activate(0))
		}
	})
	testkit.Must(t, e.Activate(0))
	testkit.Run(t, l)
}

func TestRemainingNeverExceedsWhatWasAsked(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for _, d := range []time.Duration{0, 1, time.Millisecond, time.Hour, 24 * 365 * time.Hour} {
		e := silent(t, l, -1, 0)
		testkit.Must(t, e.Add(d))
		if left, ok := e.Remaining(); !ok || left > d || left < 0 {
			t.Errorf("of %v remain %v, %v", d, left, ok)
		}
		testkit.Must(t, e.Del())
		if left, ok := e.Remaining(); ok {
			t.Errorf("after Del remain %v", left)
		}
	}
}

// DelWait from many goroutines at once: each returns only when no callback of the event runs or can begin.
func TestDelWaitWaitsForTheRunningCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	for range tenfold(50) {
		var inside atomic.Bool
		entered := make(chan struct{})
		e := userEvent(t, l, 0, func() {
			inside.Store(true)
			close(entered)
			for range 10 {
				runtime.Gosched()
			}
			inside.Store(false)
		})
		testkit.Must(t, e.Activate(0))
		testkit.Await(t, entered, "callback")
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := e.DelWait(t.Context()); err != nil || inside.Load() {
					t.Errorf("DelWait returned %v while the callback runs: %v", err, inside.Load())
				}
			})
		}
		all.Wait()
	}
}

func TestDelWaitEndsWithItsContext(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	entered, finish := make(chan struct{}), make(chan struct{})
	e := userEvent(t, l, event.Persist, func() {
		close(entered)
		<-finish
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.Activate(0))
	testkit.Background(t, l)
	testkit.Await(t, entered, "callback")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errImpatient)
	testkit.WantErr(t, e.DelWait(ctx), errImpatient)
	testkit.WantEqual(t, "added", e.Added(), false)
	close(finish)
	testkit.Must(t, e.DelWait(t.Context()))
}
