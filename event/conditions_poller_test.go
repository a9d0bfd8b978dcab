package event_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// recordingPoller records its calls. While fail is set it returns an error.
type recordingPoller struct {
	*scriptPoller
	journal
	fail  error
	lacks event.Features
	under func() // called in Add, where the loop's lock is held
}

func (p *recordingPoller) record(op string, fd int, want event.Flags) error {
	p.note(fmt.Sprintf("%s %d %v", op, fd, want))
	if p.under != nil {
		p.under()
	}
	return p.fail
}

func (p *recordingPoller) Add(fd int, want event.Flags, tag uint64) error {
	if err := p.record("add", fd, want); err != nil {
		return err
	}
	return p.scriptPoller.Add(fd, want, tag)
}

func (p *recordingPoller) Modify(fd int, want event.Flags, tag uint64) error {
	if err := p.record("modify", fd, want); err != nil {
		return err
	}
	return p.scriptPoller.Modify(fd, want, tag)
}

func (p *recordingPoller) Remove(fd int) error {
	if err := p.record("remove", fd, 0); err != nil {
		return err
	}
	return p.scriptPoller.Remove(fd)
}

func (p *recordingPoller) Features() event.Features { return p.scriptPoller.Features() &^ p.lacks }

func recordingLoop(t *testing.T, lacks event.Features, clock event.Clock) (*event.Loop, *recordingPoller) {
	t.Helper()
	p := &recordingPoller{scriptPoller: newScriptPoller(), lacks: lacks}
	open := func() (event.Poller, error) { return p, nil }
	return testkit.NewLoop(t, &event.Config{Clock: clock, Driver: event.DriverThread, OpenPoller: open}), p
}

// A change is one call to the poller, or none where the events of the descriptor together want what they wanted.
func TestSetConditionsCallsThePollerOnce(t *testing.T) {
	l, p := recordingLoop(t, 0, nil)
	a, b := silent(t, l, 7, event.Read|event.Persist), silent(t, l, 7, event.Write|event.Persist)
	set := func(e *event.Event, conditions event.Flags, calls ...string) {
		t.Helper()
		testkit.Must(t, e.SetConditions(conditions))
		p.want(t, calls...)
	}
	set(a, event.Write)
	set(a, event.Read)
	testkit.Must(t, a.Add(event.NoTimeout))
	p.want(t, "add 7 Read")
	set(a, event.Read)
	set(a, event.Read|event.Closed, "modify 7 Read|Closed")
	set(a, event.Read, "modify 7 Read")
	set(a, 0, "remove 7 0")
	set(a, 0)
	set(a, event.Write, "add 7 Write")
	testkit.Must(t, b.Add(event.NoTimeout))
	p.want(t)
	set(a, 0)
	set(a, event.Read, "modify 7 Read|Write")
	set(b, event.Read, "modify 7 Read")
	set(a, 0)
	testkit.Must(t, a.Del())
	p.want(t)
	set(b, 0, "remove 7 0")
	testkit.Must(t, b.Del())
	p.want(t)
	set(b, event.Write)
}

// When the poller refuses, the event waits for what it waited for before.
func TestRefusedChangeChangesNothing(t *testing.T) {
	l, p := recordingLoop(t, 0, nil)
	var told []event.Flags
	e := eventFor(t, l, 7, event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told = append(told, what) })
	testkit.Must(t, e.Add(event.NoTimeout))
	refused := func(conditions event.Flags, fail, want error) {
		t.Helper()
		before := e.Pending()
		p.fail = fail
		testkit.WantErr(t, e.SetConditions(conditions), want)
		p.fail = nil
		testkit.WantEqual(t, "pending", e.Pending(), before)
		testkit.WantEqual(t, "added", e.Added(), true)
		testkit.Must(t, e.Err())
	}
	refused(event.Read|event.Write, unix.ENOMEM, unix.ENOMEM)
	refused(0, unix.ENOMEM, unix.ENOMEM)
	p.report(7, event.Read)
	turns(t, l, 1)
	wantOrder(t, told, event.Read)
	testkit.Must(t, e.SetConditions(0))
	refused(event.Read, unix.EPERM, event.ErrNotPollable)
	refused(event.Read, unix.ELOOP, event.ErrNested)
	testkit.Must(t, e.Del())
}

func TestSetConditionsIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, idle(t), event.Read|event.Persist)
	testkit.Must(t, e.Add(event.NoTimeout))
	for _, flags := range []event.Flags{event.Timeout, event.Signal, event.Persist, event.EdgeTriggered | event.Read, 0x1000} {
		wantMessage(t, e.SetConditions(flags), event.ErrInvalid, flags.String(), fmt.Sprint(e.FD()))
	}
	testkit.WantEqual(t, "pending", e.Pending(), event.Read)
	for _, other := range []*event.Event{
		silent(t, l, -1, 0), silent(t, l, -1, event.Persist), silent(t, l, int(syscall.SIGWINCH), event.Signal),
	} {
		testkit.WantErr(t, other.SetConditions(event.Read), event.ErrInvalid)
		testkit.WantErr(t, other.SetConditions(0), event.ErrInvalid)
	}

	poor, _ := recordingLoop(t, event.FeatureClosed, nil)
	limited := silent(t, poor, 7, event.Read)
	testkit.WantErr(t, limited.SetConditions(event.Closed), event.ErrUnsupported)
	testkit.Must(t, limited.Add(event.NoTimeout))
	testkit.WantErr(t, limited.SetConditions(event.Closed|event.Read), event.ErrUnsupported)
	testkit.WantEqual(t, "pending", limited.Pending(), event.Read)

	final := silent(t, l, idle(t), event.Read)
	testkit.Must(t, final.Finalize(func(*event.Event) {}))
	testkit.WantErr(t, final.SetConditions(event.Write), event.ErrFinalized)
	testkit.Must(t, l.Close())
	testkit.WantErr(t, e.SetConditions(event.Write), event.ErrClosed)
	testkit.WantErr(t, e.SetConditions(event.Read), event.ErrClosed)
	testkit.WantEqual(t, "flags", e.Flags(), event.Read|event.Persist)
}

// If SetConditions finds that the descriptor was closed before Del, its events end until the next Add.
func TestSetConditionsOfAClosedDescriptorReturnsStale(t *testing.T) {
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
			l := testkit.NewLoop(t, nil)
			if c.reuse && !l.Features().Has(event.FeatureStale) {
				t.Skip("the backend goes by numbers")
			}
			fd, peer := rawPair(t)
			e := silent(t, l, fd, event.Read|event.Persist)
			neighbour := silent(t, l, fd, event.Read|event.Persist)
			for _, e := range []*event.Event{e, neighbour} {
				testkit.Must(t, e.Add(time.Hour))
				testkit.Must(t, e.SetConditions(c.wait))
			}
			if c.change == 0 {
				testkit.Must(t, neighbour.SetConditions(0)) // or nothing would change for the poller
			}
			closeRaw(t, fd, peer)
			if c.reuse {
				peer = reopen(t, fd)
				send(t, peer, "for another")
			}
			testkit.WantErr(t, e.SetConditions(c.change), event.ErrStale)
			for _, e := range []*event.Event{e, neighbour} {
				testkit.WantErr(t, e.Err(), event.ErrStale)
				testkit.WantErr(t, e.SetConditions(c.wait), event.ErrStale)
				testkit.WantEqual(t, "pending", e.Pending(), 0)
				testkit.WantErr(t, e.Del(), event.ErrStale)
			}
			if s := l.Stats(); s.Added != 0 || s.Stale != 2 {
				t.Errorf("%d added, %d stale", s.Added, s.Stale)
			}
			turns(t, l, 3)
			testkit.WantEqual(t, "late reports", l.Stats().LateReports, 0)
			if c.reuse {
				testkit.Must(t, e.Add(event.NoTimeout)) // for the number's next file
				testkit.Must(t, e.SetConditions(0))
				testkit.Must(t, e.Del())
				closeRaw(t, fd, peer)
			}
		})
	}
}

// A change that finds the last event stale ends a Run that had nothing else to wait for.
func TestChangeThatEndsTheLastEventEndsRun(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd, peer := rawPair(t)
	defer closeRaw(t, peer)
	e := silent(t, l, fd, event.Read|event.Persist)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.SetConditions(0))
	over := make(chan error, 1)
	go func() { over <- l.Run(t.Context()) }()
	letSleep(t, l)
	closeRaw(t, fd)
	testkit.WantErr(t, e.SetConditions(event.Read), event.ErrStale)
	testkit.Must(t, testkit.Await(t, over, "end of Run"))
}
