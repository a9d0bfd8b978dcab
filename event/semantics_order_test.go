package event_test

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// urgent makes a user's event of the given priority.
func (j *journal) urgent(t testing.TB, l *event.Loop, name string, priority int, also func()) *event.Event {
	t.Helper()
	e := j.user(t, l, name, also)
	testkit.Must(t, e.SetPriority(priority))
	return e
}

// Until the callback is called, activations and reports add their flags to one call.
func TestRepeatedActivateIsOneCall(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	fd := fdOf(t, a)
	var told []event.Flags
	e, err := l.NewEvent(fd, event.Read|event.Persist, func(_ *event.Event, what event.Flags) {
		told = append(told, what)
		readAll(fd)
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.Activate(event.Write))
	testkit.Must(t, e.Activate(0))
	testkit.Must(t, e.Activate(event.Timeout))
	makeReadable(t, b)
	oneTurn(t, l)
	oneTurn(t, l)
	if want := []event.Flags{event.Read | event.Write | event.Timeout}; !slices.Equal(told, want) {
		t.Fatalf("told %v, want %v", told, want)
	}
}

// A signal's activations are one call as well; only the system's own deliveries are counted.
func TestRepeatedActivateSignalIsOneCall(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	e := calls.event(t, l, "signal", int(unix.SIGUSR1), event.Signal|event.Persist, nil)
	testkit.Must(t, e.Add(event.NoTimeout))
	for range 3 {
		testkit.Must(t, l.ActivateSignal(e.FD()))
		testkit.Must(t, e.Activate(event.Signal))
	}
	oneTurn(t, l)
	oneTurn(t, l)
	calls.want(t, "signal")
}

// An event that activates itself is called once in a turn, and the loop looks at its descriptors in between.
func TestSelfActivationDoesNotDelayDescriptors(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	var calls journal
	var selfish *event.Event
	selfish = calls.user(t, l, "selfish", func() { activateAll(t, selfish) })
	testkit.Must(t, calls.event(t, l, "descriptor", fdOf(t, a), event.Read, nil).Add(event.NoTimeout))
	activateAll(t, selfish)
	oneTurn(t, l)
	calls.want(t, "selfish")
	makeReadable(t, b)
	oneTurn(t, l)
	calls.want(t, "selfish", "descriptor")
}

// An event that a callback makes active waits for the next turn, even if there is nothing else to call.
func TestActivationInACallbackWaitsForTheNextTurn(t *testing.T) {
	for _, c := range []struct {
		name        string
		act         func(second, other *event.Event) // in the callback of the first of three
		first, next []string                         // what the two turns call
	}{
		{"another", func(_, other *event.Event) { activateAll(t, other) },
			[]string{"first", "second", "third"}, []string{"other"}},
		{"another in the place of a deleted one", func(second, other *event.Event) { testkit.Must(t, second.Del()); activateAll(t, other) },
			[]string{"first", "third"}, []string{"other"}},
		{"the deleted one itself", func(second, _ *event.Event) { testkit.Must(t, second.Del()); activateAll(t, second) },
			[]string{"first", "third"}, []string{"second"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			var calls journal
			var second, other *event.Event
			first := calls.user(t, l, "first", func() { c.act(second, other) })
			second, other = calls.user(t, l, "second", nil), calls.user(t, l, "other", nil)
			activateAll(t, first, second, calls.user(t, l, "third", nil))
			oneTurn(t, l)
			calls.want(t, c.first...)
			oneTurn(t, l)
			calls.want(t, c.next...)
		})
	}
}

// A function that a posted function posts, and a timer of 0 that a timer's callback adds, wait for the next turn.
func TestChainsOfPostsAndTimersGiveWayToDescriptors(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	a, b := socketpair(t)
	var calls journal
	chain := func() {}
	chain = func() { calls.note("post"); testkit.Must(t, l.Post(func() { chain() })) }
	testkit.Must(t, l.Post(func() { chain() }))
	defer func() { chain = func() {} }()
	var timer *event.Event
	timer = calls.user(t, l, "timer", func() { testkit.Must(t, timer.Add(0)) })
	testkit.Must(t, timer.Add(0))
	testkit.Must(t, calls.event(t, l, "descriptor", fdOf(t, a), event.Read, nil).Add(event.NoTimeout))
	oneTurn(t, l)
	calls.want(t, "post", "timer")
	makeReadable(t, b)
	oneTurn(t, l)
	calls.want(t, "post", "descriptor", "timer")
}

// The loop looks at its descriptors again before it calls a lower priority: what a callback has made ready comes first.
func TestLoopPollsBeforeALowerPriority(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	a, b := socketpair(t)
	var calls journal
	ready := calls.event(t, l, "descriptor", fdOf(t, a), event.Read, nil)
	testkit.Must(t, ready.SetPriority(0))
	testkit.Must(t, ready.Add(event.NoTimeout))
	low, middle := calls.urgent(t, l, "low", 2, nil), calls.urgent(t, l, "middle", 1, nil)
	high, high2 := calls.urgent(t, l, "high", 0, func() { makeReadable(t, b) }), calls.urgent(t, l, "high 2", 0, nil)
	activateAll(t, low, middle, high, high2)
	for _, turn := range [][]string{{"high", "high 2"}, {"descriptor"}, {"middle"}, {"low"}, nil} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}

// A callback that activates something more urgent is the last of its priority in this turn.
func TestUrgentActivationEndsTheLevel(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2})
	var calls journal
	high := calls.urgent(t, l, "high", 0, nil)
	low, low2 := calls.urgent(t, l, "low", 1, func() { activateAll(t, high) }), calls.urgent(t, l, "low 2", 1, nil)
	activateAll(t, low, low2)
	for _, turn := range [][]string{{"low"}, {"high"}, {"low 2"}, nil} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}

// That holds among posted functions, too: they are called at the middle priority.
func TestUrgentActivationInterruptsPosts(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	var calls journal
	high := calls.urgent(t, l, "high", 0, nil)
	testkit.Must(t, l.Post(func() { calls.note("post"); activateAll(t, high) }))
	testkit.Must(t, l.Post(func() { calls.note("post 2") }))
	for range 4 {
		oneTurn(t, l)
	}
	calls.want(t, "post", "high", "post 2")
}

// A turn makes no more calls than the budget allows; the others follow in the next turns, in order.
func TestBudgetCapsTheCallbacksOfATurn(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Budget: event.Budget{Callbacks: 2}})
	var calls journal
	for _, name := range []string{"1", "2", "3", "4", "5"} {
		activateAll(t, calls.user(t, l, name, nil))
	}
	for _, turn := range [][]string{{"1", "2"}, {"3", "4"}, {"5"}, nil} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}

// Due timers and posted functions are under the same budget.
func TestBudgetCapsTimersAndPosts(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Budget: event.Budget{Callbacks: 2}})
	var calls journal
	for _, name := range []string{"1", "2", "3"} {
		testkit.Must(t, calls.user(t, l, name, nil).Add(ms))
	}
	clock.Advance(ms)
	for _, turn := range [][]string{{"1", "2"}, {"3"}, nil} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
	for _, name := range []string{"1", "2", "3"} {
		testkit.Must(t, l.Post(func() { calls.note(name) }))
	}
	for _, turn := range [][]string{{"1", "2"}, {"3"}, nil} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}

// The budget holds from MinPriority on; what is more urgent is not counted.
func TestBudgetExemptsUrgentEvents(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Budget: event.Budget{Callbacks: 1, MinPriority: 1}})
	var calls journal
	activateAll(t, calls.urgent(t, l, "low", 1, nil), calls.urgent(t, l, "low 2", 1, nil))
	for _, name := range []string{"1", "2", "3"} {
		activateAll(t, calls.urgent(t, l, name, 0, nil))
	}
	for _, turn := range [][]string{{"1", "2", "3"}, {"low"}, {"low 2"}} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}

// An urgent event is exempt whatever activates it, also a timeout.
func TestBudgetExemptsUrgentTimers(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 2, Budget: event.Budget{Callbacks: 1, MinPriority: 1}})
	var calls journal
	for _, name := range []string{"1", "2", "3"} {
		testkit.Must(t, calls.urgent(t, l, name, 0, nil).Add(ms))
	}
	clock.Advance(ms)
	oneTurn(t, l)
	calls.want(t, "1", "2", "3")
}

// A turn ends after the callback in which the budget's time is exceeded; one callback runs in any case.
func TestBudgetTimeEndsATurn(t *testing.T) {
	for _, c := range []struct {
		budget time.Duration
		turns  [][]string
	}{
		{1, [][]string{{"1"}, {"2"}, {"3"}, nil}},
		{15 * ms, [][]string{{"1", "2"}, {"3"}, nil}},
		{time.Hour, [][]string{{"1", "2", "3"}, nil}},
	} {
		t.Run(c.budget.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock, Budget: event.Budget{Time: c.budget}})
			var calls journal
			for _, name := range []string{"1", "2", "3"} {
				activateAll(t, calls.user(t, l, name, func() { clock.Advance(10 * ms) }))
			}
			for _, turn := range c.turns {
				oneTurn(t, l)
				calls.want(t, turn...)
			}
		})
	}
}

// Posted functions count for Budget.Time as other callbacks do.
func TestBudgetTimeHoldsForPosts(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Budget: event.Budget{Time: 15 * ms}})
	var calls journal
	for _, name := range []string{"1", "2", "3"} {
		testkit.Must(t, l.Post(func() { calls.note(name); clock.Advance(10 * ms) }))
	}
	for _, turn := range [][]string{{"1", "2"}, {"3"}, nil} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}

// More urgent events are exempt from the budget's time as well.
func TestBudgetTimeExemptsUrgentEvents(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 2, Budget: event.Budget{Time: ms, MinPriority: 1}})
	var calls journal
	for _, name := range []string{"1", "2", "3"} {
		activateAll(t, calls.urgent(t, l, name, 0, func() { clock.Advance(10 * ms) }))
	}
	oneTurn(t, l)
	calls.want(t, "1", "2", "3")
}

// Continue holds for the turn that it was called in; without a Run it is not kept.
func TestContinueIsNotKept(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls journal
	l.Continue()
	activateAll(t, calls.user(t, l, "first", nil), calls.user(t, l, "second", l.Continue), calls.user(t, l, "third", nil), calls.user(t, l, "fourth", nil))
	for _, turn := range [][]string{{"first", "second"}, {"third", "fourth"}} {
		oneTurn(t, l)
		calls.want(t, turn...)
	}
}
