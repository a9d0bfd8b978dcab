package event_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Stats counts an event once from Add to Del, whatever it waits for, and counts active events and Refs separately.
func TestStatsCountAtEachStep(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := idle(t)
	at := func(step string, added, active, refs int) {
		t.Helper()
		s := l.Stats()
		testkit.WantEqual(t, step+": added, active, refs", [3]int{s.Added, s.Active, s.Refs}, [3]int{added, active, refs})
	}
	at("new", 0, 0, 0)
	read := silent(t, l, fd, event.Read|event.Persist)
	at("made", 0, 0, 0)
	testkit.Must(t, read.Add(time.Hour)) // a condition and a timeout are one event
	at("read", 1, 0, 0)
	testkit.Must(t, read.Add(event.NoTimeout))
	at("read added again", 1, 0, 0)
	second := silent(t, l, fd, event.Read)
	testkit.Must(t, second.Add(event.NoTimeout))
	at("second on the descriptor", 2, 0, 0)
	user := userEvent(t, l, 0, func() {})
	testkit.Must(t, user.Activate(0))
	at("active and not added", 2, 1, 0)
	testkit.Must(t, user.Add(event.NoTimeout))
	testkit.Must(t, user.Activate(event.Read))
	at("active and added", 3, 1, 0)
	l.Ref()
	l.Ref()
	at("two Refs", 3, 1, 2)
	l.Unref()
	at("Unref", 3, 1, 1)
	turns(t, l, 1)
	at("called", 2, 0, 1)
	testkit.Must(t, l.Exit(time.Hour))
	at("Exit", 2, 0, 1) // the loop's own are not counted
	testkit.Must(t, read.Del())
	testkit.Must(t, read.Del())
	at("Del twice", 1, 0, 1)
	testkit.Must(t, second.Del())
	l.Unref()
	l.Unref()
	at("nothing left", 0, 0, 0)
	testkit.Run(t, l)
}

func TestMaximaRemainUntilReset(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var all []*event.Event
	for range 5 {
		e := userEvent(t, l, 0, func() {})
		testkit.Must(t, e.Add(time.Hour))
		all = append(all, e)
	}
	for _, e := range all[:3] {
		testkit.Must(t, e.Activate(0))
	}
	for _, e := range all[2:] {
		testkit.Must(t, e.Del())
	}
	s := l.Stats()
	testkit.WantEqual(t, "added, active", [2]int{s.Added, s.Active}, [2]int{2, 2})
	testkit.WantEqual(t, "most added, most active", [2]int{s.MaxAdded, s.MaxActive}, [2]int{5, 3})
	l.ResetMax()
	s = l.Stats()
	testkit.WantEqual(t, "most added, most active after ResetMax", [2]int{s.MaxAdded, s.MaxActive}, [2]int{2, 2})
	testkit.Must(t, all[4].Add(time.Hour))
	testkit.WantEqual(t, "most added", l.Stats().MaxAdded, 3)
}

// An event returns the values that NewEvent was called with.
func TestEventReturnsWhatItWasMadeWith(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 5})
	fd := idle(t)
	kinds := []event.Flags{event.Read, event.Write | event.Persist, event.Read | event.Write, 0, event.Persist}
	if l.Features().Has(event.FeatureEdge) {
		kinds = append(kinds, event.Read|event.EdgeTriggered|event.Persist)
	}
	if l.Features().Has(event.FeatureClosed) {
		kinds = append(kinds, event.Closed, event.Read|event.Closed)
	}
	check := func(n int, flags event.Flags) {
		t.Helper()
		e := silent(t, l, n, flags)
		testkit.WantEqual(t, "descriptor", e.FD(), n)
		testkit.WantEqual(t, "flags", e.Flags(), flags)
		testkit.WantEqual(t, "loop", e.Loop(), l)
		testkit.WantEqual(t, "priority", e.Priority(), 2)
		testkit.Must(t, e.SetPriority(4))
		testkit.WantEqual(t, "priority set", e.Priority(), 4)
	}
	for _, flags := range kinds {
		if flags&^event.Persist == 0 {
			check(-1, flags)
		} else {
			check(fd, flags)
		}
	}
	check(int(unix.SIGUSR1), event.Signal|event.Persist)
	testkit.WantEqual(t, "flags of an event made with Timeout", silent(t, l, fd, event.Read|event.Timeout).Flags(), event.Read)
}

// Pending returns each condition and the timeout, and Remaining the time until the timeout.
func TestPendingAndRemainingArePrecise(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	_, _, fd, peer := pair(t)
	check := func(step string, e *event.Event, pending event.Flags, left time.Duration) {
		t.Helper()
		testkit.WantEqual(t, step+": pending", e.Pending(), pending)
		d, ok := e.Remaining()
		testkit.WantEqual(t, step+": a timeout runs", ok, left >= 0)
		if ok {
			testkit.WantEqual(t, step+": remaining", d, left)
		}
	}
	const none = -1
	e := eventFor(t, l, fd, event.Read, func(*event.Event, event.Flags) {})
	check("made", e, 0, none)
	testkit.Must(t, e.Add(event.NoTimeout))
	check("added", e, event.Read, none)
	testkit.Must(t, e.Add(5*time.Second))
	check("with a timeout", e, event.Read|event.Timeout, 5*time.Second)
	clock.Advance(2 * time.Second)
	check("later", e, event.Read|event.Timeout, 3*time.Second)
	clock.Advance(4 * time.Second)
	check("overdue", e, event.Read|event.Timeout, 0)
	testkit.Must(t, e.Add(time.Second))
	check("added again", e, event.Read|event.Timeout, time.Second)
	testkit.Must(t, e.SetTimeout(event.NoTimeout))
	check("without the timeout", e, event.Read, none)
	send(t, peer, "x")
	turns(t, l, 1)
	check("called", e, 0, none)
	s := silent(t, l, int(unix.SIGUSR1), event.Signal)
	testkit.Must(t, s.Add(time.Minute))
	check("signal", s, event.Signal|event.Timeout, time.Minute)
	testkit.Must(t, s.Del())
	check("signal after Del", s, 0, none)
}

// Events lists what is added or active, each once: descriptors, signals, deadlines, and then the rest.
func TestEventsListsEachOnce(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := idle(t), idle(t)
	if a > b {
		a, b = b, a
	}
	want := []*event.Event{
		silent(t, l, a, event.Read), // with a timeout, and active
		silent(t, l, b, event.Read|event.Persist),
		silent(t, l, int(unix.SIGUSR1), event.Signal),
		silent(t, l, int(unix.SIGUSR2), event.Signal|event.Persist), // with a timeout
		silent(t, l, -1, 0),
		silent(t, l, -1, event.Persist),
		silent(t, l, -1, 0), // added without a timeout
		silent(t, l, -1, 0), // active only
	}
	timeouts := []time.Duration{time.Hour, event.NoTimeout, event.NoTimeout, time.Hour, time.Minute, 2 * time.Minute, event.NoTimeout}
	for i, d := range slices.Backward(timeouts) {
		testkit.Must(t, want[i].Add(d))
	}
	testkit.Must(t, want[7].Activate(0))
	testkit.Must(t, want[0].Activate(event.Read))
	silent(t, l, a, event.Read) // not added
	gone := silent(t, l, b, event.Read)
	testkit.Must(t, gone.Add(time.Hour))
	testkit.Must(t, gone.Del())
	testkit.Must(t, l.Exit(time.Hour))
	wantOrder(t, l.Events(), want...)
	for _, e := range want {
		testkit.Must(t, e.Del())
	}
	wantOrder(t, l.Events())
}

// Dump has one line for each event, with its name, and one for the loop.
func TestDumpShowsEachEvent(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	named := func(name string, e *event.Event) *event.Event {
		e.SetName(name)
		return e
	}
	fd := idle(t)
	testkit.Must(t, named("a-reader", silent(t, l, fd, event.Read)).Add(time.Hour))
	testkit.Must(t, named("b-writer", silent(t, l, fd, event.Write|event.Persist)).Add(event.NoTimeout))
	testkit.Must(t, named("c-signal", silent(t, l, int(unix.SIGUSR1), event.Signal)).Add(event.NoTimeout))
	testkit.Must(t, named("d-timer", silent(t, l, -1, 0)).Add(time.Minute))
	testkit.Must(t, named("e-ticker", silent(t, l, -1, event.Persist)).Add(time.Minute))
	testkit.Must(t, named("f-waiting", silent(t, l, -1, 0)).Add(event.NoTimeout))
	testkit.Must(t, named("g-active", silent(t, l, -1, 0)).Activate(event.Closed))
	named("h-idle", silent(t, l, fd, event.Read))
	var b strings.Builder
	testkit.Must(t, l.Dump(&b))
	text := b.String()
	testkit.WantEqual(t, "lines\n"+text, strings.Count(text, "\n"), 8)
	for name, parts := range map[string][]string{
		"a-reader": {"Read", "due in"}, "b-writer": {"Write|Persist"}, "c-signal": {fmt.Sprint("signal ", int(unix.SIGUSR1))}, "d-timer": {"timer", "due in"},
		"e-ticker": {"ticker"}, "f-waiting": {"user"}, "g-active": {"active with Closed"},
		"posts": {string(l.Backend()), string(l.Driver()), "open", "6 added", "1 active"},
	} {
		line := lineWith(text, name)
		for _, part := range parts {
			if !strings.Contains(line, part) {
				t.Errorf("%q is not in the line of %s: %q", part, name, line)
			}
		}
	}
	for _, e := range l.Events() {
		testkit.Must(t, e.Del())
	}
	b.Reset()
	testkit.Must(t, l.Dump(&b))
	testkit.WantEqual(t, "lines\n"+b.String(), strings.Count(b.String(), "\n"), 1)
}

// lineWith returns the only line that has s in it, or nothing.
func lineWith(text, s string) (found string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, s) {
			if found != "" {
				return ""
			}
			found = line
		}
	}
	return found
}
