package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// A paused event is not called for waiting data, and is called for it once it is resumed, level- or edge-triggered.
func TestPausedEventIsReportedOnlyAfterItsResumption(t *testing.T) {
	for manner, edge := range manners(testkit.NewLoop(t, nil)) {
		for _, persist := range []event.Flags{0, event.Persist} {
			t.Run(fmt.Sprintf("%s, %v", manner, persist), func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				_, _, fd, peer := pair(t)
				var told []event.Flags
				e := eventFor(t, l, fd, event.Read|persist|edge, func(_ *event.Event, what event.Flags) {
					told = append(told, what)
				})
				testkit.Must(t, e.Add(event.NoTimeout))
				testkit.Must(t, e.SetConditions(0))
				send(t, peer, "x")
				turns(t, l, 3)
				wantOrder(t, told)
				testkit.WantEqual(t, "added", e.Added(), true)
				testkit.Must(t, e.SetConditions(event.Read))
				turns(t, l, 1)
				wantOrder(t, told, event.Read|edge)
				testkit.WantEqual(t, "added afterwards", e.Added(), persist != 0)
			})
		}
	}
}

// The timeout of a paused event continues, and ends a one-shot event.
func TestTimeoutContinuesWhilePaused(t *testing.T) {
	for _, c := range []struct {
		manner event.Flags
		told   []event.Flags
	}{
		{event.Persist, []event.Flags{event.Timeout, event.Timeout}},
		{0, []event.Flags{event.Timeout}},
	} {
		t.Run(c.manner.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			var told []event.Flags
			e := eventFor(t, l, readable(t), event.Read|c.manner, func(_ *event.Event, what event.Flags) {
				told = append(told, what)
			})
			testkit.Must(t, e.Add(10*time.Millisecond))
			testkit.Must(t, e.SetConditions(0))
			testkit.WantEqual(t, "pending", e.Pending(), event.Timeout)
			passTime(t, l, clock, 25*time.Millisecond)
			wantOrder(t, told, c.told...)
			testkit.WantEqual(t, "added", e.Added(), c.manner != 0)
			if err := e.SetTimeout(event.NoTimeout); e.Added() {
				testkit.Must(t, err)
			} else {
				testkit.WantErr(t, err, event.ErrNotAdded)
			}
			passTime(t, l, clock, time.Hour)
			wantOrder(t, told, c.told...)
			testkit.Must(t, e.Add(time.Minute))
			passTime(t, l, clock, time.Minute)
			wantOrder(t, told, append(c.told, event.Timeout)...)
			testkit.Must(t, e.Del())
			testkit.WantEqual(t, "added after Del", l.Stats().Added, 0)
		})
	}
}

// An event that waits for no condition is added like any other: it is counted and listed, keeps Run going, and ends by Del,
// Finalize or Close.
func TestPausedEventIsAddedLikeAnyOther(t *testing.T) {
	paused := func(t *testing.T, l *event.Loop) *event.Event {
		t.Helper()
		e := silent(t, l, readable(t), event.Read|event.Persist)
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, e.SetConditions(0))
		return e
	}
	t.Run("counted and listed", func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		e := paused(t, l)
		testkit.WantEqual(t, "added", l.Stats().Added, 1)
		wantOrder(t, l.Events(), e)
		testkit.WantEqual(t, "pending", e.Pending(), 0)
		testkit.WantEqual(t, "flags", e.Flags(), event.Persist)
		var b strings.Builder
		testkit.Must(t, l.Dump(&b))
		if want := fmt.Sprintf("fd %d [Persist]", e.FD()); !strings.Contains(b.String(), want) {
			t.Errorf("Dump does not say %q:\n%s", want, b.String())
		}
	})
	t.Run("keeps Run going", func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		called := 0
		e := eventFor(t, l, readable(t), event.Read, func(*event.Event, event.Flags) { called++ })
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, e.SetConditions(0))
		over := make(chan error, 1)
		go func() { over <- l.Run(t.Context()) }()
		letSleep(t, l)
		testkit.Must(t, e.SetConditions(event.Read))
		testkit.Must(t, testkit.Await(t, over, "end of Run"))
		testkit.WantEqual(t, "calls", called, 1)
	})
	for name, end := range map[string]func(e *event.Event) error{
		"Del":      func(e *event.Event) error { return e.Del() },
		"DelWait":  func(e *event.Event) error { return e.DelWait(t.Context()) },
		"Finalize": func(e *event.Event) error { return e.Finalize(func(*event.Event) {}) },
		"Close":    func(e *event.Event) error { return e.Loop().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			e := paused(t, l)
			testkit.Must(t, end(e))
			testkit.WantEqual(t, "added", e.Added(), false)
			testkit.WantEqual(t, "added events", l.Stats().Added, 0)
			testkit.WantEqual(t, "events of a closed or empty loop", len(l.Events()), l.Stats().Active)
		})
	}
	t.Run("the end of the last ends Run", func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		e := paused(t, l)
		over := make(chan error, 1)
		go func() { over <- l.Run(t.Context()) }()
		letSleep(t, l)
		testkit.Must(t, e.Del())
		testkit.Must(t, testkit.Await(t, over, "end of Run"))
	})
}

// Of two events of one descriptor, a change of one leaves the other alone.
func TestChangeOfAnEventLeavesTheOtherUnchanged(t *testing.T) {
	for manner, edge := range manners(testkit.NewLoop(t, nil)) {
		t.Run(manner, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			_, _, fd, peer := pair(t)
			var a, b event.Flags
			first := eventFor(t, l, fd, event.Read|event.Persist|edge, func(_ *event.Event, what event.Flags) { a |= what &^ edge })
			second := eventFor(t, l, fd, event.Write|event.Persist|edge, func(_ *event.Event, what event.Flags) { b |= what &^ edge })
			testkit.Must(t, first.Add(event.NoTimeout))
			testkit.Must(t, second.Add(event.NoTimeout))
			// Each change is followed by news, which an edge-triggered event needs to be told anything.
			at := func(step string, wantA, wantB event.Flags) {
				t.Helper()
				a, b = 0, 0
				send(t, peer, "x")
				turns(t, l, 1)
				if a != wantA || b&^wantB != 0 || edge == 0 && b != wantB {
					t.Fatalf("%s: told %v and %v, want %v and %v", step, a, b, wantA, wantB)
				}
			}
			at("as they were added", event.Read, event.Write)
			testkit.Must(t, second.SetConditions(0))
			at("second paused", event.Read, 0)
			testkit.Must(t, second.SetConditions(event.Read))
			at("second reads", event.Read, event.Read)
			testkit.Must(t, first.SetConditions(0))
			at("first paused", 0, event.Read)
			testkit.Must(t, second.SetConditions(0))
			at("both paused", 0, 0)
			testkit.Must(t, first.SetConditions(event.Read))
			at("first resumed", event.Read, 0)
			testkit.Must(t, first.Del())
			at("first deleted", 0, 0)
			testkit.Must(t, second.SetConditions(event.Read|event.Write))
			at("second resumed", 0, event.Read|event.Write)
			testkit.Must(t, second.Del())
			at("both deleted", 0, 0)
		})
	}
}

// An edge that was reported to one event of a descriptor is reported again to another one that starts to wait for it.
func TestResumedEdgeIsReportedBesideAnother(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	_, _, fd, peer := pair(t)
	const manner = event.Persist | event.EdgeTriggered
	testkit.Must(t, eventFor(t, l, fd, event.Read|manner, nothing).Add(event.NoTimeout))
	told := event.Flags(0)
	e := eventFor(t, l, fd, event.Read|manner, func(_ *event.Event, what event.Flags) { told |= what })
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.SetConditions(0))
	send(t, peer, "x")
	turns(t, l, 3)
	testkit.WantEqual(t, "told while paused", told, 0)
	testkit.Must(t, e.SetConditions(event.Read))
	turns(t, l, 1)
	testkit.WantEqual(t, "told", told, event.Read|event.EdgeTriggered)
}

// In an event's own callback a change counts for the next turn, and for the next Add of a one-shot event.
func TestSetConditionsInTheOwnCallback(t *testing.T) {
	for _, persist := range []event.Flags{0, event.Persist} {
		t.Run(persist.String(), func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			next := []event.Flags{event.Write, event.Read | event.Write, event.Read, 0}
			var told []event.Flags
			e := eventFor(t, l, readable(t), event.Read|persist, func(e *event.Event, what event.Flags) {
				told = append(told, what)
				testkit.Must(t, e.SetConditions(next[0]))
				next = next[1:]
				testkit.Must(t, e.Add(event.NoTimeout))
			})
			testkit.Must(t, e.Add(event.NoTimeout))
			turns(t, l, 6)
			wantOrder(t, told, event.Read, event.Write, event.Read|event.Write, event.Read)
			testkit.WantEqual(t, "added", e.Added(), true)
			testkit.WantEqual(t, "pending", e.Pending(), 0)
		})
	}
}

// A condition that another goroutine adds ends the loop's sleep.
func TestSetConditionsEndsASleep(t *testing.T) {
	for name, cfg := range map[string]*event.Config{
		"environment": nil,
		"poll":        {IgnoreEnv: true, Backend: event.BackendPoll},
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, cfg)
			_, _, fd, peer := pair(t)
			called := make(chan event.Flags)
			e := eventFor(t, l, fd, event.Read|event.Persist, func(e *event.Event, what event.Flags) {
				_, err := receive(fd)
				testkit.Must(t, err)
				testkit.Must(t, e.SetConditions(0))
				called <- what
			})
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Must(t, e.SetConditions(0))
			testkit.Background(t, l)
			for range 20 {
				letSleep(t, l)
				send(t, peer, "x")
				testkit.Must(t, e.SetConditions(event.Read))
				testkit.WantEqual(t, "told", testkit.Await(t, called, "call"), event.Read)
			}
		})
	}
}

// SetConditions cancels the pending flags of a removed condition. Other flags, and an Activate(0), stay pending.
func TestRemovedConditionIsNotDelivered(t *testing.T) {
	const none = event.Flags(0xffff)
	for name, c := range map[string]struct {
		wait, ask, keep event.Flags // ask is what Activate is given, if not none
		told            event.Flags // none if it is not called
	}{
		"all":                     {event.Read, none, 0, none},
		"all of two":              {event.Read | event.Write, none, 0, none},
		"one of two":              {event.Read | event.Write, none, event.Write, event.Write},
		"one for another":         {event.Read, none, event.Write, none},
		"beside a timeout":        {event.Read, event.Timeout, 0, event.Timeout},
		"beside a call asked for": {event.Read, 0, 0, 0},
		"activated with it":       {event.Read, event.Read, 0, none},
	} {
		for manner, edge := range manners(testkit.NewLoop(t, nil)) {
			t.Run(name+", "+manner, func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				told := none
				e := eventFor(t, l, readable(t), c.wait|event.Persist|edge, func(_ *event.Event, what event.Flags) { told = what })
				testkit.Must(t, e.Add(event.NoTimeout))
				first := userEvent(t, l, 0, func() {
					testkit.WantEqual(t, "pending before", e.Pending()&c.wait, c.wait)
					testkit.Must(t, e.SetConditions(c.keep))
					testkit.WantEqual(t, "pending afterwards", e.Pending()&(event.Read|event.Write), c.keep)
				})
				testkit.Must(t, first.Activate(0))
				if c.ask != none {
					testkit.Must(t, e.Activate(c.ask))
				}
				turns(t, l, 1)
				want := c.told
				if want != none && want&c.keep != 0 {
					want |= edge
				}
				testkit.WantEqual(t, "told", told, want)
			})
		}
	}
}

// An Activate(0) stays pending when a timeout is cancelled.
func TestActivationSurvivesACancelledTimeout(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var told []event.Flags
	e := eventFor(t, l, -1, 0, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	first := userEvent(t, l, 0, func() { testkit.Must(t, e.Add(time.Hour)) })
	activateAll(t, first, e)
	testkit.Must(t, e.Add(1))
	clock.Advance(1)
	turns(t, l, 1)
	wantOrder(t, told, 0)
}
