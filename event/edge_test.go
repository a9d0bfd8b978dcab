package event_test

import (
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// edgeLoop makes a loop whose backend knows edges.
func edgeLoop(t *testing.T) *event.Loop {
	t.Helper()
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	return l
}

// An edge-triggered event that starts to wait for a condition that holds is called, whether or not other events of its
// descriptor have been called for it, and whichever call makes it wait.
func TestEdgeThatHoldsIsReportedToEachEventThatStartsToWait(t *testing.T) {
	const flags = event.Read | event.Persist | event.EdgeTriggered
	begin := map[string]func(t *testing.T, e *event.Event){
		"Add": func(t *testing.T, e *event.Event) {
			testkit.Must(t, e.Add(event.NoTimeout))
		},
		"Del and Add": func(t *testing.T, e *event.Event) {
			testkit.Must(t, e.Add(event.NoTimeout))
			oneTurn(t, e.Loop())
			testkit.Must(t, e.Del())
			testkit.Must(t, e.Add(event.NoTimeout))
		},
		"SetConditions": func(t *testing.T, e *event.Event) {
			testkit.Must(t, e.SetConditions(0))
			testkit.Must(t, e.Add(event.NoTimeout))
			oneTurn(t, e.Loop())
			testkit.Must(t, e.SetConditions(event.Read))
		},
	}
	for name, begin := range begin {
		for _, others := range []int{0, 1, 3} {
			t.Run(name, func(t *testing.T) {
				l := edgeLoop(t)
				fd := readable(t)
				for range others {
					testkit.Must(t, eventFor(t, l, fd, flags, func(*event.Event, event.Flags) {}).Add(event.NoTimeout))
				}
				turns(t, l, 2)
				var told []event.Flags
				e := eventFor(t, l, fd, flags, func(_ *event.Event, what event.Flags) { told = append(told, what) })
				begin(t, e)
				told = nil
				turns(t, l, 3)
				wantOrder(t, told, event.Read|event.EdgeTriggered)
			})
		}
	}
}

// A one-shot edge-triggered event that is added again in its callback is called for remaining data, also if the descriptor has
// other events.
func TestOneShotEdgeThatIsAddedAgainIsCalledForRemainingData(t *testing.T) {
	l := edgeLoop(t)
	fd := readable(t)
	testkit.Must(t, eventFor(t, l, fd, event.Read|event.Persist|event.EdgeTriggered, func(*event.Event, event.Flags) {}).Add(event.NoTimeout))
	calls := 0
	e := eventFor(t, l, fd, event.Read|event.EdgeTriggered, func(e *event.Event, _ event.Flags) {
		if calls++; calls < 3 {
			testkit.Must(t, e.Add(event.NoTimeout))
		}
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 5)
	testkit.WantEqual(t, "calls", calls, 3)
}

// An edge reported in a turn whose check watcher panics is delivered in the next turn: the poller reports it only once.
func TestEdgeOfATurnWhoseCheckWatcherPanicsIsNotLost(t *testing.T) {
	l := edgeLoop(t)
	calls := 0
	e := eventFor(t, l, readable(t), event.Read|event.Persist|event.EdgeTriggered, func(*event.Event, event.Flags) { calls++ })
	testkit.Must(t, e.Add(event.NoTimeout))
	w := onCheck(t, l, func() { panic("check") })
	panics(t, func() { testkit.Must(t, l.RunNonblock()) })
	w.Stop()
	turns(t, l, 2)
	testkit.WantEqual(t, "calls", calls, 1)
}

// panics fails the test unless fn does.
func panics(t testing.TB, fn func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	fn()
}
