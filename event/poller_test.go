package event_test

import (
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Error and Invalid in a report of a user's Poller have the effect of the kernel's: an error reaches an event that waits only for Closed,
// and a descriptor that is not open ends its events.
func TestReadyErrorAndInvalidOfAUsersPoller(t *testing.T) {
	p := newScriptPoller()
	l := testkit.NewLoop(t, &event.Config{OpenPoller: p.open, Driver: event.DriverThread})
	var got []event.Flags
	closed := eventFor(t, l, 7, event.Closed|event.Persist, func(_ *event.Event, what event.Flags) { got = append(got, what) })
	both := eventFor(t, l, 8, event.Read|event.Write, func(_ *event.Event, what event.Flags) { got = append(got, what) })
	invalid := silent(t, l, 9, event.Read|event.Persist)
	for _, e := range []*event.Event{closed, both, invalid} {
		testkit.Must(t, e.Add(event.NoTimeout))
	}
	p.reports = append(p.reports,
		event.Ready{Tag: p.watched[7], Error: true},
		event.Ready{Tag: p.watched[8], What: event.Read | event.Write | event.EdgeTriggered | event.Persist, Error: true},
		event.Ready{Tag: p.watched[9], Invalid: true})
	oneTurn(t, l)
	testkit.WantEqual(t, "calls", len(got), 2)
	testkit.WantEqual(t, "flags of the event that waits for Closed", got[0], event.Closed)
	testkit.WantEqual(t, "flags of the event that waits for Read and Write", got[1], event.Read|event.Write)
	testkit.WantErr(t, invalid.Err(), event.ErrStale)
	testkit.WantEqual(t, "event of the closed descriptor is added", invalid.Added(), false)
}

// A turn with a user's Poller allocates nothing.
func TestUsersPollerDoesNotAllocate(t *testing.T) {
	p := newScriptPoller()
	l := testkit.NewLoop(t, &event.Config{OpenPoller: p.open, Driver: event.DriverThread})
	e := userEvent(t, l, event.Persist, func() {})
	testkit.Must(t, e.Add(event.NoTimeout))
	if n := testing.AllocsPerRun(100, func() { testkit.Must(t, l.RunNonblock()) }); n != 0 {
		t.Errorf("%v allocations in a turn", n)
	}
}

// Features has a name for each feature, and Has is true for a subset only.
func TestFeatures(t *testing.T) {
	all := event.FeatureEdge | event.FeatureClosed | event.FeatureConcurrent | event.FeatureStale | event.FeatureAnyFile
	testkit.WantEqual(t, "names", all.String(), "edge|closed|concurrent|stale|anyfile")
	if !all.Has(event.FeatureStale) || event.FeatureEdge.Has(event.FeatureEdge|event.FeatureStale) {
		t.Error("Has is wrong")
	}
}
