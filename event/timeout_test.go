package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// TestSetTimeoutIsReportedOnce: nothing renews it, neither the timeout itself nor a report of a condition.
func TestSetTimeoutIsReportedOnce(t *testing.T) {
	clock := newFakeClock()
	l := newLoop(t, &event.Config{Clock: clock})
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
			must(t, err)
		}
	})
	must(t, err)
	must(t, e.Add(event.NoTimeout))
	must(t, e.SetTimeout(10*time.Second))
	clock.Advance(9 * time.Second)
	_, err = b.Write([]byte("x"))
	must(t, err)
	must(t, l.RunNonblock())
	if left, ok := e.Remaining(); !ok || left != time.Second || reads != 1 {
		t.Fatalf("after a report %v, %v remain, %d reads; want 1s", left, ok, reads)
	}
	for range 5 {
		clock.Advance(time.Minute)
		must(t, l.RunNonblock())
	}
	if timeouts != 1 || reads != 1 {
		t.Errorf("%d timeouts, %d reads; want 1 and 1", timeouts, reads)
	}
	if !e.Added() {
		t.Error("the event is not added any more")
	}
}

func TestSetTimeoutReplacesAndRemoves(t *testing.T) {
	clock := newFakeClock()
	l := newLoop(t, &event.Config{Clock: clock})
	fired := 0
	e, err := l.NewTicker(func(*event.Event, event.Flags) { fired++ })
	must(t, err)
	wantErr(t, e.SetTimeout(time.Second), event.ErrNotAdded)
	must(t, e.Add(time.Second))
	wantErr(t, e.SetTimeout(-1), event.ErrInvalid)
	must(t, e.SetTimeout(time.Minute))
	clock.Advance(2 * time.Second)
	must(t, l.RunNonblock())
	if fired != 0 {
		t.Fatalf("the timeout that was replaced fired %d times", fired)
	}
	must(t, e.SetTimeout(event.NoTimeout))
	clock.Advance(time.Hour)
	must(t, l.RunNonblock())
	if fired != 0 || !e.Added() {
		t.Fatalf("fired %d times, added %v; want an event that waits for nothing", fired, e.Added())
	}
	must(t, e.SetTimeout(0))
	must(t, l.RunNonblock())
	must(t, l.RunNonblock())
	if fired != 1 || !e.Added() {
		t.Errorf("fired %d times, added %v; want once, and still added", fired, e.Added())
	}
	if events := l.Events(); len(events) != 1 || events[0] != e {
		t.Errorf("the loop lists %v", events)
	}
	must(t, e.Del())
}

// TestSetTimeoutWakes: a nearer deadline set by another goroutine ends the loop's sleep.
func TestSetTimeoutWakes(t *testing.T) {
	l := newLoop(t, nil)
	fired := make(chan event.Flags, 1)
	e, err := l.NewTicker(func(_ *event.Event, what event.Flags) { fired <- what })
	must(t, err)
	must(t, e.Add(time.Hour))
	background(t, l)
	must(t, e.SetTimeout(0))
	if what := await(t, fired, "the timeout"); what != event.Timeout {
		t.Errorf("told %v", what)
	}
}

func TestSetTimeoutCancelsAnUndeliveredTimeout(t *testing.T) {
	clock := newFakeClock()
	l := newLoop(t, &event.Config{Clock: clock})
	fired := 0
	var second *event.Event
	first, err := l.NewTimer(func(*event.Event, event.Flags) { must(t, second.SetTimeout(time.Minute)) })
	must(t, err)
	second, err = l.NewTicker(func(*event.Event, event.Flags) { fired++ })
	must(t, err)
	must(t, first.Add(time.Second))
	must(t, second.Add(time.Second))
	clock.Advance(2 * time.Second)
	must(t, l.RunNonblock())
	if fired != 0 {
		t.Errorf("the timeout was delivered %d times after it was replaced", fired)
	}
}

func TestSetTimeoutOfAnEndedEvent(t *testing.T) {
	l := newLoop(t, nil)
	e, err := l.NewTicker(func(*event.Event, event.Flags) {})
	must(t, err)
	must(t, e.Add(time.Hour))
	must(t, e.Finalize(func(*event.Event) {}))
	wantErr(t, e.SetTimeout(time.Second), event.ErrFinalized)
	other, err := l.NewTicker(func(*event.Event, event.Flags) {})
	must(t, err)
	must(t, other.Add(time.Hour))
	must(t, l.Close())
	wantErr(t, other.SetTimeout(time.Second), event.ErrClosed)
}

// SetTimeout with NoTimeout cancels a timeout that has passed and is not delivered yet, and no other flag of the pending call.
func TestRemovedTimeoutIsNotDelivered(t *testing.T) {
	for _, kind := range []event.Flags{0, event.Persist} {
		t.Run(kind.String(), func(t *testing.T) {
			clock := newFakeClock()
			l := newLoop(t, &event.Config{Clock: clock})
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
					must(t, e.SetTimeout(event.NoTimeout))
				}
			})
			must(t, first.Activate(0))
			for _, e := range []*event.Event{timer, reader, asked} {
				must(t, e.Add(time.Second))
			}
			must(t, asked.Activate(event.Write))
			clock.Advance(time.Second)
			oneTurn(t, l)
			_, called := told["timer"]
			wantEqual(t, "the timer was called", called, false)
			wantEqual(t, "the timer is added", timer.Added(), true)
			wantEqual(t, "the reader was told", told["reader"], event.Read)
			wantEqual(t, "the activated event was told", told["asked"], event.Write)
		})
	}
}
