package event_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Add of an event without conditions fails where Add of one with conditions does, and otherwise adds it to its descriptor.
func TestAddOfAPausedEvent(t *testing.T) {
	t.Run("bad descriptor", addPausedBadDescriptor)
	t.Run("regular file", addPausedRegularFile)
	t.Run("alone", addPausedAlone)
	t.Run("beside others", addPausedBesideOthers)
	t.Run("finds the others stale", addPausedFindsOthersStale)
	t.Run("beside a closed one", addPausedBesideAClosedOne)
}

// paused returns an event for fd that is paused and not added.
func paused(t *testing.T, l *event.Loop, fd int, manner event.Flags) *event.Event {
	t.Helper()
	e := eventFor(t, l, fd, event.Read|manner, nothing)
	testkit.Must(t, e.SetConditions(0))
	return e
}

func addPausedBadDescriptor(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd, peer := rawPair(t)
	closeRaw(t, fd, peer)
	for _, fd := range []int{fd, math.MaxInt32} {
		e := paused(t, l, fd, 0)
		testkit.WantErr(t, e.Add(event.NoTimeout), event.ErrBadDescriptor)
		testkit.WantEqual(t, "added", e.Added(), false)
	}
}

func addPausedRegularFile(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	testkit.Must(t, err)
	defer f.Close()
	err = paused(t, l, fdOf(t, f), 0).Add(event.NoTimeout)
	if l.Features().Has(event.FeatureAnyFile) {
		testkit.Must(t, err)
	} else {
		testkit.WantErr(t, err, event.ErrNotPollable)
	}
}

func addPausedAlone(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := paused(t, l, readable(t), event.Persist)
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 2)
	testkit.WantEqual(t, "callbacks", l.Stats().Callbacks, 0)
	testkit.Must(t, e.SetConditions(event.Read))
	turns(t, l, 2)
	testkit.WantEqual(t, "callbacks", l.Stats().Callbacks, 2)
}

func addPausedBesideOthers(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := readable(t)
	for range 2 {
		testkit.Must(t, paused(t, l, fd, event.Persist).Add(event.NoTimeout))
	}
	reader := eventFor(t, l, fd, event.Read|event.Persist, nothing)
	testkit.Must(t, reader.Add(event.NoTimeout))
	last := paused(t, l, fd, event.Persist)
	testkit.Must(t, last.Add(event.NoTimeout))
	turns(t, l, 1)
	testkit.WantEqual(t, "callbacks", l.Stats().Callbacks, 1)
	testkit.Must(t, last.SetConditions(event.Read))
	turns(t, l, 1)
	testkit.WantEqual(t, "callbacks", l.Stats().Callbacks, 3)
	testkit.Must(t, reader.Del())
	testkit.Must(t, last.Del())
	testkit.WantEqual(t, "added", l.Stats().Added, 2)
}

func addPausedFindsOthersStale(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureStale) {
		t.Skip("the backend goes by numbers")
	}
	fd, peer := rawPair(t)
	gone := silent(t, l, fd, event.Read|event.Persist)
	testkit.Must(t, gone.Add(event.NoTimeout))
	closeRaw(t, fd, peer)
	peer = reopen(t, fd)
	e := paused(t, l, fd, 0)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.WantErr(t, gone.Err(), event.ErrStale)
	testkit.Must(t, e.SetConditions(event.Read))
	send(t, peer, "x")
	turns(t, l, 1)
	testkit.WantEqual(t, "added", e.Added(), false)
	closeRaw(t, fd, peer)
}

func addPausedBesideAClosedOne(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd, peer := rawPair(t)
	gone := paused(t, l, fd, 0)
	testkit.Must(t, gone.Add(event.NoTimeout))
	closeRaw(t, fd, peer)
	testkit.WantErr(t, paused(t, l, fd, 0).Add(event.NoTimeout), event.ErrBadDescriptor)
	testkit.WantErr(t, gone.Err(), event.ErrStale)
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
}

// The events of a descriptor agree on EdgeTriggered, also while they are paused.
func TestPausedEventsAgreeOnTheManner(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	fd := idle(t)
	level := silent(t, l, fd, event.Read|event.Persist)
	edge := silent(t, l, fd, event.Read|event.Persist|event.EdgeTriggered)
	for _, pair := range [][2]*event.Event{{level, edge}, {edge, level}} {
		testkit.Must(t, pair[0].Add(event.NoTimeout))
		for _, first := range []event.Flags{event.Read, 0} {
			testkit.Must(t, pair[0].SetConditions(first))
			for _, second := range []event.Flags{event.Read, 0} {
				testkit.Must(t, pair[1].SetConditions(second))
				testkit.WantErr(t, pair[1].Add(event.NoTimeout), event.ErrInvalid)
			}
		}
		testkit.Must(t, pair[0].Del())
	}
}

// A new set of the poller knows nothing of paused events, and nothing is lost by it.
func TestRebuildKeepsPausedEvents(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var told []event.Flags
	e := eventFor(t, l, readable(t), event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.SetConditions(0))
	causeRebuild(t, l, func() { turns(t, l, 1) })
	turns(t, l, 2)
	wantOrder(t, told)
	testkit.Must(t, e.SetConditions(event.Read))
	turns(t, l, 1)
	wantOrder(t, told, event.Read)
}

// ActivateFD activates the events that wait for the condition, and a paused event with a Timeout only.
func TestActivateFDUsesTheCurrentConditions(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := idle(t)
	var told []event.Flags
	e := eventFor(t, l, fd, event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.SetConditions(0))
	testkit.Must(t, l.ActivateFD(fd, event.Read))
	turns(t, l, 1)
	wantOrder(t, told)
	testkit.Must(t, l.ActivateFD(fd, event.Read|event.Timeout))
	turns(t, l, 1)
	testkit.Must(t, e.SetConditions(event.Read))
	testkit.Must(t, l.ActivateFD(fd, event.Read|event.Write))
	turns(t, l, 1)
	wantOrder(t, told, event.Timeout, event.Read)
}

// Changes from other goroutines, while the loop runs: in the end the last one counts.
func TestSetConditionsRacesTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fd, peer := pair(t)
	var calls atomic.Int64
	e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) { calls.Add(1) })
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Background(t, l)
	send(t, peer, "x")
	changes := []event.Flags{event.Read, event.Read | event.Write, event.Write, 0}
	for i := range tenfold(200) {
		testkit.Must(t, e.SetConditions(changes[i%len(changes)]))
	}
	testkit.Must(t, e.SetConditions(0))
	posted := make(chan struct{})
	testkit.Must(t, l.Post(func() { close(posted) })) // a call chosen before is over
	testkit.Await(t, posted, "post")
	before := calls.Load()
	letSleep(t, l)
	testkit.WantEqual(t, "calls while paused", calls.Load(), before)
	testkit.Must(t, e.SetConditions(event.Read))
	testkit.Until(t, "call", func() bool { return calls.Load() > before })
}

// A change allocates nothing.
func TestSetConditionsAllocatesNothing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, idle(t), event.Read|event.Persist)
	testkit.Must(t, e.Add(time.Hour))
	n := testing.AllocsPerRun(1000, func() {
		for _, conditions := range []event.Flags{event.Read | event.Write, event.Write, 0, event.Read, event.Read} {
			if err := e.SetConditions(conditions); err != nil {
				t.Fatal(err)
			}
		}
	})
	testkit.WantEqual(t, "allocations", n, 0)
}

// Now does not wait for the loop's lock.
func TestNowNeedsNoLock(t *testing.T) {
	clock := testkit.NewClock()
	l, p := recordingLoop(t, 0, clock)
	var read []time.Duration
	p.under = func() { read = append(read, l.Now()) }
	e := silent(t, l, 7, event.Read)
	for range 2 {
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, e.Del())
		clock.Advance(time.Second)
		turns(t, l, 1)
		clock.Advance(time.Second)
	}
	if !slices.Equal(read, []time.Duration{0, 0, time.Second, time.Second}) {
		t.Errorf("read %v", read)
	}
}
