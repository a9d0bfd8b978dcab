package event_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// suspending is a loop with three events and a record of what it calls.
type suspending struct {
	l      *event.Loop
	r      *event.Runner
	owner  *event.Owner
	events [3]*event.Event
	seen   []string
	most   int         // the argument of Suspend, which the event a calls; below 0: it does not
	then   func(i int) // called by each event
}

// newSuspending makes the events a, b and c of the given priorities active. a suspends the turn.
func newSuspending(t *testing.T, most int, then func(i int)) *suspending {
	l, owner, r := newRunner(t, &event.Config{Priorities: 2})
	s := &suspending{l: l, r: r, owner: owner, most: most, then: then}
	onPrepare(t, l, func() { s.seen = append(s.seen, "prepare") })
	onTurnEnd(t, l, func() { s.seen = append(s.seen, "end") })
	for i, name := range []string{"a", "b", "c"} {
		e, err := l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {
			s.seen = append(s.seen, name)
			if i == 0 && s.most >= 0 {
				r.Suspend(s.most)
			}
			if s.then != nil {
				s.then(i)
			}
		})
		testkit.Must(t, err)
		testkit.Must(t, e.SetPriority(1))
		s.events[i] = e
		testkit.Must(t, e.Activate(0))
	}
	return s
}

// turn makes a turn, and checks what was called since the last one, and whether the turn is suspended.
func (s *suspending) turn(t *testing.T, want string, suspended bool) {
	t.Helper()
	testkit.Must(t, s.r.Turn(false))
	if got := strings.Join(s.seen, " "); got != want || s.r.Suspended() != suspended {
		t.Errorf("called: %s; suspended: %v; want %s; %v", got, s.r.Suspended(), want, suspended)
	}
	s.seen = nil
}

// The next Turn calls the events that are left, without another poll. An event that becomes active meanwhile belongs to the turn after it.
func TestASuspendedTurnIsContinued(t *testing.T) {
	s := newSuspending(t, 2, nil)
	s.turn(t, "prepare a", true)
	testkit.Must(t, s.events[0].Activate(0))
	testkit.Must(t, s.r.Call(func() { s.seen = append(s.seen, "call") }))
	s.most = -1
	s.turn(t, "call b c end", false)
	s.turn(t, "prepare a end", false)
}

// With more events than that, an interruption would cost more than it gains.
func TestATurnWithManyEventsIsNotSuspended(t *testing.T) {
	s := newSuspending(t, 1, nil)
	s.turn(t, "prepare a b c end", false)
}

// Nothing is left to continue with.
func TestATurnWithoutOtherEventsIsOver(t *testing.T) {
	s := newSuspending(t, 2, nil)
	for _, e := range s.events[1:] {
		testkit.Must(t, e.Del())
	}
	s.turn(t, "prepare a end", false)
}

// The events that are left are called in a later turn, after the one that is more urgent.
func TestAMoreUrgentEventEndsASuspendedTurn(t *testing.T) {
	s := newSuspending(t, 2, nil)
	s.turn(t, "prepare a", true)
	urgent, err := s.l.NewEvent(-1, 0, func(*event.Event, event.Flags) { s.seen = append(s.seen, "urgent") })
	testkit.Must(t, err)
	testkit.Must(t, urgent.SetPriority(0))
	testkit.Must(t, urgent.Activate(0))
	s.turn(t, "end", false)
	s.turn(t, "prepare urgent end", false)
	s.turn(t, "prepare b c end", false)
}

// Another goroutine continues it.
func TestAnotherGoroutineContinuesASuspendedTurn(t *testing.T) {
	s := newSuspending(t, 2, nil)
	s.turn(t, "prepare a", true)
	over := make(chan struct{})
	go func() {
		defer close(over)
		r, err := s.owner.Runner()
		testkit.Must(t, err)
		s.r = r
		s.turn(t, "b c end", false)
	}()
	testkit.Await(t, over, "the goroutine's end")
}

// runtime.Goexit in a callback or a Call ends the turn. Its other events are called in the next one.
func TestGoexitEndsASuspendedTurn(t *testing.T) {
	for _, inCall := range []bool{false, true} {
		s := newSuspending(t, 2, nil)
		s.turn(t, "prepare a", true)
		s.then = func(i int) {
			if i == 1 && !inCall {
				runtime.Goexit()
			}
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			r, err := s.owner.Runner()
			testkit.Must(t, err)
			if inCall {
				_ = r.Call(runtime.Goexit)
			}
			_ = r.Turn(false)
		}()
		testkit.Await(t, over, "the goroutine's end")
		if inCall {
			s.seen = s.seen[:0]
			s.turn(t, "end prepare b c end", false)
		} else {
			s.seen = s.seen[:0]
			s.turn(t, "end prepare c end", false)
		}
	}
}

// The loop polls before it calls the events that are left.
func TestContinueEndsATurnThatWouldBeSuspended(t *testing.T) {
	s := newSuspending(t, 2, nil)
	s.then = func(i int) {
		if i == 0 {
			s.l.Continue()
		}
	}
	s.turn(t, "prepare a end", false)
	s.turn(t, "prepare b c end", false)
}

// A suspended turn that is not continued does not keep its loop open.
func TestCloseEndsALoopWithASuspendedTurn(t *testing.T) {
	s := newSuspending(t, 2, nil)
	s.turn(t, "prepare a", true)
	testkit.Must(t, s.owner.Close())
	testkit.CheckErr(t, "Turn", s.r.Turn(true), event.ErrClosed)
}

func TestASuspendedTurnAllocatesNothing(t *testing.T) {
	s := newSuspending(t, 2, nil)
	if n := testing.AllocsPerRun(100, func() {
		s.seen = s.seen[:0]
		for _, e := range s.events {
			testkit.Must(t, e.Activate(0))
		}
		testkit.Must(t, s.r.Turn(true))
		testkit.Must(t, s.r.Turn(true))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
