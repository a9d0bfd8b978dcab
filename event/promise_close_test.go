package event_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Every accepted Post is called exactly once and no refused one is, whichever goroutine posts and whenever the loop closes. A
// goroutine that is waking the loop while its descriptors are closed uses no other file's descriptor.
func TestPostRacesClose(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		for round := range tenfold(1000) / 3 {
			l := testkit.NewLoop(t, nil)
			stop := func() {}
			if round%4 != 0 { // else no goroutine runs it
				stop = testkit.Background(t, l)
			}
			var accepted, called atomic.Int32
			var posters sync.WaitGroup
			for range 2 {
				posters.Go(func() {
					for range 1 + round%7 {
						switch err := l.Post(func() { called.Add(1) }); {
						case err == nil:
							accepted.Add(1)
						case !errors.Is(err, event.ErrClosed):
							t.Error(err)
						}
						if round%3 == 0 {
							runtime.Gosched()
						}
					}
				})
			}
			if round%2 == 0 {
				runtime.Gosched()
			}
			testkit.Must(t, l.Close())
			posters.Wait()
			stop()
			testkit.WantEqual(t, "posts called", called.Load(), accepted.Load())
		}
	}, 1, 2, 4)
}

// Close during every kind of wake.
func TestWakersRaceClose(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		for range tenfold(30) {
			l := testkit.NewLoop(t, nil)
			stop := testkit.Background(t, l)
			user, timer := userEvent(t, l, 0, func() {}), userEvent(t, l, 0, func() {})
			testkit.Must(t, user.Add(event.NoTimeout))
			wakers := []func() error{
				func() error { return user.Activate(0) },
				func() error { return timer.Add(time.Microsecond) },
				func() error { return user.Del() },
				func() error { return l.Exit(0) },
				func() error { l.Break(); return nil },
				func() error { l.Ref(); l.Unref(); return nil },
				func() error { _, err := l.AfterFunc(0, func() {}); return err },
				func() error { return user.Finalize(func(*event.Event) {}) },
				l.Close,
			}
			var all sync.WaitGroup
			for _, wake := range wakers {
				all.Go(func() {
					for range 3 {
						err := wake()
						if err != nil && !errors.Is(err, event.ErrClosed) && !errors.Is(err, event.ErrFinalized) {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			stop()
		}
	}, 1, 2, 4)
}

func TestCloseCallsAcceptedPostsInOrder(t *testing.T) {
	cases := map[string]func(t *testing.T, l *event.Loop){
		"never run": func(*testing.T, *event.Loop) {},
		"after a Run": func(t *testing.T, l *event.Loop) {
			testkit.Run(t, l)
		},
		"after Break": func(t *testing.T, l *event.Loop) {
			testkit.Must(t, l.Post(func() { l.Break() }))
			testkit.Run(t, l)
		},
		"while it runs": func(t *testing.T, l *event.Loop) {
			testkit.Background(t, l)
			letSleep(t, l)
		},
	}
	for name, before := range cases {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, &event.Config{Budget: event.Budget{Callbacks: 3}})
			before(t, l)
			var order []int
			for i := range 20 {
				testkit.Must(t, l.Post(func() {
					if order = append(order, i); !l.OnLoop() {
						t.Error("called off the loop")
					}
				}))
			}
			testkit.Must(t, l.Close())
			testkit.WantEqual(t, "posts called", len(order), 20)
			for i, got := range order {
				testkit.WantEqual(t, "order", got, i)
			}
		})
	}
}

// Close calls the accepted posts on the loop's own goroutine, and the loop is closed for them.
func TestPostCalledByCloseFindsTheLoopClosed(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, 0)
	called := false
	testkit.Must(t, l.Post(func() {
		called = true
		testkit.WantErr(t, l.Post(func() { t.Error("refused post was called") }), event.ErrClosed)
		testkit.WantErr(t, e.Activate(0), event.ErrClosed)
		testkit.WantErr(t, e.Add(0), event.ErrClosed)
		testkit.WantErr(t, l.Close(), event.ErrOnLoop)
		testkit.WantErr(t, l.Run(t.Context()), event.ErrClosed)
		testkit.WantEqual(t, "on the loop", l.OnLoop(), true)
		testkit.Must(t, e.DelWait(t.Context()))
	}))
	testkit.Must(t, l.Close())
	testkit.WantEqual(t, "called", called, true)
}

// A post that panics while the loop closes takes neither the others' call nor the loop's descriptors with it; the panic
// is Close's caller's.
func TestPanicInAPostThatCloseCalls(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	called := 0
	for i := range 10 {
		testkit.Must(t, l.Post(func() {
			called++
			if i%3 == 0 {
				panic(fmt.Sprint("post ", i))
			}
		}))
	}
	finalized := false
	testkit.Must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) { finalized = true }))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		l.Close()
	}()
	testkit.Await(t, l.Done(), "end of Close")
	testkit.WantEqual(t, "posts called", called, 10)
	testkit.WantEqual(t, "finalized", finalized, true)
	testkit.WantErr(t, l.Run(t.Context()), event.ErrClosed)
}

func TestGoexitInAPostThatCloseCalls(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	called := 0
	for range 3 {
		testkit.Must(t, l.Post(func() {
			called++
			runtime.Goexit()
		}))
	}
	go l.Close()
	testkit.Await(t, l.Done(), "end of Close")
	testkit.WantEqual(t, "posts called", called, 3)
}

func TestCloseEndsARunThatSleeps(t *testing.T) {
	for name, loop := range map[string]func(l *event.Loop) error{
		"Run":        func(l *event.Loop) error { l.Ref(); return l.Run(t.Context()) },
		"RunForever": func(l *event.Loop) error { return l.RunForever(t.Context()) },
		"RunOnce":    func(l *event.Loop) error { l.Ref(); return l.RunOnce(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			over := make(chan error, 1)
			go func() { over <- loop(l) }()
			testkit.Until(t, "the sleep of the loop", func() bool { return event.Asleep(l) })
			testkit.Must(t, l.Close())
			testkit.WantErr(t, testkit.Await(t, over, "end of "+name), event.ErrClosed)
		})
	}
}

// Close waits for the callback that runs and for the goroutine that runs the loop.
func TestCloseWaitsForTheRunningCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	entered := make(chan struct{})
	var inside atomic.Bool
	testkit.Must(t, l.Post(func() {
		inside.Store(true)
		close(entered)
		for range 100 {
			runtime.Gosched()
		}
		inside.Store(false)
	}))
	testkit.Background(t, l)
	testkit.Await(t, entered, "callback")
	testkit.Must(t, l.Close())
	testkit.WantEqual(t, "callback still runs", inside.Load(), false)
}

func TestCloseFromManyGoroutines(t *testing.T) {
	for range tenfold(10) {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		called := false
		testkit.Must(t, l.Post(func() { called = true }))
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				select {
				case <-l.Done():
				default:
					t.Error("Close returned before it was done")
				}
				if !called {
					t.Error("Close returned before the posts were called")
				}
			})
		}
		all.Wait()
	}
}

func TestCloseOnTheLoopIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Must(t, l.Post(func() { testkit.WantErr(t, l.Close(), event.ErrOnLoop) }))
	calls := 0
	e := userEvent(t, l, 0, func() {
		calls++
		testkit.WantErr(t, l.Close(), event.ErrOnLoop)
	})
	testkit.Must(t, e.Activate(0))
	testkit.Run(t, l)
	testkit.WantEqual(t, "calls", calls, 1)
	testkit.Must(t, l.Post(func() {})) // it is still open
}

// Close leaves nothing pending: no callback comes later, and the gauges are zero.
func TestNothingRunsAfterClose(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	events := []*event.Event{
		silent(t, l, readable(t), event.Read|event.Persist),
		silent(t, l, -1, event.Persist),
		silent(t, l, -1, 0),
		silent(t, l, -1, 0),
		silent(t, l, idle(t), event.Read),
	}
	testkit.Must(t, events[0].Add(time.Second))
	testkit.Must(t, events[1].Add(time.Second))
	testkit.Must(t, events[2].Activate(event.Read))
	testkit.Must(t, events[3].Add(event.NoTimeout))
	testkit.Must(t, events[4].Add(event.NoTimeout))
	onPrepare(t, l, func() { t.Error("prepare watcher called") })
	onCheck(t, l, func() { t.Error("check watcher called") })
	testkit.Must(t, l.Exit(time.Second))
	testkit.Must(t, l.Close())
	clock.Advance(time.Hour)
	for i, e := range events {
		if e.Added() || e.Pending() != 0 {
			t.Errorf("event %d is still added: %v, %v", i, e.Added(), e.Pending())
		}
		testkit.Must(t, e.Del())
		testkit.Must(t, e.DelWait(t.Context()))
	}
	testkit.WantEqual(t, "events", len(l.Events()), 0)
	if s := l.Stats(); s.Added != 0 || s.Active != 0 || s.PendingPosts != 0 {
		t.Errorf("%d added, %d active, %d posts", s.Added, s.Active, s.PendingPosts)
	}
}

// A closed loop refuses all that would give it work, and answers what only asks.
func TestClosedLoopRefuses(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, event.Persist)
	testkit.Must(t, l.Close())
	nothing := func() {}
	told := func(*event.Event, event.Flags) {}
	refusals := map[string]error{
		"Run": l.Run(t.Context()), "RunForever": l.RunForever(t.Context()), "RunOnce": l.RunOnce(t.Context()),
		"RunNonblock": l.RunNonblock(), "Post": l.Post(nothing), "Exit": l.Exit(0), "later Exit": l.Exit(time.Hour),
		"ActivateFD": l.ActivateFD(1, event.Read), "ActivateSignal": l.ActivateSignal(1),
		"Add": e.Add(0), "Activate": e.Activate(0), "Finalize": e.Finalize(func(*event.Event) {}),
	}
	_, refusals["NewEvent"] = l.NewEvent(-1, 0, told)
	_, refusals["NewTimer"] = l.NewTimer(told)
	_, refusals["NewTicker"] = l.NewTicker(told)
	_, refusals["AfterFunc"] = l.AfterFunc(0, nothing)
	_, refusals["Once"] = l.Once(-1, 0, 0, func(event.Flags) {})
	for name, err := range refusals {
		if !errors.Is(err, event.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.Break()
	l.Continue()
	l.Ref()
	l.Unref()
	l.ResetMax()
	testkit.WantErr(t, e.SetTimeout(event.NoTimeout), event.ErrClosed)
	testkit.Must(t, e.Del())
	testkit.Must(t, e.SetPriority(0))
	testkit.Must(t, l.Close())
	testkit.WantEqual(t, "on the loop", l.OnLoop(), false)
}
