package event_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func TestFinalizeCallsOnlyTheFinalizer(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := readable(t)
	e := silent(t, l, fd, event.Read|event.Persist)
	testkit.Must(t, e.Add(time.Nanosecond))
	testkit.Must(t, e.Activate(event.Read))
	calls := 0
	testkit.Must(t, e.Finalize(func(same *event.Event) {
		calls++
		if same != e || !l.OnLoop() {
			t.Errorf("the finalizer got %p instead of %p, on the loop: %v", same, e, l.OnLoop())
		}
	}))
	testkit.WantErr(t, e.Add(event.NoTimeout), event.ErrFinalized)
	testkit.WantErr(t, e.Activate(event.Read), event.ErrFinalized)
	testkit.WantErr(t, e.Finalize(func(*event.Event) {}), event.ErrFinalized)
	testkit.Must(t, e.Del())
	testkit.Must(t, e.DelWait(t.Context()))
	testkit.WantErr(t, e.SetTimeout(event.NoTimeout), event.ErrFinalized)
	testkit.Run(t, l) // a finalizer that waits keeps it going
	testkit.WantEqual(t, "calls of the finalizer", calls, 1)

	testkit.WantErr(t, e.Add(event.NoTimeout), event.ErrFinalized)
	testkit.WantErr(t, e.Activate(event.Read), event.ErrFinalized)
	testkit.WantErr(t, e.Finalize(func(*event.Event) {}), event.ErrFinalized)
	testkit.Must(t, e.Del())
	turns(t, l, 2)
	testkit.WantEqual(t, "calls of the finalizer", calls, 1)
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
}

// In a callback, an event may finalize itself and another one whose callback is due in the same turn.
func TestFinalizeInACallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var order []string
	var self, sibling *event.Event
	self = eventFor(t, l, -1, event.Persist, func(e *event.Event, _ event.Flags) {
		order = append(order, "self")
		testkit.Must(t, e.Finalize(func(*event.Event) { order = append(order, "self finalized") }))
		testkit.Must(t, sibling.Finalize(func(*event.Event) { order = append(order, "sibling finalized") }))
		order = append(order, "returns")
	})
	sibling = silent(t, l, -1, event.Persist)
	for _, e := range []*event.Event{self, sibling} {
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, e.Activate(0))
	}
	testkit.Run(t, l)
	wantOrder(t, order, "self", "returns", "self finalized", "sibling finalized")
}

func TestFinalizerWaitsForTheRunningCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	entered, finish := make(chan struct{}), make(chan struct{})
	var inside atomic.Bool
	e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {
		inside.Store(true)
		close(entered)
		<-finish
		inside.Store(false)
	})
	testkit.Must(t, e.Activate(0))
	testkit.Background(t, l)
	testkit.Await(t, entered, "callback")
	finalized := make(chan bool, 1)
	testkit.Must(t, e.Finalize(func(*event.Event) { finalized <- inside.Load() }))
	close(finish)
	if testkit.Await(t, finalized, "finalizer") {
		t.Error("the finalizer ran while the callback did")
	}
}

func TestFinalizerRunsAtItsEventsPriority(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	var order []int
	for _, p := range []int{2, 0, 1} {
		e := silent(t, l, -1, 0)
		testkit.Must(t, e.SetPriority(p))
		testkit.Must(t, e.Finalize(func(*event.Event) { order = append(order, p) }))
	}
	testkit.Run(t, l)
	wantOrder(t, order, 0, 1, 2)
}

// A finalizer can close the descriptor, whose number may be used again at once.
func TestFinalizerMayCloseAndReuseTheDescriptor(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd, peer := rawPair(t)
	send(t, peer, "x")
	e := silent(t, l, fd, event.Read|event.Persist)
	testkit.Must(t, e.Add(event.NoTimeout))
	told := event.Flags(0)
	testkit.Must(t, e.Finalize(func(e *event.Event) {
		closeRaw(t, fd, peer)
		peer = reopen(t, fd)
		next := eventFor(t, l, fd, event.Read, func(_ *event.Event, what event.Flags) { told = what })
		testkit.Must(t, next.Add(event.NoTimeout))
		send(t, peer, "y")
	}))
	testkit.Run(t, l)
	testkit.WantEqual(t, "the new event was told", told, event.Read)
	closeRaw(t, fd, peer)
	testkit.WantEqual(t, "stale events", l.Stats().Stale, 0)
}

func TestCloseCallsWaitingFinalizers(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2})
	var order []string
	for _, c := range []struct {
		name     string
		priority int
	}{{"b", 1}, {"c", 1}, {"a", 0}} {
		e := silent(t, l, -1, 0)
		testkit.Must(t, e.SetPriority(c.priority))
		testkit.Must(t, e.Finalize(func(e *event.Event) {
			order = append(order, c.name)
			testkit.WantErr(t, e.Add(0), event.ErrClosed)
			testkit.WantErr(t, l.Post(func() {}), event.ErrClosed)
			testkit.WantErr(t, l.Close(), event.ErrOnLoop)
		}))
	}
	testkit.Must(t, l.Post(func() { order = append(order, "post") }))
	testkit.Must(t, l.Close())
	testkit.Must(t, l.Close())
	wantOrder(t, order, "post", "a", "b", "c")
}

func TestFinalizerPanicAtCloseIsIsolated(t *testing.T) {
	panics := 0
	l := testkit.NewLoop(t, &event.Config{PanicHandler: func(any, []byte) { panics++ }})
	calls := 0
	for range 3 {
		testkit.Must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) {
			calls++
			panic("finalizer")
		}))
	}
	testkit.Must(t, l.Close())
	testkit.WantEqual(t, "calls", calls, 3)
	testkit.WantEqual(t, "panics", panics, 3)
}

func TestFinalizeIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, 0)
	testkit.WantErr(t, e.Finalize(nil), event.ErrInvalid)
	testkit.Must(t, l.Close())
	testkit.WantErr(t, e.Finalize(func(*event.Event) { t.Error("called after Close") }), event.ErrClosed)
}

// From any goroutine, beside callbacks, activations and timeouts, a finalizer runs once and nothing comes after it.
func TestFinalizeRacesCallbacks(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	for range tenfold(50) {
		var finalized atomic.Bool
		e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {
			if finalized.Load() {
				t.Error("callback after the finalizer")
			}
		})
		testkit.Must(t, e.Add(time.Microsecond))
		testkit.Must(t, e.Activate(0))
		runtime.Gosched()
		done := make(chan struct{})
		testkit.Must(t, e.Finalize(func(*event.Event) {
			if finalized.Swap(true) {
				t.Error("finalized twice")
			}
			close(done)
		}))
		testkit.Await(t, done, "finalizer")
	}
}

// An event that is finalized, or deleted, or whose one call is over, is garbage: nothing of the loop's holds it.
func TestEndedEventsAreGarbage(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := readable(t)
	var gone atomic.Int32
	const kinds = 6
	func() {
		watch := func(e *event.Event) *event.Event {
			runtime.AddCleanup(e, func(struct{}) { gone.Add(1) }, struct{}{})
			return e
		}
		nothing := func(*event.Event, event.Flags) {}
		testkit.Must(t, watch(eventFor(t, l, fd, event.Read, nothing)).Add(event.NoTimeout)) // called once
		finalized := watch(eventFor(t, l, fd, event.Read|event.Persist, nothing))
		testkit.Must(t, finalized.Add(time.Hour))
		testkit.Must(t, finalized.Finalize(func(*event.Event) {}))
		deleted := watch(eventFor(t, l, fd, event.Read, nothing))
		testkit.Must(t, deleted.Add(time.Hour))
		testkit.Must(t, deleted.Del())
		testkit.Must(t, watch(eventFor(t, l, -1, 0, nothing)).Activate(0))
		once, err := l.AfterFunc(0, func() {})
		testkit.Must(t, err)
		watch(once)
		untimed := watch(eventFor(t, l, -1, 0, nothing))
		testkit.Must(t, untimed.Add(event.NoTimeout))
		testkit.Must(t, untimed.Del())
	}()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	testkit.Must(t, l.Run(ctx))
	testkit.Until(t, "collection of the events", func() bool {
		runtime.GC()
		return gone.Load() == kinds
	})
	runtime.KeepAlive(l)
}
