package event_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// A registration that a duplicate of the closed descriptor keeps continues to report: the loop removes it and
// does not spin, however many there are, and the other events notice nothing.
func TestDuplicateOfAClosedDescriptorDoesNotSpin(t *testing.T) {
	for _, n := range []int{1, 2, 1200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			a, b := socketpair(t)
			live := fdOf(t, a)
			var calls journal
			reader := calls.event(t, l, "live", live, event.Read|event.Persist, func() { readAll(live) })
			testkit.Must(t, reader.Add(event.NoTimeout))
			leaveRegistrations(t, l, n)
			for range 20 + n/50 {
				oneTurn(t, l)
			}
			calls.want(t)
			before := l.Stats()
			for range 20 {
				oneTurn(t, l)
			}
			after := l.Stats()
			if after.Reports != before.Reports {
				t.Errorf("%d reports without an event in 20 turns", after.Reports-before.Reports)
			}
			if l.Features().Has(event.FeatureStale) && (after.Rebuilds == 0 || after.LateReports == 0) {
				t.Errorf("%d rebuilds, %d late reports", after.Rebuilds, after.LateReports)
			}
			makeReadable(t, b)
			oneTurn(t, l)
			calls.want(t, "live")
			testkit.Must(t, reader.Del())
		})
	}
}

// leaveRegistrations adds events for n readable descriptors, closes them before Del, and keeps their files open.
func leaveRegistrations(t *testing.T, l *event.Loop, n int) {
	t.Helper()
	var a, b *os.File
	var ghosts []*event.Event
	for i := range n {
		if i%100 == 0 { // below the kernel's limit for one file
			a, b = socketpair(t)
			makeReadable(t, b)
		}
		fd := privateCopy(t, a)
		e, err := l.NewEvent(fd, event.Read|event.Persist, func(*event.Event, event.Flags) { t.Error("called after Del") })
		testkit.Must(t, err)
		testkit.Must(t, e.Add(event.NoTimeout))
		ghosts = append(ghosts, e)
	}
	for _, e := range ghosts {
		testkit.Must(t, unix.Close(e.FD()))
		testkit.WantErr(t, e.Del(), event.ErrStale)
	}
}

// A loop that has replaced its poller sleeps and is woken as before.
func TestLoopIsWokenAfterARebuild(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	leaveRegistrations(t, l, 1)
	for range 20 {
		oneTurn(t, l)
	}
	testkit.Background(t, l)
	for range 100 {
		called := make(chan struct{})
		testkit.Must(t, l.Post(func() { close(called) }))
		testkit.Await(t, called, "a posted function")
	}
}

// Edge- and level-triggered events of one descriptor exclude each other, whichever is first; the first is unharmed.
func TestEdgeAndLevelDoNotMix(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	fd := fdOf(t, a)
	if !l.Features().Has(event.FeatureEdge) {
		_, err := l.NewEvent(fd, event.Read|event.EdgeTriggered, func(*event.Event, event.Flags) {})
		testkit.WantErr(t, err, event.ErrUnsupported)
		return
	}
	for _, edge := range []event.Flags{0, event.EdgeTriggered} {
		var calls journal
		first := calls.event(t, l, "first", fd, event.Read|edge, func() { readAll(fd) })
		second := calls.event(t, l, "second", fd, event.Write|edge^event.EdgeTriggered, nil)
		testkit.Must(t, first.Add(event.NoTimeout))
		testkit.WantErr(t, second.Add(event.NoTimeout), event.ErrInvalid)
		if second.Added() {
			t.Error("the second is added")
		}
		makeReadable(t, b)
		oneTurn(t, l)
		calls.want(t, "first")
	}
}

// Del of one edge-triggered event leaves the descriptor's others edge-triggered.
func TestDelOfOneEdgeEventKeepsTheOthersEdge(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	a, b := socketpair(t)
	fd := fdOf(t, a)
	const manner = event.Persist | event.EdgeTriggered
	var calls journal
	reader, writer := calls.event(t, l, "reader", fd, event.Read|manner, nil), calls.event(t, l, "writer", fd, event.Write|manner, nil)
	testkit.Must(t, reader.Add(event.NoTimeout))
	testkit.Must(t, writer.Add(event.NoTimeout))
	testkit.Must(t, writer.Del())
	oneTurn(t, l)
	for range 2 {
		makeReadable(t, b)
		oneTurn(t, l)
		calls.want(t, "reader")
		oneTurn(t, l) // still readable, which is no change
		calls.want(t)
	}
	testkit.Must(t, reader.Del())
}
