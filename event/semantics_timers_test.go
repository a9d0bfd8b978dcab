package event_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

const ms = time.Millisecond

// wantRemaining compares the time that e's timeout has left.
func wantRemaining(t testing.TB, e *event.Event, want time.Duration) {
	t.Helper()
	if d, ok := e.Remaining(); !ok || d != want {
		t.Fatalf("remaining %v, %v; want %v", d, ok, want)
	}
}

// A ticker that is called late is due next as if it had been called in time.
func TestPersistentTimeoutDoesNotDrift(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var at []time.Duration
	e, err := l.NewTicker(func(*event.Event, event.Flags) { at = append(at, clock.Now()) })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(10*ms))
	for range 5 {
		clock.Advance(7 * ms)
		oneTurn(t, l)
	}
	// Due at 10, 20 and 30, seen at 14, 21 and 35.
	if want := []time.Duration{14 * ms, 21 * ms, 35 * ms}; !slices.Equal(at, want) {
		t.Fatalf("called at %v, want %v", at, want)
	}
	wantRemaining(t, e, 5*ms)
}

// However long the loop stood still, one call catches up, and the next is due a whole interval after it.
func TestPersistentTimeoutCatchesUpOnce(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	called := 0
	e, err := l.NewTicker(func(*event.Event, event.Flags) { called++ })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(10*ms))
	clock.Advance(55 * ms)
	for range 3 {
		oneTurn(t, l)
	}
	if called != 1 {
		t.Fatalf("called %d times after a stop of five intervals, want 1", called)
	}
	wantRemaining(t, e, 10*ms)
}

// A persistent event that something else than its timeout calls waits for a whole interval from there.
func TestPersistentTimeoutCountsFromTheCallOfAnotherCause(t *testing.T) {
	for _, cause := range []event.Flags{event.Read, event.Write, event.Timeout, 0} {
		t.Run(cause.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			a, b := socketpair(t)
			fd := fdOf(t, a)
			var told []event.Flags
			e, err := l.NewEvent(fd, event.Read|event.Persist, func(_ *event.Event, what event.Flags) {
				told = append(told, what)
				readAll(fd)
			})
			testkit.Must(t, err)
			testkit.Must(t, e.Add(10*ms))
			clock.Advance(4 * ms)
			if cause == event.Read {
				makeReadable(t, b)
			} else {
				testkit.Must(t, e.Activate(cause))
			}
			oneTurn(t, l)
			wantRemaining(t, e, 10*ms)
			clock.Advance(10*ms - 1)
			oneTurn(t, l)
			clock.Advance(1)
			oneTurn(t, l)
			if want := []event.Flags{cause, event.Timeout}; !slices.Equal(told, want) {
				t.Fatalf("told %v, want %v", told, want)
			}
		})
	}
}

// The interval counts from the event's own call and not from the turn's beginning: what other callbacks of the turn
// have spent is not taken from it.
func TestPersistentTimeoutIsNotShortenedByTheTurn(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	slow := calls.user(t, l, "slow", func() { clock.Advance(30 * ms) })
	e := calls.event(t, l, "idle", -1, event.Persist, nil)
	testkit.Must(t, e.Add(10*ms))
	activateAll(t, slow, e)
	oneTurn(t, l)
	calls.want(t, "slow", "idle")
	wantRemaining(t, e, 10*ms)
}

// The timeout of a persistent event is restarted before its callback, so changes in the callback take effect.
func TestRearmPrecedesTheCallback(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(e *event.Event) error
		at   []time.Duration // when it is called
	}{
		{"left alone", func(*event.Event) error { return nil }, []time.Duration{10 * ms, 20 * ms, 30 * ms, 40 * ms}},
		{"Del", (*event.Event).Del, []time.Duration{10 * ms}},
		{"Add", func(e *event.Event) error { return e.Add(15 * ms) }, []time.Duration{10 * ms, 25 * ms, 40 * ms}},
		{"SetTimeout to none", func(e *event.Event) error { return e.SetTimeout(event.NoTimeout) }, []time.Duration{10 * ms}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			var at []time.Duration
			e, err := l.NewTicker(func(e *event.Event, _ event.Flags) {
				if _, ok := e.Remaining(); !ok {
					t.Error("not timed again when the callback begins")
				}
				at = append(at, clock.Now())
				testkit.Must(t, c.act(e))
			})
			testkit.Must(t, err)
			testkit.Must(t, e.Add(10*ms))
			for range 40 {
				clock.Advance(ms)
				oneTurn(t, l)
			}
			if !slices.Equal(at, c.at) {
				t.Fatalf("called at %v, want %v", at, c.at)
			}
		})
	}
}

// On an event that is added already, NoTimeout keeps the timeout as it is.
func TestAddWithoutTimeoutKeepsTheTimeout(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, _ := socketpair(t)
	var calls journal
	timer := calls.user(t, l, "timer", nil)
	ticker := calls.event(t, l, "ticker", -1, event.Persist, nil)
	idle := calls.event(t, l, "idle", fdOf(t, a), event.Read|event.Persist, nil)
	events := []*event.Event{timer, ticker, idle}
	for _, e := range events {
		testkit.Must(t, e.Add(10*ms))
	}
	clock.Advance(6 * ms)
	for _, e := range events {
		testkit.Must(t, e.Add(event.NoTimeout))
		wantRemaining(t, e, 4*ms)
	}
	clock.Advance(4 * ms)
	oneTurn(t, l)
	calls.want(t, "timer", "ticker", "idle")
	clock.Advance(10 * ms)
	oneTurn(t, l)
	calls.want(t, "ticker", "idle")
}

// A timeout on an event that is added already replaces the former one, be it sooner or later.
func TestAddReplacesTheTimeout(t *testing.T) {
	for _, d := range []time.Duration{3 * ms, 10 * ms} {
		t.Run(d.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			var calls journal
			e := calls.event(t, l, "ticker", -1, event.Persist, nil)
			testkit.Must(t, e.Add(10*ms))
			clock.Advance(6 * ms)
			testkit.Must(t, e.Add(d))
			wantRemaining(t, e, d)
			for range 2 { // the interval is replaced too
				clock.Advance(d - 1)
				oneTurn(t, l)
				calls.want(t)
				clock.Advance(1)
				oneTurn(t, l)
				calls.want(t, "ticker")
			}
		})
	}
}

// A new timeout cancels a Timeout that has passed and is not delivered yet; there is one call when the new one passes.
func TestAddCancelsAnUndeliveredTimeout(t *testing.T) {
	for _, flags := range []event.Flags{0, event.Persist} {
		t.Run(flags.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			var calls journal
			var second *event.Event
			first := calls.user(t, l, "first", func() { testkit.Must(t, second.Add(5*ms)) })
			second = calls.event(t, l, "second", -1, flags, nil)
			testkit.Must(t, first.Add(10*ms))
			testkit.Must(t, second.Add(10*ms))
			clock.Advance(10 * ms)
			oneTurn(t, l)
			oneTurn(t, l)
			calls.want(t, "first")
			clock.Advance(5 * ms)
			oneTurn(t, l)
			oneTurn(t, l)
			calls.want(t, "second")
		})
	}
}

// So it is in the event's own callback.
func TestAddInTheCallbackCancelsItsTimeout(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	var e *event.Event
	e = calls.event(t, l, "event", -1, event.Persist, func() {
		if len(calls) == 1 {
			testkit.Must(t, e.Activate(event.Timeout))
			testkit.Must(t, e.Add(time.Hour))
		}
	})
	activateAll(t, e)
	oneTurn(t, l)
	oneTurn(t, l)
	calls.want(t, "event")
}

// Only the Timeout is cancelled: a readiness reported in the same turn is delivered.
func TestAddCancelsOnlyTheTimeout(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, b := socketpair(t)
	var second *event.Event
	first, err := l.NewTimer(func(*event.Event, event.Flags) { testkit.Must(t, second.Add(5*ms)) })
	testkit.Must(t, err)
	var told []event.Flags
	second, err = l.NewEvent(fdOf(t, a), event.Read, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, err)
	testkit.Must(t, second.Add(10*ms))
	testkit.Must(t, first.Activate(0)) // before the readiness, and so the first to be called
	makeReadable(t, b)
	clock.Advance(10 * ms)
	oneTurn(t, l)
	if !slices.Equal(told, []event.Flags{event.Read}) {
		t.Fatalf("told %v, want Read once", told)
	}
}

// NoTimeout takes nothing back.
func TestAddWithoutTimeoutKeepsAnUndeliveredTimeout(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	var second *event.Event
	first := calls.user(t, l, "first", func() { testkit.Must(t, second.Add(event.NoTimeout)) })
	second = calls.user(t, l, "second", nil)
	testkit.Must(t, first.Add(10*ms))
	testkit.Must(t, second.Add(10*ms))
	clock.Advance(10 * ms)
	oneTurn(t, l)
	calls.want(t, "first", "second")
}

// A readiness and a timeout of the same turn are one call with both flags.
func TestReadinessAndTimeoutOfATurnAreOneCall(t *testing.T) {
	for _, flags := range []event.Flags{event.Read, event.Read | event.Persist} {
		t.Run(flags.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			a, b := socketpair(t)
			fd := fdOf(t, a)
			var told []event.Flags
			e, err := l.NewEvent(fd, flags, func(_ *event.Event, what event.Flags) {
				told = append(told, what)
				readAll(fd)
			})
			testkit.Must(t, err)
			testkit.Must(t, e.Add(10*ms))
			makeReadable(t, b)
			clock.Advance(10 * ms)
			oneTurn(t, l)
			oneTurn(t, l)
			if want := []event.Flags{event.Read | event.Timeout}; !slices.Equal(told, want) {
				t.Fatalf("told %v, want %v", told, want)
			}
		})
	}
}

// Descriptors are called before the timers of the same turn.
func TestDescriptorsComeBeforeTimers(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, b := socketpair(t)
	var calls journal
	testkit.Must(t, calls.user(t, l, "timer", nil).Add(10*ms))
	testkit.Must(t, calls.event(t, l, "descriptor", fdOf(t, a), event.Read, nil).Add(event.NoTimeout))
	clock.Advance(10 * ms)
	makeReadable(t, b)
	oneTurn(t, l)
	calls.want(t, "descriptor", "timer")
}

// A timeout counts from the time of Add; the time that the turn has taken before does not shorten it. Now stays the turn's.
func TestTimeoutCountsFromTheMomentOfAdd(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	timer := calls.user(t, l, "timer", nil)
	slow := calls.user(t, l, "slow", func() {
		began := l.Now()
		clock.Advance(30 * ms)
		if l.Now() != began {
			t.Errorf("Now went from %v to %v inside a turn", began, l.Now())
		}
		testkit.Must(t, timer.Add(10*ms))
		wantRemaining(t, timer, 10*ms)
	})
	activateAll(t, slow)
	oneTurn(t, l)
	clock.Advance(10*ms - 1)
	oneTurn(t, l)
	calls.want(t, "slow")
	clock.Advance(1)
	oneTurn(t, l)
	calls.want(t, "timer")
}

// By the system's clock, too, a timeout may be late but is never early.
func TestTimeoutIsNeverEarly(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for d := time.Duration(0); d < 12*ms; d += 173 * time.Microsecond {
		began := time.Now()
		_, err := l.AfterFunc(d, func() {
			if took := time.Since(began); took < d {
				t.Errorf("a timeout of %v came after %v", d, took)
			}
		})
		testkit.Must(t, err)
	}
	testkit.Run(t, l)
}

// Timers that are due at the same moment are called in the order of Add.
func TestEqualDeadlinesFireInOrderOfAdd(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	var want []string
	var dropped []*event.Event
	for i := range 300 {
		name := fmt.Sprint(i)
		e := calls.user(t, l, name, nil)
		testkit.Must(t, e.Add(30*ms-clock.Now()))
		if rand.IntN(3) == 0 {
			dropped = append(dropped, e)
		} else {
			want = append(want, name)
		}
		if i%100 == 99 {
			clock.Advance(10 * ms) // the later ones have less to wait
		}
	}
	rand.Shuffle(len(dropped), func(i, j int) { dropped[i], dropped[j] = dropped[j], dropped[i] })
	for _, e := range dropped {
		testkit.Must(t, e.Del())
	}
	oneTurn(t, l)
	calls.want(t, want...)
}

// A timeout that is replaced takes its place anew, also when the deadline is the same.
func TestReplacedTimeoutQueuesBehindEqualOnes(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var calls journal
	moved, stays, pulled := calls.user(t, l, "moved", nil), calls.user(t, l, "stays", nil), calls.user(t, l, "pulled", nil)
	testkit.Must(t, pulled.Add(50*ms))
	testkit.Must(t, moved.Add(10*ms))
	testkit.Must(t, stays.Add(20*ms))
	testkit.Must(t, moved.Add(20*ms))
	testkit.Must(t, pulled.Add(20*ms))
	clock.Advance(20 * ms)
	oneTurn(t, l)
	calls.want(t, "stays", "moved", "pulled")
}

// Once without a condition and with timeout 0 comes in the order of Once.
func TestOnceWithoutConditionKeepsOrder(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	var want []string
	for i := range 50 {
		name := fmt.Sprint(i)
		want = append(want, name)
		_, err := l.Once(-1, 0, 0, func(event.Flags) { calls.note(name) })
		testkit.Must(t, err)
	}
	testkit.Run(t, l)
	calls.want(t, want...)
}
