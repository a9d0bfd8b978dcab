package event_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// A backend or driver that the environment names and the system lacks is refused, as one in the configuration is.
func TestUnknownEnvironmentIsRefused(t *testing.T) {
	for _, name := range []string{"EVMQ_BACKEND", "EVMQ_DRIVER"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("EVMQ_BACKEND", "")
			t.Setenv("EVMQ_DRIVER", "")
			t.Setenv(name, "smoke")
			_, err := event.NewLoop(nil)
			wantMessage(t, err, event.ErrUnsupported, "smoke")
			testkit.NewLoop(t, &event.Config{IgnoreEnv: true})
		})
	}
}

// closedLoop returns a closed loop with events that were added when it was closed.
func closedLoop(t *testing.T) (l *event.Loop, events []*event.Event) {
	l = testkit.NewLoop(t, nil)
	events = []*event.Event{
		silent(t, l, readable(t), event.Read|event.Persist),
		silent(t, l, int(unix.SIGUSR1), event.Signal|event.Persist),
		silent(t, l, -1, event.Persist),
		silent(t, l, -1, 0),
	}
	for _, e := range events[:3] {
		testkit.Must(t, e.Add(time.Hour))
	}
	testkit.Must(t, events[3].Add(event.NoTimeout))
	testkit.Must(t, l.Close())
	return l, events
}

// Every method of a closed loop and of its events that would take something says ErrClosed and takes nothing.
func TestClosedLoopRefusesEveryCall(t *testing.T) {
	l, events := closedLoop(t)
	ctx := context.Background()
	never := func() { t.Error("called by a closed loop") }
	calls := map[string]func() error{
		"Run":            func() error { return l.Run(ctx) },
		"RunForever":     func() error { return l.RunForever(ctx) },
		"RunOnce":        func() error { return l.RunOnce(ctx) },
		"RunNonblock":    l.RunNonblock,
		"Exit":           func() error { return l.Exit(0) },
		"Exit later":     func() error { return l.Exit(time.Hour) },
		"Post":           func() error { return l.Post(never) },
		"NewEvent":       func() error { _, err := l.NewEvent(idle(t), event.Read, nothing); return err },
		"NewTimer":       func() error { _, err := l.NewTimer(nothing); return err },
		"NewTicker":      func() error { _, err := l.NewTicker(nothing); return err },
		"NewSignal":      func() error { _, err := l.NewSignal(unix.SIGUSR2, nothing); return err },
		"AfterFunc":      func() error { _, err := l.AfterFunc(0, never); return err },
		"Once":           func() error { _, err := l.Once(-1, 0, 0, func(event.Flags) { never() }); return err },
		"OnPrepare":      func() error { _, err := l.OnPrepare(never); return err },
		"OnCheck":        func() error { _, err := l.OnCheck(never); return err },
		"OnTurnEnd":      func() error { _, err := l.OnTurnEnd(never); return err },
		"OnClose":        func() error { _, err := l.OnClose(never); return err },
		"ActivateFD":     func() error { return l.ActivateFD(events[0].FD(), event.Read) },
		"ActivateSignal": func() error { return l.ActivateSignal(int(unix.SIGUSR1)) },
	}
	for i, e := range events {
		name := fmt.Sprintf("event %d: ", i)
		calls[name+"Add"] = func() error { return e.Add(event.NoTimeout) }
		calls[name+"Add with a timeout"] = func() error { return e.Add(0) }
		calls[name+"Activate"] = func() error { return e.Activate(event.Read) }
		calls[name+"Finalize"] = func() error { return e.Finalize(func(*event.Event) { never() }) }
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { testkit.WantErr(t, call(), event.ErrClosed) })
	}
	for i, e := range events {
		testkit.WantEqual(t, fmt.Sprintf("event %d: added, pending", i), fmt.Sprint(e.Added(), e.Pending()), "false 0")
	}
}

// Every other method of a closed loop and of its events does nothing, and a second Close returns nil.
func TestMethodsOfAClosedLoopDoNothing(t *testing.T) {
	l, events := closedLoop(t)
	for range 2 {
		testkit.Must(t, l.Close())
	}
	testkit.Await(t, l.Done(), "Done")
	l.Break()
	l.Continue()
	l.Ref()
	l.Unref()
	l.ResetMax()
	testkit.Must(t, l.Dump(io.Discard))
	s := l.Stats()
	testkit.WantEqual(t, "added, active, waiting", [3]int{s.Added, s.Active, s.PendingPosts}, [3]int{})
	testkit.WantEqual(t, "events", len(l.Events()), 0)
	testkit.WantEqual(t, "OnLoop, GotBreak, GotExit", [3]bool{l.OnLoop(), l.GotBreak(), l.GotExit()}, [3]bool{})
	_, _, _, _, _, _ = l.Now(), l.Backend(), l.Driver(), l.Features(), l.Priorities(), l.Interrupted()
	l.PollTimeout()
	for _, e := range events {
		testkit.Must(t, e.Del())
		testkit.Must(t, e.DelWait(context.Background()))
		testkit.Must(t, e.Err())
		testkit.Must(t, e.SetPriority(0))
		testkit.WantErr(t, e.SetTimeout(event.NoTimeout), event.ErrClosed)
		e.SetName("late")
		if d, ok := e.Remaining(); ok {
			t.Errorf("%v remain of a closed loop's timeout", d)
		}
		testkit.WantEqual(t, "loop", e.Loop(), l)
	}
}

// A watcher outlives its loop.
func TestWatcherStopsAfterClose(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var all []*event.Watcher
	for _, on := range []func(func()) (*event.Watcher, error){l.OnPrepare, l.OnCheck, l.OnTurnEnd, l.OnClose} {
		w, err := on(func() {})
		testkit.Must(t, err)
		all = append(all, w)
	}
	testkit.Must(t, l.Close())
	for _, w := range all {
		w.Stop()
		w.Stop()
	}
}

// Close makes a Run on another goroutine return ErrClosed. Every Close returns nil when the loop is closed.
func TestCloseEndsARunOfAnotherGoroutine(t *testing.T) {
	for range 20 {
		l := testkit.NewLoop(t, nil)
		done, closed := make(chan error, 1), make(chan error, 3)
		started := make(chan struct{})
		testkit.Must(t, l.Post(func() { close(started) }))
		go func() { done <- l.RunForever(context.Background()) }()
		testkit.Await(t, started, "the run")
		for range cap(closed) {
			go func() {
				err := l.Close()
				select {
				case <-l.Done():
				default:
					t.Error("Close returned before the loop was closed")
				}
				closed <- err
			}()
		}
		testkit.WantErr(t, testkit.Await(t, done, "the end of the run"), event.ErrClosed)
		for range cap(closed) {
			testkit.Must(t, testkit.Await(t, closed, "Close"))
		}
	}
}
