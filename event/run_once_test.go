package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// RunOnce returns though callbacks activate events again, whatever the priority and the budget.
func TestRunOnceEndsThoughCallbacksMakeWorkForEver(t *testing.T) {
	makers := map[string]func(t *testing.T, l *event.Loop, priority int, called func()){
		"activation": func(t *testing.T, l *event.Loop, priority int, called func()) {
			e := eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) {
				called()
				testkit.Must(t, e.Activate(0))
			})
			testkit.Must(t, e.SetPriority(priority))
			testkit.Must(t, e.Activate(0))
		},
		"timer": func(t *testing.T, l *event.Loop, priority int, called func()) {
			e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) { called() })
			testkit.Must(t, e.SetPriority(priority))
			testkit.Must(t, e.Add(0))
		},
		"post": func(t *testing.T, l *event.Loop, _ int, called func()) {
			var fn func()
			fn = func() {
				called()
				_ = l.Post(fn) // refused by Close
			}
			testkit.Must(t, l.Post(fn))
		},
		"descriptor": func(t *testing.T, l *event.Loop, priority int, called func()) {
			e := eventFor(t, l, readable(t), event.Read|event.Persist, func(*event.Event, event.Flags) { called() })
			testkit.Must(t, e.SetPriority(priority))
			testkit.Must(t, e.Add(event.NoTimeout))
		},
	}
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			for _, budget := range []int{1, 3, 0} {
				l := testkit.NewLoop(t, &event.Config{Priorities: 3, Budget: event.Budget{Callbacks: budget}})
				calls := 0
				for i := range 10 {
					make(t, l, i%3, func() { calls++ })
				}
				for range 3 {
					before := calls
					testkit.Must(t, l.RunOnce(inPatience(t)))
					if calls == before {
						t.Error("RunOnce returned without a call")
					}
				}
			}
		})
	}
}

// RunOnce calls what was active before its first callback once each, in as many turns as the budget makes of it; what callbacks
// activate meanwhile is called by the next run.
func TestRunOnceCallsWhatWasActiveOnce(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Budget: event.Budget{Callbacks: 2}})
	var calls journal
	var again *event.Event
	again = calls.urgent(t, l, "again", 1, func() { testkit.Must(t, again.Activate(0)) })
	activateAll(t, again)
	for _, name := range []string{"b", "c", "d", "e"} {
		activateAll(t, calls.urgent(t, l, name, 1, nil))
	}
	activateAll(t, calls.urgent(t, l, "high", 0, nil))
	testkit.Must(t, l.RunOnce(inPatience(t)))
	calls.want(t, "high", "again", "b", "c", "d", "e", "again")
	testkit.Must(t, l.RunOnce(inPatience(t)))
	calls.want(t, "again")
}

// RunOnce calls the timers of all priorities that were due, though the budget makes them active in several turns and time passes
// meanwhile.
func TestRunOnceCallsTheTimersThatWereDueBefore(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 3, Budget: event.Budget{Callbacks: 4}})
	calls := [3]int{}
	for p := range calls {
		for range 10 {
			e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {
				calls[p]++
				clock.Advance(time.Millisecond)
			})
			testkit.Must(t, e.SetPriority(p))
			testkit.Must(t, e.Add(time.Hour))
		}
	}
	clock.Advance(time.Hour)
	testkit.Must(t, l.RunOnce(inPatience(t)))
	testkit.WantEqual(t, "calls", calls, [3]int{10, 10, 10})
}
