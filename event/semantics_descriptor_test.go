package event_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// reportedOnce adds an event for fd and returns the flags of its call in one turn, 0 if it is not called.
func reportedOnce(t testing.TB, l *event.Loop, fd int, flags event.Flags) (told event.Flags) {
	t.Helper()
	e, err := l.NewEvent(fd, flags, func(_ *event.Event, what event.Flags) { told |= what })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(event.NoTimeout))
	oneTurn(t, l)
	testkit.Must(t, e.Del())
	return told
}

// pipeEnds returns a pipe.
func pipeEnds(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	testkit.Must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// An error or a hang-up counts as readable and writable, so that the event makes the call that returns the error.
func TestErrorAndHangupAreReportedToEveryWaitingEvent(t *testing.T) {
	const read, write, closed = event.Read, event.Write, event.Closed
	for name, c := range map[string]struct {
		open func(t *testing.T) int
		told map[event.Flags]event.Flags // by what the event waits for
	}{
		"a pipe without a writer": {
			func(t *testing.T) int { r, w := pipeEnds(t); testkit.Must(t, w.Close()); return fdOf(t, r) },
			map[event.Flags]event.Flags{read: read},
		},
		"a pipe without a reader": {
			func(t *testing.T) int { r, w := pipeEnds(t); testkit.Must(t, r.Close()); return fdOf(t, w) },
			map[event.Flags]event.Flags{read: read, write: write, read | write: read | write, closed: closed},
		},
		"a socket that is not connected": {
			func(t *testing.T) int {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
				testkit.Must(t, err)
				unix.CloseOnExec(fd)
				testkit.Must(t, unix.SetNonblock(fd, true))
				t.Cleanup(func() { unix.Close(fd) })
				return fd
			},
			map[event.Flags]event.Flags{read: read, write: write, closed: closed, read | write: read | write},
		},
		"a peer that sends no more": {
			func(t *testing.T) int {
				a, b := socketpair(t)
				testkit.Must(t, unix.Shutdown(fdOf(t, b), unix.SHUT_WR))
				return fdOf(t, a)
			},
			map[event.Flags]event.Flags{read: read, write: write, closed: closed, read | closed: read | closed},
		},
		"a quiet peer": {
			func(t *testing.T) int { a, _ := socketpair(t); return fdOf(t, a) },
			map[event.Flags]event.Flags{read: 0, write: write, closed: 0, read | write: write},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			fd := c.open(t)
			for flags, want := range c.told {
				if told := reportedOnce(t, l, fd, flags); told != want {
					t.Errorf("an event that waits for %v is told %v, want %v", flags, told, want)
				}
			}
		})
	}
}

// A connection that the peer resets is reported as Closed, alone or with what else is waited for.
func TestResetIsReportedAsClosed(t *testing.T) {
	for _, flags := range []event.Flags{event.Closed, event.Closed | event.Persist, event.Closed | event.Read} {
		t.Run(flags.String(), func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			fd, reset := resettable(t)
			var told event.Flags
			e, err := l.NewEvent(fd, flags, func(e *event.Event, what event.Flags) {
				told = what
				testkit.Must(t, e.Del())
			})
			testkit.Must(t, err)
			testkit.Must(t, e.Add(event.NoTimeout))
			oneTurn(t, l)
			if told != 0 {
				t.Fatalf("told %v before the reset", told)
			}
			reset()
			testkit.Run(t, l)
			if want := flags &^ event.Persist; told != want {
				t.Errorf("told %v, want %v", told, want)
			}
		})
	}
}

// resettable returns a connection and a function by which its peer resets it.
func resettable(t testing.TB) (fd int, reset func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	defer c.Close() // the test keeps a duplicate
	peer, err := ln.Accept()
	testkit.Must(t, err)
	t.Cleanup(func() { peer.Close() })
	f, err := c.(*net.TCPConn).File()
	testkit.Must(t, err)
	t.Cleanup(func() { f.Close() })
	return fdOf(t, f), func() {
		testkit.Must(t, peer.(*net.TCPConn).SetLinger(0))
		testkit.Must(t, peer.Close())
	}
}

// After Del and close, the next file with the number can be watched.
func TestDelBeforeCloseFreesTheNumber(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	c, d := socketpair(t)
	fd := privateCopy(t, a)
	var calls journal
	for round := range 3 {
		first := calls.event(t, l, "first", fd, event.Read|event.Persist, nil)
		testkit.Must(t, first.Add(event.NoTimeout))
		testkit.Must(t, first.Del())
		reopenAs(t, fd, c)
		second := calls.event(t, l, fmt.Sprint("second ", round), fd, event.Read, func() { readAll(fd) })
		testkit.Must(t, second.Add(event.NoTimeout))
		makeReadable(t, b)
		oneTurn(t, l)
		calls.want(t)
		makeReadable(t, d)
		oneTurn(t, l)
		calls.want(t, fmt.Sprint("second ", round))
		reopenAs(t, fd, a)
		readAll(fd)
	}
	if s := l.Stats(); s.Stale != 0 || s.LateReports != 0 || s.Rebuilds != 0 {
		t.Errorf("stale %d, late reports %d, rebuilds %d; want none", s.Stale, s.LateReports, s.Rebuilds)
	}
}

// A descriptor that was closed before Del does not keep the number's next file from being watched; where the backend
// can tell the two apart, the former event ends and says why.
func TestNumberThatWasClosedBeforeDelIsWatchedAnew(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, _ := socketpair(t)
	c, d := socketpair(t)
	fd := privateCopy(t, a)
	told := map[string]event.Flags{}
	watch := func(name string) *event.Event {
		e, err := l.NewEvent(fd, event.Read, func(_ *event.Event, what event.Flags) { told[name] = what })
		testkit.Must(t, err)
		testkit.Must(t, e.Add(event.NoTimeout))
		return e
	}
	first := watch("first")
	reopenAs(t, fd, c)
	watch("second")
	makeReadable(t, d)
	oneTurn(t, l)
	if told["second"] != event.Read {
		t.Errorf("the second event was told %v, want Read", told["second"])
	}
	if l.Features().Has(event.FeatureStale) {
		testkit.WantErr(t, first.Err(), event.ErrStale)
		if first.Added() || told["first"] != 0 || l.Stats().Stale != 1 {
			t.Errorf("first: added %v, told %v; %d stale events, want 1", first.Added(), told["first"], l.Stats().Stale)
		}
	}
}

// Del says that the descriptor was closed before; the event is removed, and may be added again for the number's next file.
func TestDelAfterCloseReturnsStale(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	fd := privateCopy(t, a)
	told := event.Flags(0)
	e, err := l.NewEvent(fd, event.Read|event.Persist, func(_ *event.Event, what event.Flags) { told |= what })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, unix.Close(fd))
	testkit.WantErr(t, e.Del(), event.ErrStale)
	testkit.WantErr(t, e.Err(), event.ErrStale)
	if e.Added() || l.Stats().Added != 0 {
		t.Errorf("added %v, %d in all", e.Added(), l.Stats().Added)
	}
	testkit.WantErr(t, e.Add(event.NoTimeout), event.ErrBadDescriptor)
	reopenAs(t, fd, a)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.Err())
	makeReadable(t, b)
	oneTurn(t, l)
	if told != event.Read {
		t.Errorf("told %v, want Read", told)
	}
	testkit.Must(t, e.Del())
}

// An event that ended while it was active is called once when it is added again and ready.
func TestStaleEventIsNotCalledForEarlierReadiness(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureStale) {
		t.Skip("the backend goes by numbers")
	}
	a, _ := socketpair(t)
	c, d := socketpair(t)
	fd := privateCopy(t, a)
	var calls journal
	e := calls.event(t, l, "event", fd, event.Read|event.Persist, func() { readAll(fd) })
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.Activate(event.Read))
	reopenAs(t, fd, c)
	finder := calls.event(t, l, "finder", fd, event.Closed, nil)
	testkit.Must(t, finder.Add(event.NoTimeout))
	testkit.Must(t, e.Add(event.NoTimeout))
	oneTurn(t, l)
	calls.want(t)
	makeReadable(t, d)
	oneTurn(t, l)
	calls.want(t, "event")
	testkit.Must(t, e.Del())
}

// If a change of conditions finds that the file is closed, another file that has its number is not watched instead.
func TestChangeDoesNotWatchAnotherFile(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, l *event.Loop, reader, writer *event.Event){
		"less": func(t *testing.T, _ *event.Loop, _, writer *event.Event) {
			testkit.WantErr(t, writer.Del(), event.ErrStale)
		},
		"more": func(t *testing.T, l *event.Loop, reader, _ *event.Event) {
			third, err := l.NewEvent(reader.FD(), event.Closed, func(*event.Event, event.Flags) {})
			testkit.Must(t, err)
			testkit.Must(t, third.Add(event.NoTimeout)) // this one is for the other file
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			if !l.Features().Has(event.FeatureStale) {
				t.Skip("the backend goes by numbers")
			}
			a, _ := socketpair(t)
			c, d := socketpair(t)
			fd := privateCopy(t, a)
			var calls journal
			reader := calls.event(t, l, "reader", fd, event.Read|event.Persist, nil)
			writer := calls.event(t, l, "writer", fd, event.Write|event.Persist, nil)
			testkit.Must(t, reader.Add(event.NoTimeout))
			testkit.Must(t, writer.Add(event.NoTimeout))
			reopenAs(t, fd, c)
			change(t, l, reader, writer)
			makeReadable(t, d)
			oneTurn(t, l)
			calls.want(t)
			testkit.WantErr(t, reader.Err(), event.ErrStale)
			testkit.WantErr(t, writer.Err(), event.ErrStale)
		})
	}
}

// Of two descriptors that are ready in the same turn, the one whose callback comes first closes the other and gives its
// number to a third file: the report for the closed one does not reach the third's event.
func TestReportIsNotInheritedInsideATurn(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	quiet, peer := socketpair(t)
	var calls journal
	var fds [2]int
	var events [2]*event.Event
	takeOver := func(other int) {
		testkit.Must(t, events[other].Del())
		reopenAs(t, fds[other], quiet)
		testkit.Must(t, calls.event(t, l, "heir", fds[other], event.Read, nil).Add(event.NoTimeout))
	}
	for i := range fds {
		a, b := socketpair(t)
		fds[i] = privateCopy(t, a)
		events[i] = calls.event(t, l, "one of two", fds[i], event.Read, func() { takeOver(1 - i) })
		testkit.Must(t, events[i].Add(event.NoTimeout))
		makeReadable(t, b)
	}
	oneTurn(t, l)
	oneTurn(t, l)
	calls.want(t, "one of two")
	makeReadable(t, peer)
	oneTurn(t, l)
	calls.want(t, "heir")
}

// That holds between the loop's look and its tables, too: there, another goroutine may do the same.
func TestReportIsNotInheritedBetweenPollAndTurn(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	quiet, peer := socketpair(t)
	fd := privateCopy(t, a)
	var calls journal
	e := calls.event(t, l, "closed", fd, event.Read, nil)
	testkit.Must(t, e.Add(event.NoTimeout))
	makeReadable(t, b)
	var w *event.Watcher
	w, err := l.OnCheck(func() {
		w.Stop()
		testkit.Must(t, e.Del())
		reopenAs(t, fd, quiet)
		testkit.Must(t, calls.event(t, l, "heir", fd, event.Read, nil).Add(event.NoTimeout))
	})
	testkit.Must(t, err)
	oneTurn(t, l)
	oneTurn(t, l)
	calls.want(t)
	if s := l.Stats(); s.LateReports != 1 || s.Rebuilds != 0 {
		t.Errorf("late reports %d, rebuilds %d; want 1, 0", s.LateReports, s.Rebuilds)
	}
	makeReadable(t, peer)
	oneTurn(t, l)
	calls.want(t, "heir")
}

// An event that is deleted and added again behind the look misses that report, and none more.
func TestAddBetweenPollAndTurnLosesNoReadiness(t *testing.T) {
	for _, flags := range []event.Flags{event.Read, event.Read | event.EdgeTriggered} {
		t.Run(flags.String(), func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			if flags&event.EdgeTriggered != 0 && !l.Features().Has(event.FeatureEdge) {
				t.Skip("the backend knows no edges")
			}
			a, b := socketpair(t)
			var calls journal
			e := calls.event(t, l, "event", fdOf(t, a), flags, nil)
			testkit.Must(t, e.Add(event.NoTimeout))
			makeReadable(t, b)
			var w *event.Watcher
			w, err := l.OnCheck(func() { w.Stop(); testkit.Must(t, e.Del()); testkit.Must(t, e.Add(event.NoTimeout)) })
			testkit.Must(t, err)
			testkit.Run(t, l)
			calls.want(t, "event")
		})
	}
}
