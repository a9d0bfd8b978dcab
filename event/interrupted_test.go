package event_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Interrupted is true in a callback once something more urgent has become active; not for equally or less urgent events, and not
// in the next turn.
func TestInterruptedReportsAMoreUrgentEvent(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	at := func(priority int, fn func()) *event.Event {
		e := userEvent(t, l, 0, fn)
		testkit.Must(t, e.SetPriority(priority))
		return e
	}
	urgent, equal, less := at(0, func() {}), at(1, func() {}), at(2, func() {})
	var said []bool
	long := at(1, func() {
		for _, e := range []*event.Event{less, equal, urgent} {
			testkit.Must(t, e.Activate(0))
			said = append(said, l.Interrupted())
		}
	})
	testkit.Must(t, long.Activate(0))
	oneTurn(t, l)
	wantOrder(t, said, false, false, true)
	testkit.WantEqual(t, "Interrupted between turns", l.Interrupted(), false)
	said = nil
	turns(t, l, 3)
	check := at(1, func() { said = append(said, l.Interrupted()) })
	testkit.Must(t, check.Activate(0))
	oneTurn(t, l)
	wantOrder(t, said, false)
}

// Interrupted is true once Budget.Time has passed, except in a priority that the budget exempts.
func TestInterruptedReportsThatBudgetTimeHasPassed(t *testing.T) {
	for priority, want := range []bool{false, true} {
		clock := testkit.NewClock()
		l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 2, Budget: event.Budget{Time: time.Millisecond, MinPriority: 1}})
		var said []bool
		e := userEvent(t, l, 0, func() {
			for range 3 {
				said = append(said, l.Interrupted())
				clock.Advance(time.Millisecond / 2)
			}
		})
		testkit.Must(t, e.SetPriority(priority))
		for range 2 {
			testkit.Must(t, e.Activate(0))
			oneTurn(t, l)
			wantOrder(t, said, false, false, want)
			said = nil
		}
		testkit.WantEqual(t, "Interrupted between turns", l.Interrupted(), false)
	}
}

// A negative time, as of a moment that has passed, makes AfterFunc call at once, as time.AfterFunc does.
func TestAfterFuncOfATimeThatHasPassedCallsInTheNextTurn(t *testing.T) {
	for _, d := range []time.Duration{-1, -time.Hour, -event.NoTimeout, 0} {
		l := testkit.NewLoop(t, nil)
		called := 0
		e, err := l.AfterFunc(d, func() { called++ })
		testkit.Must(t, err)
		testkit.WantEqual(t, "added", e.Added(), true)
		testkit.Run(t, l)
		testkit.WantEqual(t, "calls", called, 1)
	}
}

// userContext is a context of a user's, whose methods may do anything.
type userContext struct {
	context.Context
	do func()
}

func (c userContext) Done() <-chan struct{} {
	c.do()
	return c.Context.Done()
}

func (c userContext) Err() error {
	c.do()
	return c.Context.Err()
}

func (c userContext) Value(key any) any {
	c.do()
	return c.Context.Value(key)
}

// The loop calls the methods of Run's context without its lock, and continues after one that panics.
func TestNoLockIsHeldInMethodsOfRunsContext(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	var asked atomic.Int64
	c := userContext{ctx, func() {
		if asked.Add(1) == 1 {
			testkit.Must(t, l.Post(func() {}))
		}
		l.Stats()
	}}
	testkit.Must(t, userEvent(t, l, 0, func() {}).Activate(0))
	over := newOutcome(func() error { return l.Run(c) })
	testkit.Must(t, testkit.Await(t, over, "Run"))
	if asked.Load() == 0 {
		t.Error("the context was not asked")
	}
	cancel(errImpatient)
	over = newOutcome(func() error { return l.Run(c) })
	testkit.WantErr(t, testkit.Await(t, over, "Run"), errImpatient)
	for left := range 10 { // which of its calls panics
		bad := userContext{t.Context(), func() {
			if left--; left == 0 {
				panic("context")
			}
		}}
		apart(t, "Run", func() { _ = l.Run(bad) })
		testkit.Run(t, l)
	}
}
