package event_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// An Add of an event that is active but not added registers it: the activation is one call, and data is another.
func TestAddWhileActiveRegisters(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	fd := fdOf(t, a)
	var told []event.Flags
	e, err := l.NewEvent(fd, event.Read|event.Persist, func(_ *event.Event, what event.Flags) {
		told = append(told, what)
		readAll(fd)
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Activate(event.Write))
	testkit.Must(t, e.Add(event.NoTimeout))
	if got := e.Pending(); got != event.Read|event.Write || !e.Added() {
		t.Errorf("pending %v, added %v; want Read|Write, true", got, e.Added())
	}
	oneTurn(t, l)
	makeReadable(t, b)
	oneTurn(t, l)
	if want := []event.Flags{event.Write, event.Read}; !slices.Equal(told, want) {
		t.Fatalf("told %v, want %v", told, want)
	}
}

// So it is for an event without a condition: what stays added after the call is among the loop's events.
func TestUserEventAddedWhileActiveIsListed(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for name, prepare := range map[string]func(e *event.Event){
		"Add": func(e *event.Event) { activateAll(t, e); testkit.Must(t, e.Add(event.NoTimeout)) },
		"SetTimeout": func(e *event.Event) {
			testkit.Must(t, e.Add(time.Hour))
			activateAll(t, e)
			testkit.Must(t, e.SetTimeout(event.NoTimeout))
		},
	} {
		e := new(journal).event(t, l, name, -1, event.Persist, nil)
		prepare(e)
		oneTurn(t, l)
		if !e.Added() || !slices.Contains(l.Events(), e) {
			t.Errorf("%s: added %v, listed %v; want both", name, e.Added(), slices.Contains(l.Events(), e))
		}
		testkit.Must(t, e.Del())
		if slices.Contains(l.Events(), e) {
			t.Errorf("%s: listed after Del", name)
		}
	}
}

// Without Persist an event is removed, with its timeout, before its callback, which may add it again.
func TestOneShotIsRemovedBeforeItsCallback(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, b := socketpair(t)
	var told []event.Flags
	e, err := l.NewEvent(fdOf(t, a), event.Read, func(e *event.Event, what event.Flags) {
		if _, timed := e.Remaining(); timed || e.Added() || e.Pending() != 0 {
			t.Errorf("in the callback: added %v, pending %v, timed %v", e.Added(), e.Pending(), timed)
		}
		if told = append(told, what); len(told) == 2 {
			testkit.Must(t, e.Add(10*ms))
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(10*ms))
	makeReadable(t, b)
	for range 3 {
		oneTurn(t, l)
		clock.Advance(time.Hour) // neither readiness nor the timeout calls again
	}
	if !slices.Equal(told, []event.Flags{event.Read}) {
		t.Fatalf("told %v, want Read once", told)
	}
	testkit.Must(t, e.Add(event.NoTimeout)) // still readable: a second call, which adds it again, and a third
	oneTurn(t, l)
	oneTurn(t, l)
	oneTurn(t, l)
	if len(told) != 3 || e.Added() {
		t.Fatalf("told %v, added %v; want three calls, false", told, e.Added())
	}
}

// Of events that are ready in the same turn, one that another's callback deletes is not called.
func TestDelOnTheLoopIsExact(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, b := socketpair(t)
	c, d := socketpair(t)
	for name, ready := range map[string]func(e, f *event.Event){
		"descriptors": func(e, f *event.Event) {
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Must(t, f.Add(event.NoTimeout))
			makeReadable(t, b)
			makeReadable(t, d)
		},
		"timers":      func(e, f *event.Event) { testkit.Must(t, e.Add(ms)); testkit.Must(t, f.Add(ms)); clock.Advance(ms) },
		"activations": func(e, f *event.Event) { activateAll(t, e, f) },
		"mixed":       func(e, f *event.Event) { testkit.Must(t, e.Add(ms)); activateAll(t, f); clock.Advance(ms) },
	} {
		for _, flags := range []event.Flags{event.Read, event.Read | event.Persist} {
			var calls journal
			var events [2]*event.Event
			events[0] = calls.event(t, l, "one of them", fdOf(t, a), flags, func() { testkit.Must(t, events[1].Del()) })
			events[1] = calls.event(t, l, "one of them", fdOf(t, c), flags, func() { testkit.Must(t, events[0].Del()) })
			ready(events[0], events[1])
			t.Log(name, flags)
			oneTurn(t, l)
			calls.want(t, "one of them")
			testkit.Must(t, events[0].Del())
			testkit.Must(t, events[1].Del())
			oneTurn(t, l)
			calls.want(t)
		}
	}
}

// blocked is a loop on another goroutine in a callback that does not return before release.
type blocked struct {
	l        *event.Loop
	e        *event.Event
	release  func()
	returned atomic.Bool
}

func newBlocked(t *testing.T) *blocked {
	c := &blocked{l: testkit.NewLoop(t, nil)}
	entered, free := make(chan struct{}), make(chan struct{})
	var err error
	c.e, err = c.l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {
		close(entered)
		<-free
		c.returned.Store(true)
	})
	testkit.Must(t, err)
	testkit.Must(t, c.e.Add(event.NoTimeout))
	c.release = sync.OnceFunc(func() { close(free) })
	testkit.Background(t, c.l)
	t.Cleanup(c.release) // before the loop is stopped
	activateAll(t, c.e)
	testkit.Await(t, entered, "the callback")
	return c
}

// DelWait returns when the callback that runs has returned, or when its context ends; the event is removed in any case.
func TestDelWaitWaitsForTheCallback(t *testing.T) {
	c := newBlocked(t)
	ended, end := context.WithCancel(context.Background())
	end()
	testkit.WantErr(t, c.e.DelWait(ended), context.Canceled)
	if c.e.Added() {
		t.Error("still added after DelWait")
	}
	waited := make(chan error, 1)
	go func() {
		err := c.e.DelWait(context.Background())
		if !c.returned.Load() {
			t.Error("DelWait returned before the callback")
		}
		waited <- err
	}()
	c.release()
	testkit.Must(t, testkit.Await(t, waited, "the end of DelWait"))
	testkit.Must(t, c.e.DelWait(ended)) // no callback runs: nothing to wait for
}

// Another event's callback is not waited for.
func TestDelWaitWaitsForNoOtherEvent(t *testing.T) {
	c := newBlocked(t)
	other := new(journal).user(t, c.l, "other", nil)
	testkit.Must(t, other.Add(event.NoTimeout))
	testkit.Must(t, other.DelWait(context.Background()))
	if c.returned.Load() {
		t.Error("the callback is over")
	}
}

// In a callback DelWait has nothing to wait for: of its own event, and of another.
func TestDelWaitInACallbackReturns(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	var own, other *event.Event
	del := func() {
		testkit.Must(t, own.DelWait(context.Background()))
		testkit.Must(t, other.DelWait(context.Background()))
	}
	own, other = calls.user(t, l, "own", del), calls.user(t, l, "other", nil)
	activateAll(t, own, other)
	testkit.Run(t, l)
	calls.want(t, "own")
}

// Del waits for nothing, so that it may be called with a lock that the callback needs.
func TestDelDoesNotWaitForTheCallback(t *testing.T) {
	c := newBlocked(t)
	testkit.Must(t, c.e.Del())
	if c.returned.Load() {
		t.Error("the callback is over")
	}
	activateAll(t, c.e) // an event that is deleted while its callback runs is as good as any other
	testkit.Must(t, c.e.Del())
}

// The Del of the last event, from another goroutine, ends a Run that sleeps; so does the last Unref.
func TestDelOfTheLastEventEndsRun(t *testing.T) {
	for name, begin := range map[string]func(l *event.Loop) (end func() error){
		"timer": func(l *event.Loop) func() error {
			e := new(journal).user(t, l, "timer", nil)
			testkit.Must(t, e.Add(2*time.Hour))
			return e.Del
		},
		"descriptor": func(l *event.Loop) func() error {
			a, _ := socketpair(t)
			e := new(journal).event(t, l, "descriptor", fdOf(t, a), event.Read, nil)
			testkit.Must(t, e.Add(event.NoTimeout))
			return e.Del
		},
		"user": func(l *event.Loop) func() error {
			e := new(journal).user(t, l, "user", nil)
			testkit.Must(t, e.Add(event.NoTimeout))
			return func() error { return e.DelWait(context.Background()) }
		},
		"Finalize": func(l *event.Loop) func() error {
			e := new(journal).user(t, l, "finalized", nil)
			testkit.Must(t, e.Add(event.NoTimeout))
			return func() error { return e.Finalize(func(*event.Event) {}) }
		},
		"Ref": func(l *event.Loop) func() error {
			l.Ref()
			return func() error { l.Unref(); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			end := begin(l)
			testkit.Must(t, l.Exit(time.Hour)) // for its alarm, which says that the loop sleeps; it keeps no run going
			done := make(chan error, 1)
			go func() { done <- l.Run(inPatience(t)) }()
			clock.AwaitTimer(t, time.Hour)
			testkit.Must(t, end())
			testkit.Must(t, testkit.Await(t, done, "the end of Run"))
			wantGot(t, l, false, false)
		})
	}
}

// When the nearest timeout is deleted from another goroutine, the next one is still in time.
func TestDelOfTheNearestTimeoutKeepsTheNext(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	fired := make(chan time.Duration, 1)
	_, err := l.AfterFunc(20*ms, func() { fired <- clock.Now() })
	testkit.Must(t, err)
	near := new(journal).user(t, l, "near", func() { t.Error("called after Del") })
	testkit.Must(t, near.Add(10*ms))
	testkit.Background(t, l)
	clock.AwaitTimer(t, 10*ms)
	testkit.Must(t, near.Del())
	clock.Advance(10 * ms)
	clock.AwaitTimer(t, 20*ms)
	clock.Advance(10 * ms)
	if at := testkit.Await(t, fired, "the second timeout"); at != 20*ms {
		t.Errorf("called at %v, want 20ms", at)
	}
}

// A nearer timeout that another goroutine adds ends a sleep that was to last longer.
func TestNearerTimeoutFromOutsideIsInTime(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	far := new(journal).user(t, l, "far", nil)
	testkit.Must(t, far.Add(time.Hour))
	testkit.Background(t, l)
	clock.AwaitTimer(t, time.Hour)
	fired := make(chan struct{})
	_, err := l.AfterFunc(ms, func() { close(fired) })
	testkit.Must(t, err)
	clock.AwaitTimer(t, ms)
	clock.Advance(ms)
	testkit.Await(t, fired, "the nearer timeout")
}

// The finalizer waits its turn among the callbacks of its priority, also when a callback of the event asks for it.
func TestFinalizerWaitsItsTurnAmongTheCallbacks(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	var calls journal
	var own *event.Event
	own = calls.urgent(t, l, "own", 1, func() {
		testkit.Must(t, own.Finalize(func(*event.Event) { calls.note("own finalizer") }))
		calls.note("own returns")
	})
	low := calls.urgent(t, l, "low", 2, nil)
	testkit.Must(t, low.Finalize(func(*event.Event) { calls.note("low finalizer") }))
	activateAll(t, own, calls.urgent(t, l, "high", 0, nil), calls.urgent(t, l, "middle", 1, nil))
	testkit.Run(t, l)
	calls.want(t, "high", "own", "own returns", "middle", "own finalizer", "low finalizer")
}
