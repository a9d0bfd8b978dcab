package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// TestSetTimeoutIsReportedOnce: nothing renews it, neither the timeout itself nor a report of a condition.
func TestSetTimeoutIsReportedOnce(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, b := socketpair(t)
	timeouts, reads := 0, 0
	buf := make([]byte, 1)
	e, err := l.NewEvent(fdOf(t, a), event.Read|event.Persist, func(_ *event.Event, what event.Flags) {
		if what&event.Timeout != 0 {
			timeouts++
		}
		if what&event.Read != 0 {
			reads++
			_, err := a.Read(buf)
			testkit.Must(t, err)
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.SetTimeout(10*time.Second))
	clock.Advance(9 * time.Second)
	_, err = b.Write([]byte("x"))
	testkit.Must(t, err)
	testkit.Must(t, l.RunNonblock())
	if left, ok := e.Remaining(); !ok || left != time.Second || reads != 1 {
		t.Fatalf("after a report %v, %v remain, %d reads; want 1s", left, ok, reads)
	}
	for range 5 {
		clock.Advance(time.Minute)
		testkit.Must(t, l.RunNonblock())
	}
	if timeouts != 1 || reads != 1 {
		t.Errorf("%d timeouts, %d reads; want 1 and 1", timeouts, reads)
	}
	if !e.Added() {
		t.Error("the event is not added any more")
	}
}

func TestSetTimeoutReplacesAndRemoves(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	fired := 0
	e, err := l.NewTicker(func(*event.Event, event.Flags) { fired++ })
	testkit.Must(t, err)
	testkit.WantErr(t, e.SetTimeout(time.Second), event.ErrNotAdded)
	testkit.Must(t, e.Add(time.Second))
	testkit.WantErr(t, e.SetTimeout(-1), event.ErrInvalid)
	testkit.Must(t, e.SetTimeout(time.Minute))
	clock.Advance(2 * time.Second)
	testkit.Must(t, l.RunNonblock())
	if fired != 0 {
		t.Fatalf("the timeout that was replaced fired %d times", fired)
	}
	testkit.Must(t, e.SetTimeout(event.NoTimeout))
	clock.Advance(time.Hour)
	testkit.Must(t, l.RunNonblock())
	if fired != 0 || !e.Added() {
		t.Fatalf("fired %d times, added %v; want an event that waits for nothing", fired, e.Added())
	}
	testkit.Must(t, e.SetTimeout(0))
	testkit.Must(t, l.RunNonblock())
	testkit.Must(t, l.RunNonblock())
	if fired != 1 || !e.Added() {
		t.Errorf("fired %d times, added %v; want once, and still added", fired, e.Added())
	}
	if events := l.Events(); len(events) != 1 || events[0] != e {
		t.Errorf("the loop lists %v", events)
	}
	testkit.Must(t, e.Del())
}

// TestSetTimeoutWakes: a nearer deadline set by another goroutine ends the loop's sleep.
func TestSetTimeoutWakes(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fired := make(chan event.Flags, 1)
	e, err := l.NewTicker(func(_ *event.Event, what event.Flags) { fired <- what })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(time.Hour))
	testkit.Background(t, l)
	testkit.Must(t, e.SetTimeout(0))
	if what := testkit.Await(t, fired, "the timeout"); what != event.Timeout {
		t.Errorf("told %v", what)
	}
}

func TestSetTimeoutCancelsAnUndeliveredTimeout(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	fired := 0
	var second *event.Event
	first, err := l.NewTimer(func(*event.Event, event.Flags) { testkit.Must(t, second.SetTimeout(time.Minute)) })
	testkit.Must(t, err)
	second, err = l.NewTicker(func(*event.Event, event.Flags) { fired++ })
	testkit.Must(t, err)
	testkit.Must(t, first.Add(time.Second))
	testkit.Must(t, second.Add(time.Second))
	clock.Advance(2 * time.Second)
	testkit.Must(t, l.RunNonblock())
	if fired != 0 {
		t.Errorf("the timeout was delivered %d times after it was replaced", fired)
	}
}

func TestSetTimeoutOfAnEndedEvent(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e, err := l.NewTicker(func(*event.Event, event.Flags) {})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(time.Hour))
	testkit.Must(t, e.Finalize(func(*event.Event) {}))
	testkit.WantErr(t, e.SetTimeout(time.Second), event.ErrFinalized)
	other, err := l.NewTicker(func(*event.Event, event.Flags) {})
	testkit.Must(t, err)
	testkit.Must(t, other.Add(time.Hour))
	testkit.Must(t, l.Close())
	testkit.WantErr(t, other.SetTimeout(time.Second), event.ErrClosed)
}

// SetTimeout with NoTimeout cancels a timeout that has passed and is not delivered yet, and no other flag of the pending call.
func TestRemovedTimeoutIsNotDelivered(t *testing.T) {
	for _, kind := range []event.Flags{0, event.Persist} {
		t.Run(kind.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			_, _, fd, peer := pair(t)
			send(t, peer, "x")
			told := map[string]event.Flags{}
			tell := func(name string) func(*event.Event, event.Flags) {
				return func(_ *event.Event, what event.Flags) { told[name] |= what }
			}
			timer := eventFor(t, l, -1, kind, tell("timer"))
			reader := eventFor(t, l, fd, kind|event.Read, tell("reader"))
			asked := eventFor(t, l, -1, kind, tell("asked"))
			first := userEvent(t, l, 0, func() {
				for _, e := range []*event.Event{timer, reader, asked} {
					testkit.Must(t, e.SetTimeout(event.NoTimeout))
				}
			})
			testkit.Must(t, first.Activate(0))
			for _, e := range []*event.Event{timer, reader, asked} {
				testkit.Must(t, e.Add(time.Second))
			}
			testkit.Must(t, asked.Activate(event.Write))
			clock.Advance(time.Second)
			oneTurn(t, l)
			_, called := told["timer"]
			testkit.WantEqual(t, "the timer was called", called, false)
			testkit.WantEqual(t, "the timer is added", timer.Added(), true)
			testkit.WantEqual(t, "the reader was told", told["reader"], event.Read)
			testkit.WantEqual(t, "the activated event was told", told["asked"], event.Write)
		})
	}
}
