package event_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// floodSize is more than the callbacks of many turns.
const floodSize = 20 * event.DefaultCallbacks

// dueTimers adds n timers of the priority that are due at once and count their calls.
func dueTimers(t testing.TB, l *event.Loop, n, priority int, calls *int) {
	t.Helper()
	for range n {
		e := userEvent(t, l, 0, func() { *calls++ })
		testkit.Must(t, e.SetPriority(priority))
		testkit.Must(t, e.Add(0))
	}
}

// However many less urgent timers are due, an urgent one is called in the next turn, and first; also if its priority was set after it
// was added.
func TestUrgentTimerIsCalledInTheNextTurnWhateverIsDue(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("priority set late: %v", late), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Priorities: 3, Clock: clock})
			others, before := 0, -1
			urgent := userEvent(t, l, 0, func() { before = others })
			dueTimers(t, l, floodSize, 1, &others)
			dueTimers(t, l, floodSize, 2, &others)
			if !late {
				testkit.Must(t, urgent.SetPriority(0))
			}
			testkit.Must(t, urgent.Add(time.Nanosecond)) // after all others
			if late {
				testkit.Must(t, urgent.SetPriority(0))
			}
			clock.Advance(time.Nanosecond)
			oneTurn(t, l)
			testkit.WantEqual(t, "calls before the urgent timer's", before, 0)
			testkit.Run(t, l)
			testkit.WantEqual(t, "calls", others, 2*floodSize)
		})
	}
}

// An urgent timer that becomes due while a flood is being called comes in the next turn, too.
func TestUrgentTimerThatComesDuringAFloodIsCalledInTheNextTurn(t *testing.T) {
	const budget = 16
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Clock: clock, Budget: event.Budget{Callbacks: budget}})
	others, before := 0, -1
	dueTimers(t, l, 100*budget, 1, &others)
	clock.Advance(1)
	turns(t, l, 3)
	urgent := userEvent(t, l, 0, func() { before = others })
	testkit.Must(t, urgent.SetPriority(0))
	testkit.Must(t, urgent.Add(time.Second))
	turns(t, l, 1)
	clock.Advance(time.Second)
	turns(t, l, 1)
	testkit.WantEqual(t, "calls before the urgent timer's", before, 4*budget)
}

// A priority that the budget exempts has all its due timers called in the next turn, regardless of other due timers.
func TestExemptTimersAreCalledInTheNextTurnWhateverIsDue(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Clock: clock, Budget: event.Budget{Callbacks: 8, MinPriority: 1}})
	others, exempt := 0, 0
	dueTimers(t, l, floodSize, 1, &others)
	dueTimers(t, l, 1000, 0, &exempt)
	clock.Advance(1)
	oneTurn(t, l)
	testkit.WantEqual(t, "exempt calls", exempt, 1000)
	testkit.WantEqual(t, "other calls", others, 0)
	oneTurn(t, l)
	testkit.WantEqual(t, "other calls", others, 8)
}

// An Exit ends the run with the turn in which it is due, regardless of other due timers and their priorities.
func TestExitThatIsDueIsNotDelayedByDueTimers(t *testing.T) {
	for priority := range 2 {
		clock := testkit.NewClock()
		l := testkit.NewLoop(t, &event.Config{Priorities: 2, Clock: clock})
		calls := 0
		dueTimers(t, l, floodSize, priority, &calls)
		testkit.Must(t, l.Exit(time.Nanosecond)) // after all others
		clock.Advance(1)
		before := l.Stats().Turns
		testkit.Must(t, l.RunForever(inPatience(t)))
		testkit.WantEqual(t, "turns", l.Stats().Turns-before, 1)
		testkit.WantEqual(t, "GotExit", l.GotExit(), true)
		testkit.WantEqual(t, "calls", calls, event.DefaultCallbacks)
	}
}

// An event that is ready and timed out is called once, with both, and a ticker's next interval counts from the timeout; also when
// more timers are due than a turn calls.
func TestReadyAndTimedOutIsOneCallAmongManyTimers(t *testing.T) {
	for _, persist := range []event.Flags{0, event.Persist} {
		t.Run(persist.String(), func(t *testing.T) {
			clock := testkit.NewClock()
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			others := 0
			dueTimers(t, l, 2*event.DefaultCallbacks, 0, &others)
			var told []event.Flags
			e := eventFor(t, l, readable(t), event.Read|persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
			testkit.Must(t, e.Add(10*time.Millisecond))
			clock.Advance(12 * time.Millisecond)
			oneTurn(t, l)
			wantOrder(t, told, event.Read|event.Timeout)
			if left, ok := e.Remaining(); ok != (persist != 0) || ok && left != 8*time.Millisecond {
				t.Errorf("%v until the next timeout, %v", left, ok)
			}
			testkit.Must(t, e.Del())
			testkit.Run(t, l)
			testkit.WantEqual(t, "timers called", others, 2*event.DefaultCallbacks)
			testkit.WantEqual(t, "calls", len(told), 1)
		})
	}
}

// An active event that times out before its call is called once, with both, also if turns pass in between.
func TestActiveEventThatTimesOutMeanwhileIsCalledOnce(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Clock: clock})
	busy := userEvent(t, l, 0, func() {})
	testkit.Must(t, busy.SetPriority(0))
	var told []event.Flags
	e := eventFor(t, l, -1, 0, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, e.Add(time.Second))
	testkit.Must(t, e.Activate(event.Read))
	for range 3 {
		testkit.Must(t, busy.Activate(0))
		oneTurn(t, l)
	}
	clock.Advance(time.Second)
	testkit.Must(t, busy.Activate(0))
	turns(t, l, 3)
	wantOrder(t, told, event.Read|event.Timeout)
}

// A turn makes no more timers active than it may call, so that what it finds costs no more than what it does.
func TestTurnMakesNoMoreTimersActiveThanItsBudget(t *testing.T) {
	const budget = 50
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Priorities: 4, Clock: clock, Budget: event.Budget{Callbacks: budget}})
	calls := 0
	for priority := range 4 {
		dueTimers(t, l, 10*budget, priority, &calls)
	}
	clock.Advance(1)
	for turn := range 40 {
		before := l.Stats()
		oneTurn(t, l)
		testkit.WantEqual(t, "timeouts of a turn", l.Stats().Timeouts-before.Timeouts, budget)
		testkit.WantEqual(t, "calls", calls, (turn+1)*budget)
	}
}

// Timers that were renewed over and over do not fire, nor delay what is due, when their first deadlines pass together.
func TestRenewedTimersDoNotDelayWhatIsDue(t *testing.T) {
	const n = 5000
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, Clock: clock})
	renewed := make([]*event.Event, n)
	for i := range renewed {
		renewed[i] = silent(t, l, -1, event.Persist)
		testkit.Must(t, renewed[i].Add(time.Minute))
	}
	clock.Advance(30 * time.Second)
	for _, e := range renewed {
		testkit.Must(t, e.Add(time.Minute))
	}
	fired := 0
	same := userEvent(t, l, 0, func() { fired++ })
	urgent := userEvent(t, l, 0, func() { fired++ })
	testkit.Must(t, urgent.SetPriority(0))
	testkit.Must(t, same.Add(45*time.Second))
	testkit.Must(t, urgent.Add(45*time.Second))
	clock.Advance(45 * time.Second)
	oneTurn(t, l)
	testkit.WantEqual(t, "called", fired, 1)
	turns(t, l, n/1000+1)
	testkit.WantEqual(t, "called", fired, 2)
	passTime(t, l, clock, 14*time.Second)
	if d, ok := l.PollTimeout(); d != time.Second || !ok {
		t.Errorf("the loop would sleep for %v, %v", d, ok)
	}
}

// An urgent descriptor among thousands of ready ones is called before most of them: once the loop has had many reports, it takes
// them all in one turn.
func TestUrgentDescriptorIsCalledWithinTurnsWhateverIsReady(t *testing.T) {
	const n = 6000
	p := newScriptPoller()
	l := testkit.NewLoop(t, &event.Config{Priorities: 2, OpenPoller: p.open, Driver: event.DriverThread})
	others, before := 0, -1
	for fd := range n {
		e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) { others++ })
		testkit.Must(t, e.SetPriority(1))
		testkit.Must(t, e.Add(event.NoTimeout))
		p.report(fd, event.Read)
	}
	urgent := eventFor(t, l, n, event.Read, func(*event.Event, event.Flags) { before = others })
	testkit.Must(t, urgent.SetPriority(0))
	testkit.Must(t, urgent.Add(event.NoTimeout))
	p.report(n, event.Read) // the last
	turns(t, l, 3)
	if before < 0 || before > 2*event.DefaultCallbacks {
		t.Errorf("the urgent descriptor was called after %d others", before)
	}
	turns(t, l, n/event.DefaultCallbacks+1)
	testkit.WantEqual(t, "calls", others, n)
}

// RunOnce calls all timers that are due, however many turns that takes, and then returns.
func TestRunOnceCallsAllTimersThatAreDue(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	calls := 0
	dueTimers(t, l, floodSize, 0, &calls)
	testkit.Must(t, silent(t, l, -1, 0).Add(time.Hour))
	clock.Advance(1)
	testkit.Must(t, l.RunOnce(inPatience(t)))
	testkit.WantEqual(t, "calls", calls, floodSize)
}

// armedClock counts how often a loop has set its alarm.
type armedClock struct {
	*testkit.Clock
	armed atomic.Int64
}

func (c *armedClock) AfterFunc(d time.Duration, f func()) event.ClockTimer {
	c.armed.Add(1)
	return armedTimer{c.Clock.AfterFunc(d, f), c}
}

type armedTimer struct {
	event.ClockTimer
	clock *armedClock
}

func (t armedTimer) Reset(d time.Duration) bool {
	t.clock.armed.Add(1)
	return t.ClockTimer.Reset(d)
}

// A loop does not sleep between the turns that due timers take; before the first it has not looked yet.
func TestLoopDoesNotSleepWhileTimersAreDue(t *testing.T) {
	clock := &armedClock{Clock: testkit.NewClock()}
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	calls := 0
	dueTimers(t, l, floodSize, 0, &calls)
	clock.Advance(1)
	testkit.Run(t, l)
	testkit.WantEqual(t, "calls", calls, floodSize)
	if n := clock.armed.Load(); n > 1 {
		t.Errorf("the loop fell asleep %d times", n)
	}
}
