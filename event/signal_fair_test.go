package event_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// owed delivers n signals to l while it does not run, and waits until it has received the first.
func owed(t testing.TB, l *event.Loop, sig syscall.Signal, n int) {
	t.Helper()
	before := l.Stats()
	for range n {
		raise(t, sig)
	}
	testkit.Until(t, "delivery", func() bool { return l.Stats().Active > before.Active })
}

// The budget bounds the calls for several deliveries of a signal, like those of several events.
func TestSignalCallsCountForTheBudget(t *testing.T) {
	const n, budget = 40, 3
	l := testkit.NewLoop(t, &event.Config{Budget: event.Budget{Callbacks: budget}})
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { calls++ })
	var other *event.Event
	others := 0
	other = userEvent(t, l, 0, func() {
		others++
		testkit.Must(t, other.Activate(0))
	})
	testkit.Must(t, other.Activate(0))
	owed(t, l, syscall.SIGUSR1, n)
	for deadline := time.Now().Add(testkit.Patience); calls < n; {
		before := calls
		oneTurn(t, l)
		if calls-before > budget {
			t.Fatalf("%d calls in one turn, budget %d", calls-before, budget)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d calls of %d", calls, n)
		}
	}
	if others < n/budget/2 {
		t.Errorf("an event beside the signal was called %d times in the meantime", others)
	}
	turns(t, l, 3)
	testkit.WantEqual(t, "calls", calls, n)
}

// A more urgent event is called before the next call for a further delivery of a signal.
func TestUrgentEventComesBetweenSignalCalls(t *testing.T) {
	const n = 10
	l := testkit.NewLoop(t, &event.Config{Priorities: 2})
	calls, at := 0, -1
	urgent := userEvent(t, l, 0, func() { at = calls })
	testkit.Must(t, urgent.SetPriority(0))
	e, err := l.NewSignal(syscall.SIGUSR1, func(*event.Event, event.Flags) {
		if calls++; calls == 1 {
			testkit.Must(t, urgent.Activate(0))
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.SetPriority(1))
	testkit.Must(t, e.Add(event.NoTimeout))
	owed(t, l, syscall.SIGUSR1, n)
	testkit.Until(t, "all calls", func() bool { oneTurn(t, l); return calls == n })
	testkit.WantEqual(t, "calls before the urgent one", at, 1)
}

// A timeout that passes while several calls for a signal are pending is reported once.
func TestTimeoutIsReportedOnceAmongSignalCalls(t *testing.T) {
	const n = 10
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	calls, timeouts := 0, 0
	e := newSignal(t, l, syscall.SIGUSR1, func(_ *event.Event, what event.Flags) {
		if calls++; what&event.Timeout != 0 {
			timeouts++
		}
	})
	testkit.Must(t, e.Add(time.Second))
	owed(t, l, syscall.SIGUSR1, n)
	clock.Advance(time.Second)
	testkit.Until(t, "all calls", func() bool { oneTurn(t, l); return calls >= n })
	turns(t, l, 3)
	testkit.WantEqual(t, "timeouts told", timeouts, 1)
	testkit.WantEqual(t, "calls", calls, n)
}

// Deliveries that a signal's own callback raises wait for the next turn, also where no budget bounds the turn.
func TestSignalRaisedInItsCallbackDoesNotProlongTheTurn(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Budget: event.Budget{MinPriority: 1}})
	calls := 0
	e, err := l.NewSignal(syscall.SIGUSR1, func(*event.Event, event.Flags) {
		calls++
		testkit.Must(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR1))
		testkit.Until(t, "delivery", func() bool { return l.Stats().Active > 0 })
	})
	testkit.Must(t, err)
	testkit.Must(t, e.SetPriority(0))
	testkit.Must(t, e.Add(event.NoTimeout))
	owed(t, l, syscall.SIGUSR1, 1)
	for range 5 {
		before := calls
		oneTurn(t, l)
		testkit.WantEqual(t, "calls in a turn", calls-before, 1)
	}
}

// Cancelling the timeout of a signal's event in its callback leaves the other pending calls for the signal.
func TestCancellingATimeoutLeavesSignalCalls(t *testing.T) {
	const n = 3
	for name, withdraw := range map[string]func(e *event.Event) error{
		"Add":                func(e *event.Event) error { return e.Add(time.Hour) },
		"SetTimeout":         func(e *event.Event) error { return e.SetTimeout(time.Hour) },
		"SetTimeout to none": func(e *event.Event) error { return e.SetTimeout(event.NoTimeout) },
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			calls := 0
			newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, what event.Flags) {
				testkit.WantEqual(t, "told", what, event.Signal)
				if calls++; calls == 1 {
					testkit.Must(t, e.Activate(event.Timeout))
					testkit.Must(t, withdraw(e))
				}
			})
			owed(t, l, syscall.SIGUSR1, n)
			testkit.Until(t, "the last call", func() bool { oneTurn(t, l); return calls >= n })
			turns(t, l, 3)
			testkit.WantEqual(t, "calls", calls, n)
		})
	}
}

// An event that stays active for further deliveries of its signal counts for MaxActive.
func TestMaxActiveCountsAnEventWithPendingSignalCalls(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	other := userEvent(t, l, 0, func() {})
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) {
		calls++
		testkit.Must(t, other.Activate(0))
		testkit.Must(t, l.Break())
	})
	owed(t, l, syscall.SIGUSR1, 8)
	oneTurn(t, l)
	if s := l.Stats(); s.MaxActive < s.Active {
		t.Errorf("MaxActive is %d while %d are active", s.MaxActive, s.Active)
	}
	testkit.WantEqual(t, "calls", calls, 1)
}

// An activation is no delivery: it shares the call of one that waits as of one that comes.
func TestActivationOfASignalSharesTheCallOfADelivery(t *testing.T) {
	for _, first := range []string{"activation", "delivery"} {
		t.Run(first+" first", func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			calls, others := 0, 0
			e := newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { calls++ })
			newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { others++ }) // is told last
			deliver := func() {
				raise(t, syscall.SIGUSR1)
				testkit.Until(t, "delivery", func() bool { return l.Stats().Active == 2 })
			}
			if first == "delivery" {
				deliver()
			}
			for range 3 {
				testkit.Must(t, e.Activate(event.Signal))
			}
			if first == "activation" {
				deliver()
			}
			turns(t, l, 3)
			testkit.WantEqual(t, "calls", calls, 1)
			testkit.WantEqual(t, "calls of the other event", others, 1)
		})
	}
}
