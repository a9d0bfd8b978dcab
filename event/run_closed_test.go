package event_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// Options that make no sense are refused, each with its value.
func TestInvalidOptionsAreRefused(t *testing.T) {
	noPoller := func() (event.Poller, error) { return nil, errors.New("opened") }
	for _, c := range []struct {
		name    string
		options []event.Option
		err     error
		says    string
	}{
		{"no priorities", []event.Option{event.WithPriorities(-1)}, event.ErrOption, "-1"},
		{"too many priorities", []event.Option{event.WithPriorities(256)}, event.ErrOption, "256"},
		{"budget of callbacks", []event.Option{event.WithBudget(event.Budget{Callbacks: -2})}, event.ErrOption, "-2"},
		{"budget of time", []event.Option{event.WithBudget(event.Budget{Time: -3 * time.Second})}, event.ErrOption, "-3s"},
		{"budget from a priority below 0", []event.Option{event.WithBudget(event.Budget{MinPriority: -4})}, event.ErrPriority, "-4"},
		{"budget from a priority too high", []event.Option{event.WithPriorities(5), event.WithBudget(event.Budget{MinPriority: 5})}, event.ErrPriority, "5"},
		{"post limit", []event.Option{event.WithPostLimit(math.MinInt)}, event.ErrOption, fmt.Sprint(math.MinInt)},
		{"slow callback", []event.Option{event.WithSlowCallback(-5 * time.Second)}, event.ErrOption, "-5s"},
		{"backend and poller", []event.Option{event.WithBackend(event.BackendPoll), event.WithPoller(noPoller)}, event.ErrOption, "poll"},
		{"unknown backend", []event.Option{event.WithBackend("devpoll")}, event.ErrUnsupported, "devpoll"},
		{"unknown driver", []event.Option{event.WithDriver("horse")}, event.ErrUnsupported, "horse"},
		{"poll cannot park", []event.Option{event.WithBackend(event.BackendPoll), event.WithDriver(event.DriverPark)}, event.ErrUnsupported, "poll"},
		{"unknown feature", []event.Option{event.WithFeatures(0x80)}, event.ErrUnsupported, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := event.NewLoop(c.options...)
			wantMessage(t, err, c.err, c.says)
			if l != nil {
				t.Error("a loop was returned with the error")
			}
		})
	}
}

// What the environment asks for and the system does not have is refused as an option would be.
func TestUnknownEnvironmentIsRefused(t *testing.T) {
	for _, name := range []string{"EVMQ_BACKEND", "EVMQ_DRIVER"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("EVMQ_BACKEND", "")
			t.Setenv("EVMQ_DRIVER", "")
			t.Setenv(name, "smoke")
			_, err := event.NewLoop()
			wantMessage(t, err, event.ErrUnsupported, "smoke")
			newLoop(t, event.WithoutEnv())
		})
	}
}

// Zero and nil mean the default, and the largest values are allowed.
func TestOptionsAtTheirLimits(t *testing.T) {
	l := newLoop(t, event.WithPriorities(0), event.WithBudget(event.Budget{}), event.WithPostLimit(0), event.WithClock(nil),
		event.WithPanicHandler(nil), event.WithSlowCallback(0), event.WithPoller(nil), event.WithFeatures(0))
	wantEqual(t, "priorities", l.Priorities(), 1)
	must(t, l.Post(func() {}))
	run(t, l)
	l = newLoop(t, event.WithPriorities(event.MaxPriorities), event.WithPostLimit(event.Unlimited),
		event.WithBudget(event.Budget{Callbacks: event.Unlimited, Time: math.MaxInt64, MinPriority: event.MaxPriorities - 1}))
	wantEqual(t, "priorities", l.Priorities(), event.MaxPriorities)
	must(t, l.Post(func() {}))
	run(t, l)
}

// closedLoop returns a closed loop with events that were added when it was closed.
func closedLoop(t *testing.T) (l *event.Loop, events []*event.Event) {
	l = newLoop(t)
	events = []*event.Event{
		silent(t, l, readable(t), event.Read|event.Persist),
		silent(t, l, int(unix.SIGUSR1), event.Signal|event.Persist),
		silent(t, l, -1, event.Persist),
		silent(t, l, -1, 0),
	}
	for _, e := range events[:3] {
		must(t, e.Add(time.Hour))
	}
	must(t, events[3].Add(event.NoTimeout))
	must(t, l.Close())
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
		t.Run(name, func(t *testing.T) { wantErr(t, call(), event.ErrClosed) })
	}
	for i, e := range events {
		wantEqual(t, fmt.Sprintf("event %d: added, pending", i), fmt.Sprint(e.Added(), e.Pending()), "false 0")
	}
}

// Every other method of a closed loop and of its events is harmless, and a second Close returns nil.
func TestClosedLoopIsHarmless(t *testing.T) {
	l, events := closedLoop(t)
	for range 2 {
		must(t, l.Close())
	}
	await(t, l.Done(), "Done")
	l.Break()
	l.Continue()
	l.Ref()
	l.Unref()
	l.ResetMax()
	must(t, l.Dump(io.Discard))
	s := l.Stats()
	wantEqual(t, "added, active, waiting", [3]int{s.Added, s.Active, s.Waiting}, [3]int{})
	wantEqual(t, "events", len(l.Events()), 0)
	wantEqual(t, "OnLoop, GotBreak, GotExit", [3]bool{l.OnLoop(), l.GotBreak(), l.GotExit()}, [3]bool{})
	_, _, _, _, _, _ = l.Now(), l.Backend(), l.Driver(), l.Features(), l.Priorities(), l.Interrupted()
	l.PollTimeout()
	for _, e := range events {
		must(t, e.Del())
		must(t, e.DelWait(context.Background()))
		must(t, e.Err())
		must(t, e.SetPriority(0))
		e.RemoveTimeout()
		e.SetName("late")
		if d, ok := e.Remaining(); ok {
			t.Errorf("%v remain of a closed loop's timeout", d)
		}
		wantEqual(t, "loop", e.Loop(), l)
	}
}

// A watcher outlives its loop.
func TestWatcherStopsAfterClose(t *testing.T) {
	l := newLoop(t)
	var all []*event.Watcher
	for _, on := range []func(func()) (*event.Watcher, error){l.OnPrepare, l.OnCheck, l.OnClose} {
		w, err := on(func() {})
		must(t, err)
		all = append(all, w)
	}
	must(t, l.Close())
	for _, w := range all {
		w.Stop()
		w.Stop()
	}
}

// Close ends a run on another goroutine, which says so; every Close returns nil when the loop is closed.
func TestCloseEndsARunOfAnotherGoroutine(t *testing.T) {
	for range 20 {
		l := newLoop(t)
		done, closed := make(chan error, 1), make(chan error, 3)
		started := make(chan struct{})
		must(t, l.Post(func() { close(started) }))
		go func() { done <- l.RunForever(context.Background()) }()
		await(t, started, "the run")
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
		wantErr(t, await(t, done, "the end of the run"), event.ErrClosed)
		for range cap(closed) {
			must(t, await(t, closed, "Close"))
		}
	}
}
