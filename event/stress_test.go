package event_test

import (
	"context"
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

// misbehave is a callback that does one of the things that callbacks should not do, or may do.
func misbehave(l *event.Loop) func(e *event.Event, _ event.Flags) {
	return func(e *event.Event, _ event.Flags) {
		switch rand.IntN(12) {
		case 0:
			panic("a callback")
		case 1:
			runtime.Goexit()
		case 2:
			_ = e.Add(0)
		case 3:
			_ = e.Activate(0)
		case 4:
			_ = e.DelWait(context.Background())
		case 5:
			l.Break()
		case 6:
			l.Continue()
		}
	}
}

// runAgainAndAgain runs l in every way, each run on a goroutine of its own, which a callback may end.
func runAgainAndAgain(t *testing.T, l *event.Loop, stop *atomic.Bool) {
	for !stop.Load() {
		apart(t, "run", func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			switch rand.IntN(3) {
			case 0:
				_ = l.RunForever(ctx)
			case 1:
				_ = l.RunNonblock()
			case 2:
				_ = l.RunOnce(ctx)
			}
		})
	}
}

// use calls e's methods, n times, and looks whether DelWait keeps its word. No other goroutine but the loop's has e.
func use(t *testing.T, l *event.Loop, e *event.Event, n int) {
	for range n {
		switch rand.IntN(9) {
		case 0:
			_ = e.Add(time.Duration(rand.IntN(1000)) * time.Microsecond)
		case 1:
			_ = e.Del()
		case 2:
			if err := e.DelWait(t.Context()); err != nil || e.Added() || e.Pending() != 0 {
				t.Errorf("after DelWait: %v, added %v, pending %v", err, e.Added(), e.Pending())
			}
		case 3:
			_ = e.Activate(0)
		case 4:
			_ = e.SetPriority(rand.IntN(3))
		case 5:
			_ = l.Post(func() { panic("a post") })
		case 6:
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
		case 7:
			_ = e.SetTimeout(time.Microsecond)
		case 8:
			l.Interrupted()
		}
	}
}

// stressPosts is the limit of posts in the stress test.
const stressPosts = 100

// flood posts up to l's limit, and adds watchers of every kind, all of which misbehave when they are called.
func flood(l *event.Loop) {
	bad := func() {
		switch rand.IntN(8) {
		case 0:
			panic("a function")
		case 1:
			runtime.Goexit()
		case 2:
			l.Continue()
		case 3:
			_ = l.Post(func() { runtime.Goexit() })
		}
	}
	for _, add := range []func(func()) (*event.Watcher, error){l.OnPrepare, l.OnCheck, l.OnTurnEnd, l.OnClose} {
		if w, err := add(bad); err == nil && rand.IntN(2) == 0 {
			w.Stop()
		}
	}
	for range 2 * stressPosts {
		_ = l.Post(bad)
	}
}

// Whatever callbacks do, however they end, and whatever other goroutines do meanwhile, no call hangs, DelWait returns when the
// callback has, and the loop can be closed.
func TestNoCallHangsWhateverCallbacksDo(t *testing.T) {
	other := newSignal(t, testkit.NewLoop(t, nil), syscall.SIGUSR1, func(*event.Event, event.Flags) {}) // so that the signal never ends the test
	for range tenfold(10) {
		l := testkit.NewLoop(t, &event.Config{Priorities: 3, PostLimit: stressPosts, Budget: event.Budget{Callbacks: 4, Time: time.Millisecond, MinPriority: 1}})
		fd := idle(t)
		var stop atomic.Bool
		var runner, users sync.WaitGroup
		runner.Go(func() { runAgainAndAgain(t, l, &stop) })
		for _, e := range []*event.Event{
			eventFor(t, l, -1, event.Persist, misbehave(l)),
			eventFor(t, l, fd, event.Read|event.Write, misbehave(l)),
			eventFor(t, l, int(syscall.SIGUSR1), event.Signal|event.Persist, misbehave(l)),
			eventFor(t, l, -1, 0, misbehave(l)),
		} {
			users.Go(func() {
				use(t, l, e, 400)
				_ = e.Finalize(func(*event.Event) { panic("a finalizer") })
			})
		}
		users.Go(func() {
			for range 20 {
				flood(l)
			}
		})
		over := make(chan struct{})
		go func() {
			users.Wait()
			stop.Store(true)
			l.Break()
			runner.Wait()
			flood(l) // Close meets posts at their limit
			close(over)
		}()
		testkit.Await(t, over, "end of the callers")
		apart(t, "Close", func() { _ = l.Close() })
		testkit.Await(t, l.Done(), "Done")
	}
	testkit.Must(t, other.Del())
}
