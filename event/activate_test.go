package event_test

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func TestActivationsBeforeTheCallMerge(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var told []event.Flags
	e := eventFor(t, l, -1, 0, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, e.Activate(event.Read))
	testkit.WantEqual(t, "pending after one", e.Pending(), event.Read)
	testkit.Must(t, e.Activate(event.Write|event.Timeout))
	testkit.WantEqual(t, "pending after two", e.Pending(), event.Read|event.Write|event.Timeout)
	testkit.Run(t, l)
	wantOrder(t, told, event.Read|event.Write|event.Timeout)
	testkit.WantEqual(t, "pending after the call", e.Pending(), 0)
}

func TestDelCancelsAnActivation(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, 0)
	testkit.Must(t, e.Activate(event.Read))
	testkit.Must(t, e.Del())
	testkit.WantEqual(t, "pending", e.Pending(), 0)
	testkit.WantEqual(t, "active", l.Stats().Active, 0)
	testkit.Run(t, l)
}

func TestCallbackIsGivenItsOwnEvent(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	got := map[*event.Event]*event.Event{}
	var all []*event.Event
	for range 3 {
		var self *event.Event
		self = eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) { got[self] = e })
		all = append(all, self)
		testkit.Must(t, self.Add(0))
	}
	testkit.Run(t, l)
	for i, e := range all {
		if got[e] != e {
			t.Errorf("event %d was given another", i)
		}
	}
}

// With 1, 2 and 3 priorities, the more urgent are called first, each in the order of activation.
func TestPrioritiesAreStrict(t *testing.T) {
	for n := 1; n <= 3; n++ {
		l := testkit.NewLoop(t, &event.Config{Priorities: n})
		testkit.WantEqual(t, "priorities", l.Priorities(), n)
		var got, want []int
		for p := n - 1; p >= 0; p-- {
			for i := range 2 {
				e := userEvent(t, l, 0, func() { got = append(got, 10*p+i) })
				testkit.Must(t, e.SetPriority(p))
				testkit.Must(t, e.Activate(0))
			}
		}
		for p := range n {
			want = append(want, 10*p, 10*p+1)
		}
		testkit.Run(t, l)
		wantOrder(t, got, want...)
	}
}

// Exit in a callback of the middle priority leaves what is less urgent active for the next Run.
func TestExitLeavesLessUrgentEventsActive(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	var got []int
	for p := range 3 {
		e := userEvent(t, l, 0, func() {
			got = append(got, p)
			if p == 1 {
				testkit.Must(t, l.Exit(0))
			}
		})
		testkit.Must(t, e.SetPriority(p))
		testkit.Must(t, e.Activate(0))
	}
	testkit.Run(t, l)
	wantOrder(t, got, 0, 1)
	testkit.WantEqual(t, "GotExit", l.GotExit(), true)
	testkit.WantEqual(t, "active", l.Stats().Active, 1)
	testkit.Run(t, l)
	wantOrder(t, got, 0, 1, 2)
	testkit.WantEqual(t, "GotExit of the second Run", l.GotExit(), false)
}

// Continue makes the loop see what became ready in the meantime before it calls what else is active.
func TestContinuePollsBeforeTheOtherCallbacks(t *testing.T) {
	for _, continued := range []bool{false, true} {
		l := testkit.NewLoop(t, &event.Config{Priorities: 2})
		_, _, fd, peer := pair(t)
		var got []string
		read := eventFor(t, l, fd, event.Read, func(*event.Event, event.Flags) { got = append(got, "read") })
		testkit.Must(t, read.SetPriority(0))
		testkit.Must(t, read.Add(event.NoTimeout))
		first := userEvent(t, l, 0, func() {
			got = append(got, "first")
			send(t, peer, "x")
			if continued {
				l.Continue()
			}
		})
		second := userEvent(t, l, 0, func() { got = append(got, "second") })
		testkit.Must(t, first.Activate(0))
		testkit.Must(t, second.Activate(0))
		testkit.Run(t, l)
		if continued {
			wantOrder(t, got, "first", "read", "second")
		} else {
			wantOrder(t, got, "first", "second", "read")
		}
	}
}

// ActivateFD reaches the events that are added for the descriptor, with what they asked for.
func TestActivateFDActivatesTheEventsOfTheDescriptor(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd, other := idle(t), idle(t)
	told := map[string]event.Flags{}
	note := func(name string) func(*event.Event, event.Flags) {
		return func(_ *event.Event, what event.Flags) { told[name] |= what }
	}
	read := eventFor(t, l, fd, event.Read|event.Persist, note("read"))
	both := eventFor(t, l, fd, event.Read|event.Closed|event.Persist, note("both"))
	closed := eventFor(t, l, fd, event.Closed|event.Persist, note("closed"))
	unrelated := silent(t, l, other, event.Read|event.Persist)
	silent(t, l, fd, event.Read) // never added
	for _, e := range []*event.Event{read, both, closed, unrelated} {
		testkit.Must(t, e.Add(event.NoTimeout))
	}
	testkit.Must(t, l.ActivateFD(fd, event.Read))
	turns(t, l, 2)
	testkit.WantEqual(t, "number told", len(told), 2)
	testkit.WantEqual(t, "read", told["read"], event.Read)
	testkit.WantEqual(t, "both", told["both"], event.Read)
	clear(told)
	testkit.Must(t, l.ActivateFD(fd, event.Closed|event.Write))
	turns(t, l, 2)
	testkit.WantEqual(t, "number told", len(told), 2)
	testkit.WantEqual(t, "both", told["both"], event.Closed)
	testkit.WantEqual(t, "closed", told["closed"], event.Closed)
}

// ActivateFD and ActivateSignal of a number without an event do nothing, even for invalid numbers.
func TestActivateFDOfAnUnknownDescriptorDoesNothing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := idle(t)
	testkit.Must(t, silent(t, l, fd, event.Read|event.Persist).Add(event.NoTimeout))
	for _, n := range []int{-1, math.MinInt, fd + 1, 1 << 20, math.MaxInt32, beyond32(-math.MaxInt32), beyond32(fd), math.MaxInt} {
		if err := l.ActivateFD(n, event.Read); err != nil {
			testkit.WantErr(t, err, event.ErrBadDescriptor)
		}
	}
	turns(t, l, 2)
	testkit.WantErr(t, l.ActivateFD(fd, event.Persist), event.ErrInvalid)
	wantMessage(t, l.ActivateFD(fd, event.Signal), event.ErrInvalid, "Signal")
}

func TestActivateSignalActivatesTheEventsOfTheSignal(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e, err := l.NewSignal(unix.SIGUSR1, func(_ *event.Event, what event.Flags) {
		calls++
		testkit.WantEqual(t, "what", what, event.Signal)
	})
	testkit.Must(t, err)
	testkit.Must(t, l.ActivateSignal(int(unix.SIGUSR1))) // not added yet
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, silent(t, l, int(unix.SIGUSR2), event.Signal).Add(event.NoTimeout))
	turns(t, l, 2)
	testkit.WantEqual(t, "calls before", calls, 0)
	testkit.Must(t, l.ActivateSignal(int(unix.SIGUSR1)))
	for _, n := range []int{-1, 0, 9999, beyond32(int(unix.SIGUSR2)), math.MaxInt} {
		testkit.Must(t, l.ActivateSignal(n))
	}
	turns(t, l, 2)
	testkit.WantEqual(t, "calls", calls, 1)
}
