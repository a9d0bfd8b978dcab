package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// connection is a user's struct with its events in it.
type connection struct {
	fd    int
	read  event.Event
	idle  event.Event
	calls int
}

func (c *connection) called(*event.Event, event.Flags) { c.calls++ }

func TestInitEventMakesAnEventInPlace(t *testing.T) {
	l := newLoop(t, nil)
	c := &connection{fd: readable(t)}
	must(t, l.InitEvent(&c.read, c.fd, event.Read, c.called))
	must(t, l.InitEvent(&c.idle, -1, 0, c.called))
	must(t, c.read.Add(event.NoTimeout))
	must(t, c.idle.Add(0))
	run(t, l)
	wantEqual(t, "calls", c.calls, 2)
	wantEqual(t, "loop", c.read.Loop(), l)
	wantEqual(t, "descriptor", c.read.FD(), c.fd)
	wantEqual(t, "flags", c.read.Flags(), event.Read)
}

// An event that is embedded costs no allocation beside that of its struct.
func TestInitEventAllocatesNothing(t *testing.T) {
	l := newLoop(t, nil)
	c := &connection{fd: idle(t)}
	called := c.called
	n := testing.AllocsPerRun(1000, func() {
		if err := l.InitEvent(&c.read, c.fd, event.Read, called); err != nil {
			t.Fatal(err)
		}
		if err := c.read.Add(time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := c.read.Del(); err != nil {
			t.Fatal(err)
		}
	})
	wantEqual(t, "allocations", n, 0)
}

// Nothing is left of what an event was before.
func TestInitEventBeginsAnew(t *testing.T) {
	l := newLoop(t, &event.Config{Priorities: 5})
	fd, peer := rawPair(t)
	var e event.Event
	must(t, l.InitEvent(&e, fd, event.Read|event.Persist, nothing))
	must(t, e.SetPriority(4))
	e.SetName("old")
	must(t, e.Add(time.Hour))
	closeRaw(t, fd, peer)
	wantErr(t, e.SetConditions(0), event.ErrStale)
	wantErr(t, e.Err(), event.ErrStale)

	called := 0
	must(t, l.InitEvent(&e, -1, 0, func(*event.Event, event.Flags) { called++ }))
	wantEqual(t, "priority", e.Priority(), 2)
	wantEqual(t, "flags", e.Flags(), 0)
	wantEqual(t, "descriptor", e.FD(), -1)
	must(t, e.Err())
	must(t, e.Add(0))
	run(t, l)
	wantEqual(t, "calls", called, 1)

	must(t, e.Finalize(func(*event.Event) {}))
	turns(t, l, 1)
	wantErr(t, e.Add(0), event.ErrFinalized)
	must(t, l.InitEvent(&e, -1, 0, nothing))
	must(t, e.Add(0))

	other := newLoop(t, nil)
	wantErr(t, other.InitEvent(&e, -1, 0, nothing), event.ErrPending)
	run(t, l)
	must(t, other.InitEvent(&e, -1, 0, nothing))
	wantEqual(t, "loop", e.Loop(), other)
	must(t, e.Add(0))
	wantEqual(t, "added on the other loop", other.Stats().Added, 1)
}

// An event that is added or active is not changed, nor is any by input that NewEvent refuses.
func TestInitEventIsRefused(t *testing.T) {
	l := newLoop(t, nil)
	fd := idle(t)
	e := eventFor(t, l, fd, event.Read|event.Persist, nothing)
	refused := func(step string, target error, loop *event.Loop, fd int, flags event.Flags, fn func(*event.Event, event.Flags)) {
		t.Helper()
		before := [3]any{e.Flags(), e.FD(), e.Pending()}
		wantErr(t, loop.InitEvent(e, fd, flags, fn), target)
		wantEqual(t, step, [3]any{e.Flags(), e.FD(), e.Pending()}, before)
		wantEqual(t, step+": loop", e.Loop(), l)
	}
	other, closed := newLoop(t, nil), newLoop(t, nil)
	must(t, closed.Close())
	for step, change := range map[string]func() error{
		"added":           func() error { return e.Add(event.NoTimeout) },
		"paused":          func() error { return e.SetConditions(0) },
		"active as well":  func() error { return e.Activate(0) },
		"to be finalized": func() error { return e.Finalize(func(*event.Event) {}) },
	} {
		e = eventFor(t, l, fd, event.Read|event.Persist, nothing)
		if step == "paused" {
			must(t, e.Add(event.NoTimeout))
		}
		must(t, change())
		refused(step, event.ErrPending, l, -1, 0, nothing)
		refused(step, event.ErrPending, other, -1, 0, nothing)
		_ = e.Del()
		turns(t, l, 1)
	}
	e = eventFor(t, l, fd, event.Read, nothing)
	refused("bad flags", event.ErrInvalid, l, fd, event.Signal|event.Read, nothing)
	refused("no condition", event.ErrBadDescriptor, l, fd, 0, nothing)
	refused("bad descriptor", event.ErrBadDescriptor, l, -1, event.Read, nothing)
	refused("no signal", event.ErrInvalid, l, 0, event.Signal, nothing)
	refused("no callback", event.ErrInvalid, l, fd, event.Read, nil)
	refused("closed loop", event.ErrClosed, closed, fd, event.Read, nothing)
	wantMessage(t, l.InitEvent(e, -1, event.Read, nothing), event.ErrBadDescriptor, "init event", "-1", "Read")
	var zero event.Event
	wantErr(t, closed.InitEvent(&zero, fd, event.Read, nothing), event.ErrClosed)
	must(t, l.InitEvent(&zero, fd, event.Read, nothing))
}

// A callback may make its own event another one, but only of the same loop: the one that calls is not through with it.
func TestInitEventInTheOwnCallback(t *testing.T) {
	variants := map[string]*event.Config{"plain": nil, "guarded": {SlowCallback: time.Hour}}
	for name, cfg := range variants {
		t.Run(name, func(t *testing.T) {
			l, other := newLoop(t, cfg), newLoop(t, nil)
			fd := readable(t)
			var calls journal
			var e event.Event
			must(t, l.InitEvent(&e, -1, 0, func(e *event.Event, _ event.Flags) {
				calls.note("timer")
				wantErr(t, other.InitEvent(e, -1, 0, nothing), event.ErrPending)
				must(t, l.InitEvent(e, fd, event.Read, func(e *event.Event, what event.Flags) {
					calls.note(what.String())
					must(t, l.InitEvent(e, -1, 0, func(*event.Event, event.Flags) { calls.note("user") }))
					must(t, e.Activate(0))
				}))
				must(t, e.Add(event.NoTimeout))
			}))
			must(t, e.Add(0))
			run(t, l)
			calls.want(t, "timer", "Read", "user")
			must(t, other.InitEvent(&e, -1, 0, nothing))
		})
	}
}

// While the callback runs, another goroutine may make its event another one.
func TestInitEventWhileTheCallbackRuns(t *testing.T) {
	l := newLoop(t, nil)
	begun, goOn, again := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var e event.Event
	must(t, l.InitEvent(&e, -1, 0, func(*event.Event, event.Flags) {
		close(begun)
		<-goOn
	}))
	background(t, l)
	must(t, e.Add(0))
	await(t, begun, "call")
	must(t, l.InitEvent(&e, -1, event.Persist, func(*event.Event, event.Flags) { close(again) }))
	must(t, e.Activate(0))
	close(goOn)
	await(t, again, "call of the new event")
}
