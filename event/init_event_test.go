package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
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
	l := testkit.NewLoop(t, nil)
	c := &connection{fd: readable(t)}
	testkit.Must(t, l.InitEvent(&c.read, c.fd, event.Read, c.called))
	testkit.Must(t, l.InitEvent(&c.idle, -1, 0, c.called))
	testkit.Must(t, c.read.Add(event.NoTimeout))
	testkit.Must(t, c.idle.Add(0))
	testkit.Run(t, l)
	testkit.WantEqual(t, "calls", c.calls, 2)
	testkit.WantEqual(t, "loop", c.read.Loop(), l)
	testkit.WantEqual(t, "descriptor", c.read.FD(), c.fd)
	testkit.WantEqual(t, "flags", c.read.Flags(), event.Read)
}

// An event that is embedded costs no allocation beside that of its struct.
func TestInitEventAllocatesNothing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
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
	testkit.WantEqual(t, "allocations", n, 0)
}

// Nothing is left of what an event was before.
func TestInitEventBeginsAnew(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 5})
	fd, peer := rawPair(t)
	var e event.Event
	testkit.Must(t, l.InitEvent(&e, fd, event.Read|event.Persist, nothing))
	testkit.Must(t, e.SetPriority(4))
	e.SetName("old")
	testkit.Must(t, e.Add(time.Hour))
	closeRaw(t, fd, peer)
	testkit.WantErr(t, e.SetConditions(0), event.ErrStale)
	testkit.WantErr(t, e.Err(), event.ErrStale)

	called := 0
	testkit.Must(t, l.InitEvent(&e, -1, 0, func(*event.Event, event.Flags) { called++ }))
	testkit.WantEqual(t, "priority", e.Priority(), 2)
	testkit.WantEqual(t, "flags", e.Flags(), 0)
	testkit.WantEqual(t, "descriptor", e.FD(), -1)
	testkit.Must(t, e.Err())
	testkit.Must(t, e.Add(0))
	testkit.Run(t, l)
	testkit.WantEqual(t, "calls", called, 1)

	testkit.Must(t, e.Finalize(func(*event.Event) {}))
	turns(t, l, 1)
	testkit.WantErr(t, e.Add(0), event.ErrFinalized)
	testkit.Must(t, l.InitEvent(&e, -1, 0, nothing))
	testkit.Must(t, e.Add(0))

	other := testkit.NewLoop(t, nil)
	testkit.WantErr(t, other.InitEvent(&e, -1, 0, nothing), event.ErrPending)
	testkit.Run(t, l)
	testkit.Must(t, other.InitEvent(&e, -1, 0, nothing))
	testkit.WantEqual(t, "loop", e.Loop(), other)
	testkit.Must(t, e.Add(0))
	testkit.WantEqual(t, "added on the other loop", other.Stats().Added, 1)
}

// An event that is added or active is not changed, nor is any by input that NewEvent refuses.
func TestInitEventIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := idle(t)
	e := eventFor(t, l, fd, event.Read|event.Persist, nothing)
	refused := func(step string, target error, loop *event.Loop, fd int, flags event.Flags, fn func(*event.Event, event.Flags)) {
		t.Helper()
		before := [3]any{e.Flags(), e.FD(), e.Pending()}
		testkit.WantErr(t, loop.InitEvent(e, fd, flags, fn), target)
		testkit.WantEqual(t, step, [3]any{e.Flags(), e.FD(), e.Pending()}, before)
		testkit.WantEqual(t, step+": loop", e.Loop(), l)
	}
	other, closed := testkit.NewLoop(t, nil), testkit.NewLoop(t, nil)
	testkit.Must(t, closed.Close())
	for step, change := range map[string]func() error{
		"added":           func() error { return e.Add(event.NoTimeout) },
		"paused":          func() error { return e.SetConditions(0) },
		"active as well":  func() error { return e.Activate(0) },
		"to be finalized": func() error { return e.Finalize(func(*event.Event) {}) },
	} {
		e = eventFor(t, l, fd, event.Read|event.Persist, nothing)
		if step == "paused" {
			testkit.Must(t, e.Add(event.NoTimeout))
		}
		testkit.Must(t, change())
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
	testkit.WantErr(t, closed.InitEvent(&zero, fd, event.Read, nothing), event.ErrClosed)
	testkit.Must(t, l.InitEvent(&zero, fd, event.Read, nothing))
}

// A callback may make its own event another one, but only of the same loop: the one that calls is not through with it.
func TestInitEventInTheOwnCallback(t *testing.T) {
	variants := map[string]*event.Config{"plain": nil, "guarded": {SlowCallback: time.Hour}}
	for name, cfg := range variants {
		t.Run(name, func(t *testing.T) {
			l, other := testkit.NewLoop(t, cfg), testkit.NewLoop(t, nil)
			fd := readable(t)
			var calls journal
			var e event.Event
			testkit.Must(t, l.InitEvent(&e, -1, 0, func(e *event.Event, _ event.Flags) {
				calls.note("timer")
				testkit.WantErr(t, other.InitEvent(e, -1, 0, nothing), event.ErrPending)
				testkit.Must(t, l.InitEvent(e, fd, event.Read, func(e *event.Event, what event.Flags) {
					calls.note(what.String())
					testkit.Must(t, l.InitEvent(e, -1, 0, func(*event.Event, event.Flags) { calls.note("user") }))
					testkit.Must(t, e.Activate(0))
				}))
				testkit.Must(t, e.Add(event.NoTimeout))
			}))
			testkit.Must(t, e.Add(0))
			testkit.Run(t, l)
			calls.want(t, "timer", "Read", "user")
			testkit.Must(t, other.InitEvent(&e, -1, 0, nothing))
		})
	}
}

// While the callback runs, another goroutine may make its event another one.
func TestInitEventWhileTheCallbackRuns(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	begun, goOn, again := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var e event.Event
	testkit.Must(t, l.InitEvent(&e, -1, 0, func(*event.Event, event.Flags) {
		close(begun)
		<-goOn
	}))
	testkit.Background(t, l)
	testkit.Must(t, e.Add(0))
	testkit.Await(t, begun, "call")
	testkit.Must(t, l.InitEvent(&e, -1, event.Persist, func(*event.Event, event.Flags) { close(again) }))
	testkit.Must(t, e.Activate(0))
	close(goOn)
	testkit.Await(t, again, "call of the new event")
}
