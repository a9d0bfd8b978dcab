package event_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

func TestFinalizeCallsOnlyTheFinalizer(t *testing.T) {
	l := newLoop(t, nil)
	fd := readable(t)
	e := silent(t, l, fd, event.Read|event.Persist)
	must(t, e.Add(time.Nanosecond))
	must(t, e.Activate(event.Read))
	calls := 0
	must(t, e.Finalize(func(same *event.Event) {
		calls++
		if same != e || !l.OnLoop() {
			t.Errorf("the finalizer got %p instead of %p, on the loop: %v", same, e, l.OnLoop())
		}
	}))
	wantErr(t, e.Add(event.NoTimeout), event.ErrFinalized)
	wantErr(t, e.Activate(event.Read), event.ErrFinalized)
	wantErr(t, e.Finalize(func(*event.Event) {}), event.ErrFinalized)
	must(t, e.Del())
	must(t, e.DelWait(t.Context()))
	wantErr(t, e.SetTimeout(event.NoTimeout), event.ErrFinalized)
	run(t, l) // a finalizer that waits keeps it going
	wantEqual(t, "calls of the finalizer", calls, 1)

	wantErr(t, e.Add(event.NoTimeout), event.ErrFinalized)
	wantErr(t, e.Activate(event.Read), event.ErrFinalized)
	wantErr(t, e.Finalize(func(*event.Event) {}), event.ErrFinalized)
	must(t, e.Del())
	turns(t, l, 2)
	wantEqual(t, "calls of the finalizer", calls, 1)
	wantEqual(t, "added", l.Stats().Added, 0)
}

// In a callback, an event may finalize itself and another one whose callback is due in the same turn.
func TestFinalizeInACallback(t *testing.T) {
	l := newLoop(t, nil)
	var order []string
	var self, sibling *event.Event
	self = eventFor(t, l, -1, event.Persist, func(e *event.Event, _ event.Flags) {
		order = append(order, "self")
		must(t, e.Finalize(func(*event.Event) { order = append(order, "self finalized") }))
		must(t, sibling.Finalize(func(*event.Event) { order = append(order, "sibling finalized") }))
		order = append(order, "returns")
	})
	sibling = silent(t, l, -1, event.Persist)
	for _, e := range []*event.Event{self, sibling} {
		must(t, e.Add(event.NoTimeout))
		must(t, e.Activate(0))
	}
	run(t, l)
	wantOrder(t, order, "self", "returns", "self finalized", "sibling finalized")
}

func TestFinalizerWaitsForTheRunningCallback(t *testing.T) {
	l := newLoop(t, nil)
	entered, finish := make(chan struct{}), make(chan struct{})
	var inside atomic.Bool
	e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {
		inside.Store(true)
		close(entered)
		<-finish
		inside.Store(false)
	})
	must(t, e.Activate(0))
	background(t, l)
	await(t, entered, "callback")
	finalized := make(chan bool, 1)
	must(t, e.Finalize(func(*event.Event) { finalized <- inside.Load() }))
	close(finish)
	if await(t, finalized, "finalizer") {
		t.Error("the finalizer ran while the callback did")
	}
}

func TestFinalizerRunsAtItsEventsPriority(t *testing.T) {
	l := newLoop(t, &event.Config{Priorities: 3})
	var order []int
	for _, p := range []int{2, 0, 1} {
		e := silent(t, l, -1, 0)
		must(t, e.SetPriority(p))
		must(t, e.Finalize(func(*event.Event) { order = append(order, p) }))
	}
	run(t, l)
	wantOrder(t, order, 0, 1, 2)
}

// A finalizer can close the descriptor, whose number may be used again at once.
func TestFinalizerMayCloseAndReuseTheDescriptor(t *testing.T) {
	l := newLoop(t, nil)
	fd, peer := rawPair(t)
	send(t, peer, "x")
	e := silent(t, l, fd, event.Read|event.Persist)
	must(t, e.Add(event.NoTimeout))
	told := event.Flags(0)
	must(t, e.Finalize(func(e *event.Event) {
		closeRaw(t, fd, peer)
		peer = reopen(t, fd)
		next := eventFor(t, l, fd, event.Read, func(_ *event.Event, what event.Flags) { told = what })
		must(t, next.Add(event.NoTimeout))
		send(t, peer, "y")
	}))
	run(t, l)
	wantEqual(t, "the new event was told", told, event.Read)
	closeRaw(t, fd, peer)
	wantEqual(t, "stale events", l.Stats().Stale, 0)
}

func TestCloseCallsWaitingFinalizers(t *testing.T) {
	l := newLoop(t, &event.Config{Priorities: 2})
	var order []string
	for _, c := range []struct {
		name     string
		priority int
	}{{"b", 1}, {"c", 1}, {"a", 0}} {
		e := silent(t, l, -1, 0)
		must(t, e.SetPriority(c.priority))
		must(t, e.Finalize(func(e *event.Event) {
			order = append(order, c.name)
			wantErr(t, e.Add(0), event.ErrClosed)
			wantErr(t, l.Post(func() {}), event.ErrClosed)
			wantErr(t, l.Close(), event.ErrOnLoop)
		}))
	}
	must(t, l.Post(func() { order = append(order, "post") }))
	must(t, l.Close())
	must(t, l.Close())
	wantOrder(t, order, "post", "a", "b", "c")
}

func TestFinalizerPanicAtCloseIsIsolated(t *testing.T) {
	panics := 0
	l := newLoop(t, &event.Config{PanicHandler: func(any, []byte) { panics++ }})
	calls := 0
	for range 3 {
		must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) {
			calls++
			panic("finalizer")
		}))
	}
	must(t, l.Close())
	wantEqual(t, "calls", calls, 3)
	wantEqual(t, "panics", panics, 3)
}

func TestFinalizeIsRefused(t *testing.T) {
	l := newLoop(t, nil)
	e := silent(t, l, -1, 0)
	wantErr(t, e.Finalize(nil), event.ErrInvalid)
	must(t, l.Close())
	wantErr(t, e.Finalize(func(*event.Event) { t.Error("called after Close") }), event.ErrClosed)
}

// From any goroutine, beside callbacks, activations and timeouts, a finalizer runs once and nothing comes after it.
func TestFinalizeRacesCallbacks(t *testing.T) {
	l := newLoop(t, nil)
	background(t, l)
	for range tenfold(50) {
		var finalized atomic.Bool
		e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {
			if finalized.Load() {
				t.Error("callback after the finalizer")
			}
		})
		must(t, e.Add(time.Microsecond))
		must(t, e.Activate(0))
		runtime.Gosched()
		done := make(chan struct{})
		must(t, e.Finalize(func(*event.Event) {
			if finalized.Swap(true) {
				t.Error("finalized twice")
			}
			close(done)
		}))
		await(t, done, "finalizer")
	}
}

// An event that is finalized, or deleted, or whose one call is over, is garbage: nothing of the loop's holds it.
func TestEndedEventsAreGarbage(t *testing.T) {
	l := newLoop(t, nil)
	fd := readable(t)
	var gone atomic.Int32
	const kinds = 6
	func() {
		watch := func(e *event.Event) *event.Event {
			runtime.AddCleanup(e, func(struct{}) { gone.Add(1) }, struct{}{})
			return e
		}
		nothing := func(*event.Event, event.Flags) {}
		must(t, watch(eventFor(t, l, fd, event.Read, nothing)).Add(event.NoTimeout)) // called once
		finalized := watch(eventFor(t, l, fd, event.Read|event.Persist, nothing))
		must(t, finalized.Add(time.Hour))
		must(t, finalized.Finalize(func(*event.Event) {}))
		deleted := watch(eventFor(t, l, fd, event.Read, nothing))
		must(t, deleted.Add(time.Hour))
		must(t, deleted.Del())
		must(t, watch(eventFor(t, l, -1, 0, nothing)).Activate(0))
		once, err := l.AfterFunc(0, func() {})
		must(t, err)
		watch(once)
		untimed := watch(eventFor(t, l, -1, 0, nothing))
		must(t, untimed.Add(event.NoTimeout))
		must(t, untimed.Del())
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, l.Run(ctx))
	until(t, "collection of the events", func() bool {
		runtime.GC()
		return gone.Load() == kinds
	})
	runtime.KeepAlive(l)
}
