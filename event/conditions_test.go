package event_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// A paused event is not called for waiting data, and is called for it once it is resumed, level- or edge-triggered.
func TestPausedEventIsReportedOnlyAfterItsResumption(t *testing.T) {
	for manner, edge := range manners(newLoop(t, nil)) {
		for _, persist := range []event.Flags{0, event.Persist} {
			t.Run(fmt.Sprintf("%s, %v", manner, persist), func(t *testing.T) {
				l := newLoop(t, nil)
				_, _, fd, peer := pair(t)
				var told []event.Flags
				e := eventFor(t, l, fd, event.Read|persist|edge, func(_ *event.Event, what event.Flags) {
					told = append(told, what)
				})
				must(t, e.Add(event.NoTimeout))
				must(t, e.SetConditions(0))
				send(t, peer, "x")
				turns(t, l, 3)
				wantOrder(t, told)
				wantEqual(t, "added", e.Added(), true)
				must(t, e.SetConditions(event.Read))
				turns(t, l, 1)
				wantOrder(t, told, event.Read|edge)
				wantEqual(t, "added afterwards", e.Added(), persist != 0)
			})
		}
	}
}

// The timeout of a paused event continues, and ends a one-shot event.
func TestTimeoutGoesOnWhilePaused(t *testing.T) {
	for _, c := range []struct {
		manner event.Flags
		told   []event.Flags
	}{
		{event.Persist, []event.Flags{event.Timeout, event.Timeout}},
		{0, []event.Flags{event.Timeout}},
	} {
		t.Run(c.manner.String(), func(t *testing.T) {
			clock := newFakeClock()
			l := newLoop(t, &event.Config{Clock: clock})
			var told []event.Flags
			e := eventFor(t, l, readable(t), event.Read|c.manner, func(_ *event.Event, what event.Flags) {
				told = append(told, what)
			})
			must(t, e.Add(10*time.Millisecond))
			must(t, e.SetConditions(0))
			wantEqual(t, "pending", e.Pending(), event.Timeout)
			passTime(t, l, clock, 25*time.Millisecond)
			wantOrder(t, told, c.told...)
			wantEqual(t, "added", e.Added(), c.manner != 0)
			if err := e.SetTimeout(event.NoTimeout); e.Added() {
				must(t, err)
			} else {
				wantErr(t, err, event.ErrNotAdded)
			}
			passTime(t, l, clock, time.Hour)
			wantOrder(t, told, c.told...)
			must(t, e.Add(time.Minute))
			passTime(t, l, clock, time.Minute)
			wantOrder(t, told, append(c.told, event.Timeout)...)
			must(t, e.Del())
			wantEqual(t, "added after Del", l.Stats().Added, 0)
		})
	}
}

// An event that waits for no condition is added like any other: it is counted and listed, keeps Run going, and ends by Del,
// Finalize or Close.
func TestPausedEventIsAddedLikeAnyOther(t *testing.T) {
	paused := func(t *testing.T, l *event.Loop) *event.Event {
		t.Helper()
		e := silent(t, l, readable(t), event.Read|event.Persist)
		must(t, e.Add(event.NoTimeout))
		must(t, e.SetConditions(0))
		return e
	}
	t.Run("counted and listed", func(t *testing.T) {
		l := newLoop(t, nil)
		e := paused(t, l)
		wantEqual(t, "added", l.Stats().Added, 1)
		wantOrder(t, l.Events(), e)
		wantEqual(t, "pending", e.Pending(), 0)
		wantEqual(t, "flags", e.Flags(), event.Persist)
		var b strings.Builder
		must(t, l.Dump(&b))
		if want := fmt.Sprintf("fd %d [Persist]", e.FD()); !strings.Contains(b.String(), want) {
			t.Errorf("Dump does not say %q:\n%s", want, b.String())
		}
	})
	t.Run("keeps Run going", func(t *testing.T) {
		l := newLoop(t, nil)
		called := 0
		e := eventFor(t, l, readable(t), event.Read, func(*event.Event, event.Flags) { called++ })
		must(t, e.Add(event.NoTimeout))
		must(t, e.SetConditions(0))
		over := make(chan error, 1)
		go func() { over <- l.Run(t.Context()) }()
		letSleep(t, l)
		must(t, e.SetConditions(event.Read))
		must(t, await(t, over, "end of Run"))
		wantEqual(t, "calls", called, 1)
	})
	for name, end := range map[string]func(e *event.Event) error{
		"Del":      func(e *event.Event) error { return e.Del() },
		"DelWait":  func(e *event.Event) error { return e.DelWait(t.Context()) },
		"Finalize": func(e *event.Event) error { return e.Finalize(func(*event.Event) {}) },
		"Close":    func(e *event.Event) error { return e.Loop().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, nil)
			e := paused(t, l)
			must(t, end(e))
			wantEqual(t, "added", e.Added(), false)
			wantEqual(t, "added events", l.Stats().Added, 0)
			wantEqual(t, "events of a closed or empty loop", len(l.Events()), l.Stats().Active)
		})
	}
	t.Run("the end of the last ends Run", func(t *testing.T) {
		l := newLoop(t, nil)
		e := paused(t, l)
		over := make(chan error, 1)
		go func() { over <- l.Run(t.Context()) }()
		letSleep(t, l)
		must(t, e.Del())
		must(t, await(t, over, "end of Run"))
	})
}

// Of two events of one descriptor, a change of one leaves the other alone.
func TestChangedEventLeavesItsNeighbourAlone(t *testing.T) {
	for manner, edge := range manners(newLoop(t, nil)) {
		t.Run(manner, func(t *testing.T) {
			l := newLoop(t, nil)
			_, _, fd, peer := pair(t)
			var a, b event.Flags
			first := eventFor(t, l, fd, event.Read|event.Persist|edge, func(_ *event.Event, what event.Flags) { a |= what &^ edge })
			second := eventFor(t, l, fd, event.Write|event.Persist|edge, func(_ *event.Event, what event.Flags) { b |= what &^ edge })
			must(t, first.Add(event.NoTimeout))
			must(t, second.Add(event.NoTimeout))
			// Each change is followed by news, which an edge-triggered event needs to be told anything.
			at := func(step string, wantA, wantB event.Flags) {
				t.Helper()
				a, b = 0, 0
				send(t, peer, "x")
				turns(t, l, 1)
				if a != wantA || b&^wantB != 0 || edge == 0 && b != wantB {
					t.Fatalf("%s: told %v and %v, want %v and %v", step, a, b, wantA, wantB)
				}
			}
			at("as they were added", event.Read, event.Write)
			must(t, second.SetConditions(0))
			at("second paused", event.Read, 0)
			must(t, second.SetConditions(event.Read))
			at("second reads", event.Read, event.Read)
			must(t, first.SetConditions(0))
			at("first paused", 0, event.Read)
			must(t, second.SetConditions(0))
			at("both paused", 0, 0)
			must(t, first.SetConditions(event.Read))
			at("first resumed", event.Read, 0)
			must(t, first.Del())
			at("first deleted", 0, 0)
			must(t, second.SetConditions(event.Read|event.Write))
			at("second resumed", 0, event.Read|event.Write)
			must(t, second.Del())
			at("both deleted", 0, 0)
		})
	}
}

// An edge that was reported to one event of a descriptor is reported again to another one that starts to wait for it.
func TestResumedEdgeIsReportedBesideAnother(t *testing.T) {
	l := newLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	_, _, fd, peer := pair(t)
	const manner = event.Persist | event.EdgeTriggered
	must(t, eventFor(t, l, fd, event.Read|manner, nothing).Add(event.NoTimeout))
	told := event.Flags(0)
	e := eventFor(t, l, fd, event.Read|manner, func(_ *event.Event, what event.Flags) { told |= what })
	must(t, e.Add(event.NoTimeout))
	must(t, e.SetConditions(0))
	send(t, peer, "x")
	turns(t, l, 3)
	wantEqual(t, "told while paused", told, 0)
	must(t, e.SetConditions(event.Read))
	turns(t, l, 1)
	wantEqual(t, "told", told, event.Read|event.EdgeTriggered)
}

// In an event's own callback a change counts for the next turn, and for the next Add of a one-shot event.
func TestSetConditionsInTheOwnCallback(t *testing.T) {
	for _, persist := range []event.Flags{0, event.Persist} {
		t.Run(persist.String(), func(t *testing.T) {
			l := newLoop(t, nil)
			next := []event.Flags{event.Write, event.Read | event.Write, event.Read, 0}
			var told []event.Flags
			e := eventFor(t, l, readable(t), event.Read|persist, func(e *event.Event, what event.Flags) {
				told = append(told, what)
				must(t, e.SetConditions(next[0]))
				next = next[1:]
				must(t, e.Add(event.NoTimeout))
			})
			must(t, e.Add(event.NoTimeout))
			turns(t, l, 6)
			wantOrder(t, told, event.Read, event.Write, event.Read|event.Write, event.Read)
			wantEqual(t, "added", e.Added(), true)
			wantEqual(t, "pending", e.Pending(), 0)
		})
	}
}

// A condition that another goroutine adds ends the loop's sleep.
func TestSetConditionsEndsASleep(t *testing.T) {
	for name, cfg := range map[string]*event.Config{
		"environment": nil,
		"poll":        {IgnoreEnv: true, Backend: event.BackendPoll},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, cfg)
			_, _, fd, peer := pair(t)
			called := make(chan event.Flags)
			e := eventFor(t, l, fd, event.Read|event.Persist, func(e *event.Event, what event.Flags) {
				_, err := receive(fd)
				must(t, err)
				must(t, e.SetConditions(0))
				called <- what
			})
			must(t, e.Add(event.NoTimeout))
			must(t, e.SetConditions(0))
			background(t, l)
			for range 20 {
				letSleep(t, l)
				send(t, peer, "x")
				must(t, e.SetConditions(event.Read))
				wantEqual(t, "told", await(t, called, "call"), event.Read)
			}
		})
	}
}

// SetConditions cancels the pending flags of a removed condition. Other flags, and an Activate(0), stay pending.
func TestRemovedConditionIsNotDelivered(t *testing.T) {
	const none = event.Flags(0xffff)
	for name, c := range map[string]struct {
		wait, ask, keep event.Flags // ask is what Activate is given, if not none
		told            event.Flags // none if it is not called
	}{
		"all":                     {event.Read, none, 0, none},
		"all of two":              {event.Read | event.Write, none, 0, none},
		"one of two":              {event.Read | event.Write, none, event.Write, event.Write},
		"one for another":         {event.Read, none, event.Write, none},
		"beside a timeout":        {event.Read, event.Timeout, 0, event.Timeout},
		"beside a call asked for": {event.Read, 0, 0, 0},
		"activated with it":       {event.Read, event.Read, 0, none},
	} {
		for manner, edge := range manners(newLoop(t, nil)) {
			t.Run(name+", "+manner, func(t *testing.T) {
				l := newLoop(t, nil)
				told := none
				e := eventFor(t, l, readable(t), c.wait|event.Persist|edge, func(_ *event.Event, what event.Flags) { told = what })
				must(t, e.Add(event.NoTimeout))
				first := userEvent(t, l, 0, func() {
					wantEqual(t, "pending before", e.Pending()&c.wait, c.wait)
					must(t, e.SetConditions(c.keep))
					wantEqual(t, "pending afterwards", e.Pending()&(event.Read|event.Write), c.keep)
				})
				must(t, first.Activate(0))
				if c.ask != none {
					must(t, e.Activate(c.ask))
				}
				turns(t, l, 1)
				want := c.told
				if want != none && want&c.keep != 0 {
					want |= edge
				}
				wantEqual(t, "told", told, want)
			})
		}
	}
}

// An Activate(0) stays pending when a timeout is cancelled.
func TestActivationOutlivesATimeoutTakenBack(t *testing.T) {
	clock := newFakeClock()
	l := newLoop(t, &event.Config{Clock: clock})
	var told []event.Flags
	e := eventFor(t, l, -1, 0, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	first := userEvent(t, l, 0, func() { must(t, e.Add(time.Hour)) })
	activateAll(t, first, e)
	must(t, e.Add(1))
	clock.Advance(1)
	turns(t, l, 1)
	wantOrder(t, told, 0)
}

// recordingPoller records its calls. While fail is set it returns an error.
type recordingPoller struct {
	*scriptPoller
	journal
	fail  error
	lacks event.Features
	under func() // called in Add, where the loop's lock is held
}

func (p *recordingPoller) tell(op string, fd int, want event.Flags) error {
	p.note(fmt.Sprintf("%s %d %v", op, fd, event.Flags(want)))
	if p.under != nil {
		p.under()
	}
	return p.fail
}

func (p *recordingPoller) Add(fd int, want event.Flags, tag uint64) error {
	if err := p.tell("add", fd, want); err != nil {
		return err
	}
	return p.scriptPoller.Add(fd, want, tag)
}

func (p *recordingPoller) Modify(fd int, want event.Flags, tag uint64) error {
	if err := p.tell("modify", fd, want); err != nil {
		return err
	}
	return p.scriptPoller.Modify(fd, want, tag)
}

func (p *recordingPoller) Remove(fd int) error {
	if err := p.tell("remove", fd, 0); err != nil {
		return err
	}
	return p.scriptPoller.Remove(fd)
}

func (p *recordingPoller) Features() event.Features { return p.scriptPoller.Features() &^ p.lacks }

func recordingLoop(t *testing.T, lacks event.Features, clock event.Clock) (*event.Loop, *recordingPoller) {
	t.Helper()
	p := &recordingPoller{scriptPoller: newScriptPoller(), lacks: lacks}
	open := func() (event.Poller, error) { return p, nil }
	return newLoop(t, &event.Config{Clock: clock, Driver: event.DriverThread, OpenPoller: open}), p
}

// A change is one call to the poller, or none where the events of the descriptor together want what they wanted.
func TestSetConditionsCallsThePollerOnce(t *testing.T) {
	l, p := recordingLoop(t, 0, nil)
	a, b := silent(t, l, 7, event.Read|event.Persist), silent(t, l, 7, event.Write|event.Persist)
	set := func(e *event.Event, conditions event.Flags, calls ...string) {
		t.Helper()
		must(t, e.SetConditions(conditions))
		p.want(t, calls...)
	}
	set(a, event.Write)
	set(a, event.Read)
	must(t, a.Add(event.NoTimeout))
	p.want(t, "add 7 Read")
	set(a, event.Read)
	set(a, event.Read|event.Closed, "modify 7 Read|Closed")
	set(a, event.Read, "modify 7 Read")
	set(a, 0, "remove 7 0")
	set(a, 0)
	set(a, event.Write, "add 7 Write")
	must(t, b.Add(event.NoTimeout))
	p.want(t)
	set(a, 0)
	set(a, event.Read, "modify 7 Read|Write")
	set(b, event.Read, "modify 7 Read")
	set(a, 0)
	must(t, a.Del())
	p.want(t)
	set(b, 0, "remove 7 0")
	must(t, b.Del())
	p.want(t)
	set(b, event.Write)
}

// When the poller refuses, the event waits for what it waited for before.
func TestRefusedChangeChangesNothing(t *testing.T) {
	l, p := recordingLoop(t, 0, nil)
	var told []event.Flags
	e := eventFor(t, l, 7, event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	must(t, e.Add(event.NoTimeout))
	refused := func(conditions event.Flags, fail, want error) {
		t.Helper()
		before := e.Pending()
		p.fail = fail
		wantErr(t, e.SetConditions(conditions), want)
		p.fail = nil
		wantEqual(t, "pending", e.Pending(), before)
		wantEqual(t, "added", e.Added(), true)
		must(t, e.Err())
	}
	refused(event.Read|event.Write, unix.ENOMEM, unix.ENOMEM)
	refused(0, unix.ENOMEM, unix.ENOMEM)
	p.report(7, event.Read)
	turns(t, l, 1)
	wantOrder(t, told, event.Read)
	must(t, e.SetConditions(0))
	refused(event.Read, unix.EPERM, event.ErrNotPollable)
	refused(event.Read, unix.ELOOP, event.ErrNested)
	must(t, e.Del())
}

func TestSetConditionsIsRefused(t *testing.T) {
	l := newLoop(t, nil)
	e := silent(t, l, idle(t), event.Read|event.Persist)
	must(t, e.Add(event.NoTimeout))
	for _, flags := range []event.Flags{event.Timeout, event.Signal, event.Persist, event.EdgeTriggered | event.Read, 0x1000} {
		wantMessage(t, e.SetConditions(flags), event.ErrInvalid, flags.String(), fmt.Sprint(e.FD()))
	}
	wantEqual(t, "pending", e.Pending(), event.Read)
	for _, other := range []*event.Event{
		silent(t, l, -1, 0), silent(t, l, -1, event.Persist), silent(t, l, int(syscall.SIGWINCH), event.Signal),
	} {
		wantErr(t, other.SetConditions(event.Read), event.ErrInvalid)
		wantErr(t, other.SetConditions(0), event.ErrInvalid)
	}

	poor, _ := recordingLoop(t, event.FeatureClosed, nil)
	limited := silent(t, poor, 7, event.Read)
	wantErr(t, limited.SetConditions(event.Closed), event.ErrUnsupported)
	must(t, limited.Add(event.NoTimeout))
	wantErr(t, limited.SetConditions(event.Closed|event.Read), event.ErrUnsupported)
	wantEqual(t, "pending", limited.Pending(), event.Read)

	final := silent(t, l, idle(t), event.Read)
	must(t, final.Finalize(func(*event.Event) {}))
	wantErr(t, final.SetConditions(event.Write), event.ErrFinalized)
	must(t, l.Close())
	wantErr(t, e.SetConditions(event.Write), event.ErrClosed)
	wantErr(t, e.SetConditions(event.Read), event.ErrClosed)
	wantEqual(t, "flags", e.Flags(), event.Read|event.Persist)
}

// If SetConditions finds that the descriptor was closed before Del, its events end until the next Add.
func TestSetConditionsOfAClosedDescriptorSaysStale(t *testing.T) {
	for name, c := range map[string]struct {
		wait, change event.Flags
		reuse        bool
	}{
		"more":              {event.Read, event.Read | event.Write, false},
		"none":              {event.Read, 0, false},
		"resumed":           {0, event.Read, false},
		"number used again": {event.Read, event.Write, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, nil)
			if c.reuse && !l.Features().Has(event.FeatureStale) {
				t.Skip("the backend goes by numbers")
			}
			fd, peer := rawPair(t)
			e := silent(t, l, fd, event.Read|event.Persist)
			neighbour := silent(t, l, fd, event.Read|event.Persist)
			for _, e := range []*event.Event{e, neighbour} {
				must(t, e.Add(time.Hour))
				must(t, e.SetConditions(c.wait))
			}
			if c.change == 0 {
				must(t, neighbour.SetConditions(0)) // or nothing would change for the poller
			}
			closeRaw(t, fd, peer)
			if c.reuse {
				peer = reopen(t, fd)
				send(t, peer, "for another")
			}
			wantErr(t, e.SetConditions(c.change), event.ErrStale)
			for _, e := range []*event.Event{e, neighbour} {
				wantErr(t, e.Err(), event.ErrStale)
				wantErr(t, e.SetConditions(c.wait), event.ErrStale)
				wantEqual(t, "pending", e.Pending(), 0)
				wantErr(t, e.Del(), event.ErrStale)
			}
			if s := l.Stats(); s.Added != 0 || s.Stale != 2 {
				t.Errorf("%d added, %d stale", s.Added, s.Stale)
			}
			turns(t, l, 3)
			wantEqual(t, "stray reports", l.Stats().LateReports, 0)
			if c.reuse {
				must(t, e.Add(event.NoTimeout)) // for the number's next file
				must(t, e.SetConditions(0))
				must(t, e.Del())
				closeRaw(t, fd, peer)
			}
		})
	}
}

// A change that finds the last event stale ends a Run that had nothing else to wait for.
func TestChangeThatEndsTheLastEventEndsRun(t *testing.T) {
	l := newLoop(t, nil)
	fd, peer := rawPair(t)
	defer closeRaw(t, peer)
	e := silent(t, l, fd, event.Read|event.Persist)
	must(t, e.Add(event.NoTimeout))
	must(t, e.SetConditions(0))
	over := make(chan error, 1)
	go func() { over <- l.Run(t.Context()) }()
	letSleep(t, l)
	closeRaw(t, fd)
	wantErr(t, e.SetConditions(event.Read), event.ErrStale)
	must(t, await(t, over, "end of Run"))
}

// Add of an event without conditions fails where Add of one with conditions does, and otherwise adds it to its descriptor.
func TestAddOfAPausedEvent(t *testing.T) {
	paused := func(t *testing.T, l *event.Loop, fd int, manner event.Flags) *event.Event {
		t.Helper()
		e := eventFor(t, l, fd, event.Read|manner, nothing)
		must(t, e.SetConditions(0))
		return e
	}
	t.Run("bad descriptor", func(t *testing.T) {
		l := newLoop(t, nil)
		fd, peer := rawPair(t)
		closeRaw(t, fd, peer)
		for _, fd := range []int{fd, math.MaxInt32} {
			e := paused(t, l, fd, 0)
			wantErr(t, e.Add(event.NoTimeout), event.ErrBadDescriptor)
			wantEqual(t, "added", e.Added(), false)
		}
	})
	t.Run("regular file", func(t *testing.T) {
		l := newLoop(t, nil)
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		must(t, err)
		defer f.Close()
		err = paused(t, l, fdOf(t, f), 0).Add(event.NoTimeout)
		if l.Features().Has(event.FeatureAnyFile) {
			must(t, err)
		} else {
			wantErr(t, err, event.ErrNotPollable)
		}
	})
	t.Run("alone", func(t *testing.T) {
		l := newLoop(t, nil)
		e := paused(t, l, readable(t), event.Persist)
		must(t, e.Add(event.NoTimeout))
		turns(t, l, 2)
		wantEqual(t, "callbacks", l.Stats().Callbacks, 0)
		must(t, e.SetConditions(event.Read))
		turns(t, l, 2)
		wantEqual(t, "callbacks", l.Stats().Callbacks, 2)
	})
	t.Run("beside others", func(t *testing.T) {
		l := newLoop(t, nil)
		fd := readable(t)
		for range 2 {
			must(t, paused(t, l, fd, event.Persist).Add(event.NoTimeout))
		}
		reader := eventFor(t, l, fd, event.Read|event.Persist, nothing)
		must(t, reader.Add(event.NoTimeout))
		last := paused(t, l, fd, event.Persist)
		must(t, last.Add(event.NoTimeout))
		turns(t, l, 1)
		wantEqual(t, "callbacks", l.Stats().Callbacks, 1)
		must(t, last.SetConditions(event.Read))
		turns(t, l, 1)
		wantEqual(t, "callbacks", l.Stats().Callbacks, 3)
		must(t, reader.Del())
		must(t, last.Del())
		wantEqual(t, "added", l.Stats().Added, 2)
	})
	t.Run("finds the others stale", func(t *testing.T) {
		l := newLoop(t, nil)
		if !l.Features().Has(event.FeatureStale) {
			t.Skip("the backend goes by numbers")
		}
		fd, peer := rawPair(t)
		gone := silent(t, l, fd, event.Read|event.Persist)
		must(t, gone.Add(event.NoTimeout))
		closeRaw(t, fd, peer)
		peer = reopen(t, fd)
		e := paused(t, l, fd, 0)
		must(t, e.Add(event.NoTimeout))
		wantErr(t, gone.Err(), event.ErrStale)
		must(t, e.SetConditions(event.Read))
		send(t, peer, "x")
		turns(t, l, 1)
		wantEqual(t, "added", e.Added(), false)
		closeRaw(t, fd, peer)
	})
	t.Run("beside a closed one", func(t *testing.T) {
		l := newLoop(t, nil)
		fd, peer := rawPair(t)
		gone := paused(t, l, fd, 0)
		must(t, gone.Add(event.NoTimeout))
		closeRaw(t, fd, peer)
		wantErr(t, paused(t, l, fd, 0).Add(event.NoTimeout), event.ErrBadDescriptor)
		wantErr(t, gone.Err(), event.ErrStale)
		wantEqual(t, "added", l.Stats().Added, 0)
	})
}

// The events of a descriptor agree on EdgeTriggered, also while they are paused.
func TestPausedEventsAgreeOnTheManner(t *testing.T) {
	l := newLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	fd := idle(t)
	level := silent(t, l, fd, event.Read|event.Persist)
	edge := silent(t, l, fd, event.Read|event.Persist|event.EdgeTriggered)
	for _, pair := range [][2]*event.Event{{level, edge}, {edge, level}} {
		must(t, pair[0].Add(event.NoTimeout))
		for _, first := range []event.Flags{event.Read, 0} {
			must(t, pair[0].SetConditions(first))
			for _, second := range []event.Flags{event.Read, 0} {
				must(t, pair[1].SetConditions(second))
				wantErr(t, pair[1].Add(event.NoTimeout), event.ErrInvalid)
			}
		}
		must(t, pair[0].Del())
	}
}

// A new set of the poller knows nothing of paused events, and nothing is lost by it.
func TestRebuildKeepsPausedEvents(t *testing.T) {
	l := newLoop(t, nil)
	var told []event.Flags
	e := eventFor(t, l, readable(t), event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	must(t, e.Add(event.NoTimeout))
	must(t, e.SetConditions(0))
	causeRebuild(t, l, func() { turns(t, l, 1) })
	turns(t, l, 2)
	wantOrder(t, told)
	must(t, e.SetConditions(event.Read))
	turns(t, l, 1)
	wantOrder(t, told, event.Read)
}

// ActivateFD activates the events that wait for the condition, and a paused event with a Timeout only.
func TestActivateFDGoesByTheConditionsOfTheMoment(t *testing.T) {
	l := newLoop(t, nil)
	fd := idle(t)
	var told []event.Flags
	e := eventFor(t, l, fd, event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	must(t, e.Add(event.NoTimeout))
	must(t, e.SetConditions(0))
	must(t, l.ActivateFD(fd, event.Read))
	turns(t, l, 1)
	wantOrder(t, told)
	must(t, l.ActivateFD(fd, event.Read|event.Timeout))
	turns(t, l, 1)
	must(t, e.SetConditions(event.Read))
	must(t, l.ActivateFD(fd, event.Read|event.Write))
	turns(t, l, 1)
	wantOrder(t, told, event.Timeout, event.Read)
}

// Changes from other goroutines, while the loop runs: in the end the last one counts.
func TestSetConditionsRacesTheLoop(t *testing.T) {
	l := newLoop(t, nil)
	_, _, fd, peer := pair(t)
	var calls atomic.Int64
	e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) { calls.Add(1) })
	must(t, e.Add(event.NoTimeout))
	background(t, l)
	send(t, peer, "x")
	changes := []event.Flags{event.Read, event.Read | event.Write, event.Write, 0}
	for i := range tenfold(200) {
		must(t, e.SetConditions(changes[i%len(changes)]))
	}
	must(t, e.SetConditions(0))
	settle := make(chan struct{})
	must(t, l.Post(func() { close(settle) })) // a call chosen before is over
	await(t, settle, "post")
	before := calls.Load()
	letSleep(t, l)
	wantEqual(t, "calls while paused", calls.Load(), before)
	must(t, e.SetConditions(event.Read))
	until(t, "call", func() bool { return calls.Load() > before })
}

// A change allocates nothing.
func TestSetConditionsAllocatesNothing(t *testing.T) {
	l := newLoop(t, nil)
	e := silent(t, l, idle(t), event.Read|event.Persist)
	must(t, e.Add(time.Hour))
	n := testing.AllocsPerRun(1000, func() {
		for _, conditions := range []event.Flags{event.Read | event.Write, event.Write, 0, event.Read, event.Read} {
			if err := e.SetConditions(conditions); err != nil {
				t.Fatal(err)
			}
		}
	})
	wantEqual(t, "allocations", n, 0)
}

// Now does not wait for the loop's lock.
func TestNowNeedsNoLock(t *testing.T) {
	clock := newFakeClock()
	l, p := recordingLoop(t, 0, clock)
	var read []time.Duration
	p.under = func() { read = append(read, l.Now()) }
	e := silent(t, l, 7, event.Read)
	for range 2 {
		must(t, e.Add(event.NoTimeout))
		must(t, e.Del())
		clock.Advance(time.Second)
		turns(t, l, 1)
		clock.Advance(time.Second)
	}
	if !slices.Equal(read, []time.Duration{0, 0, time.Second, time.Second}) {
		t.Errorf("read %v", read)
	}
}
