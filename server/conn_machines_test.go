package server

import (
	"fmt"
	"strings"
	"testing"
)

// Every other step panics and says from which state to which.
func TestTheLifecycleTakesOnlyItsSteps(t *testing.T) {
	allowed := map[lifecycle][]lifecycle{
		lifeNew:        {lifeDialing, lifeHandshake, lifeOpen, lifeRejected},
		lifeDialing:    {lifeHandshake, lifeOpen, lifeRejected},
		lifeHandshake:  {lifeOpen, lifeRejected},
		lifeOpen:       {lifeHalfClosed, lifeFlushing, lifeClosed},
		lifeHalfClosed: {lifeLingering, lifeClosed},
		lifeFlushing:   {lifeLingering, lifeClosed},
		lifeLingering:  {lifeClosed},
		lifeClosed:     {lifeReleased},
		lifeRejected:   {lifeReleased},
	}
	for from := lifeNew; from <= lifeReleased; from++ {
		may := map[lifecycle]bool{}
		for _, to := range allowed[from] {
			may[to] = true
		}
		for to := lifeNew; to <= lifeReleased; to++ {
			want := ""
			if !may[to] {
				want = fmt.Sprintf("server: connection lifecycle: %v to %v", from, to)
			}
			if got := panicText(func() { from.to(to) }); got != want {
				t.Errorf("%v to %v: panic %q, want %q", from, to, got, want)
			}
		}
	}
}

// The table has the answers of each state.
func TestTheLifecycleSaysWhatMayBeDone(t *testing.T) {
	for _, test := range []struct {
		state                                       lifecycle
		connecting, takesInput, closing, shut, gone bool
	}{
		{lifeNew, true, false, false, false, false},
		{lifeDialing, true, false, false, false, false},
		{lifeHandshake, true, false, false, false, false},
		{lifeOpen, false, true, false, false, false},
		{lifeHalfClosed, false, true, false, true, false},
		{lifeFlushing, false, false, true, false, false},
		{lifeLingering, false, false, true, true, false},
		{lifeClosed, false, false, false, false, true},
		{lifeRejected, false, false, false, false, true},
		{lifeReleased, false, false, false, false, true},
	} {
		s := test.state
		got := [...]bool{s.isUnopened(), s.takesInput(), s.isClosing(), s.isShut(), s.isGone()}
		if want := [...]bool{test.connecting, test.takesInput, test.closing, test.shut, test.gone}; got != want {
			t.Errorf("%v: connecting, takes input, closing, shut, gone: %v, want %v", s, got, want)
		}
	}
}

// Either half may be closed first.
func TestTheLifecycleClosesOneHalfAfterTheOther(t *testing.T) {
	if got := lifeOpen.closing().shut(); got != lifeLingering {
		t.Errorf("Close: %v", got)
	}
	if got := lifeOpen.shut().closing(); got != lifeLingering {
		t.Errorf("CloseWrite and Close: %v", got)
	}
	for from, want := range map[lifecycle]lifecycle{lifeNew: lifeRejected, lifeDialing: lifeRejected, lifeHandshake: lifeRejected, lifeOpen: lifeClosed,
		lifeHalfClosed: lifeClosed, lifeFlushing: lifeClosed, lifeLingering: lifeClosed} {
		if got := from.gone(); got != want {
			t.Errorf("%v: %v after the descriptor is closed, want %v", from, got, want)
		}
	}
}

// The work is reading, giving input, or an end.
func TestEachHoldStopsTheWorkThatItsCommentNames(t *testing.T) {
	for h, want := range map[holds][3]bool{ // reading, input, an end in order
		holdWorker: {false, true, true}, holdInput: {true, false, false}, holdRequests: {false, false, true}, holdLimit: {true, true, false}, holdPause: {true, true, false},
		holdOutput: {true, true, false}, holdYield: {true, false, false}, holdRate: {true, false, false},
	} {
		c := &loopConn{life: lifeOpen}
		if !c.mayRead() || !c.mayGiveInput() || c.hasRequests() {
			t.Fatal("an open connection is held by nothing")
		}
		c.holds.add(h)
		if got := [3]bool{!c.mayRead(), !c.mayGiveInput(), c.hasRequests()}; got != want {
			t.Errorf("%v holds reading, input, the end: %v, want %v", h, got, want)
		}
		c.holds.remove(h)
		if c.holds.has(h) || !c.mayRead() {
			t.Errorf("%v stays", h)
		}
	}
}

// A connection without holds is read in some states only.
func TestReadingDependsOnTheLifecycleAndThePeer(t *testing.T) {
	for l := lifeNew; l <= lifeReleased; l++ {
		c := &loopConn{life: l}
		if want := l != lifeDialing && !l.isGone(); c.mayRead() != want {
			t.Errorf("%v: may read: %v", l, !want)
		}
	}
	for p, want := range map[peerHalf]bool{peerSends: true, peerEnded: true, peerEndRead: false, peerEndReported: false, peerEnded | peerHungUp: true, peerDiscarded: true} {
		c := &loopConn{life: lifeOpen}
		c.peerHalf = p
		if c.mayRead() != want {
			t.Errorf("%v: may read: %v", p, !want)
		}
	}
}

// Output is not blocked and throttled at the same time.
func TestOutputIsNotBlockedAndThrottledAtOnce(t *testing.T) {
	for from := writeIdle; from <= writeThrottled; from++ {
		for to := writeIdle; to <= writeThrottled; to++ {
			refused := from != to && from != writeIdle && to != writeIdle
			if got := panicText(func() { from.to(to) }); (got != "") != refused || refused && !strings.HasPrefix(got, "server: writing: ") {
				t.Errorf("%v to %v: panic %q", from, to, got)
			}
		}
	}
}

// An end that is reported again is the exception.
func TestThePeersHalfOnlyGrows(t *testing.T) {
	for _, test := range []struct{ from, next, want peerHalf }{
		{peerSends, peerEnded, peerEnded},
		{peerEnded, peerSends, peerEnded},
		{peerEndRead, peerEnded, peerEndRead},
		{peerEndRead, peerEndReported, peerEndReported},
		{peerEndReported, peerEndRead, peerEndReported},
		{peerSends, peerDiscarded, peerSends | peerDiscarded},
		{peerEnded | peerDiscarded, peerEndRead, peerEndRead | peerDiscarded},
		{peerEndReported, peerEnded | peerHungUp, peerEndReported | peerHungUp},
	} {
		if got := test.from.reach(test.next); got != test.want {
			t.Errorf("%v reaches %v: %v, want %v", test.from, test.next, got, test.want)
		}
	}
	for from, want := range map[peerHalf]peerHalf{peerEndReported | peerHungUp: peerEndRead | peerHungUp, peerEndRead: peerEndRead, peerSends: peerSends} {
		if got := from.unreported(); got != want {
			t.Errorf("%v, unreported: %v, want %v", from, got, want)
		}
	}
}

// Afterwards it never becomes idle again.
func TestADrainingConnectionIsIdleUntilItHasSomethingToDo(t *testing.T) {
	for _, test := range []struct{ from, idle, busy, worked drainState }{
		{drainNone, drainIdle, drainBusy, drainNone},
		{drainIdle, drainIdle, drainIdle, drainBusy},
		{drainBusy, drainBusy, drainBusy, drainBusy},
		{drainIdle | drainRead, drainIdle | drainRead, drainIdle | drainRead, drainBusy | drainRead},
	} {
		if got := [3]drainState{test.from.begin(true), test.from.begin(false), test.from.busy()}; got != [3]drainState{test.idle, test.busy, test.worked} {
			t.Errorf("%v: %v", test.from, got)
		}
		if test.from.isDraining() != (test.from != drainNone) {
			t.Errorf("%v: draining: %v", test.from, test.from.isDraining())
		}
	}
}

// The last read of a shutdown is made once, unless a request asks for more. Without a shutdown none is the last.
func TestADrainingConnectionIsReadOnceMore(t *testing.T) {
	for from, want := range map[drainState]drainState{drainNone: drainNone, drainIdle: drainIdle | drainRead, drainBusy: drainBusy | drainRead} {
		c := &loopConn{life: lifeOpen}
		c.draining = from.read()
		if c.draining != want || c.draining.unread() != from || c.mayRead() == c.draining.isRead() || !c.mayReadAgain() {
			t.Errorf("%v after the last read: %v", from, c.draining)
		}
	}
}

// Afterwards the connection is queued if commands or output wait, and only then.
func TestTheLoopEndsItsWorkOnAConnectionOnce(t *testing.T) {
	for _, test := range []struct {
		name     string
		sched    schedState
		commands command
		want     schedState
		again    bool
		refused  bool
	}{
		{"nothing waits", schedRunning, 0, 0, false, false},
		{"a command waits", schedRunning, cmdCheck, schedQueued, true, false},
		{"is queued already", schedRunning | schedQueued, cmdCheck, schedQueued, false, false},
		{"a write was refused", schedRunning | schedRefused, 0, 0, false, true},
	} {
		c := &loopConn{life: lifeOpen}
		c.loop = new(loop)
		c.sched, c.commands = test.sched, test.commands
		var r flushResult
		c.finishFlush(&r)
		if c.sched != test.want || r.again != test.again || r.refused != test.refused || !r.drained || r.state != connOpen {
			t.Errorf("%s: %v, result %+v", test.name, c.sched, r)
		}
	}
}

// While the loop works on the connection, a command does not queue it.
func TestACommandQueuesAConnectionOnce(t *testing.T) {
	c := &loopConn{}
	for i, want := range []bool{true, false} {
		if got := c.mark(cmdCheck); got != want {
			t.Errorf("command %d is queued: %v", i, got)
		}
	}
	c.sched = schedRunning
	if c.mark(cmdDone) || c.commands != cmdCheck|cmdDone {
		t.Errorf("the loop checks itself: %v, %v", c.sched, c.commands)
	}
}

// panicText returns the text that fn panics with, or "".
func panicText(fn func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	fn()
	return ""
}
