package event_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// pollLoop is a loop on poll(2), which only a thread can sleep in.
func pollLoop(t testing.TB) *event.Loop {
	t.Helper()
	return testkit.NewLoop(t, &event.Config{Backend: event.BackendPoll, Driver: event.DriverThread})
}

// poll detects a closed descriptor: its events end with ErrStale and without a call, and Run returns.
func TestPollEndsEventsOfAClosedDescriptor(t *testing.T) {
	l := pollLoop(t)
	a, _, fd, _ := pair(t)
	n := privateDup(t, fd)
	var all []*event.Event
	for _, flags := range []event.Flags{event.Read | event.Persist, event.Read, event.Write} {
		e := silent(t, l, n, flags)
		testkit.Must(t, e.Add(time.Hour))
		all = append(all, e)
	}
	testkit.Must(t, unix.Close(n))
	testkit.Run(t, l)
	for _, e := range all {
		testkit.WantEqual(t, "pending", e.Pending(), 0)
		testkit.WantErr(t, e.Err(), event.ErrStale)
		testkit.WantErr(t, e.Del(), event.ErrStale)
	}
	testkit.WantEqual(t, "stale", l.Stats().Stale, 3)
	testkit.WantEqual(t, "the other descriptor of the file is unharmed", fdOf(t, a), fd)
}

// With every backend, Del of an event whose descriptor was closed returns ErrStale, and Run does not wait for it.
func TestClosedDescriptorDoesNotHoldRun(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fd, _ := pair(t)
	n := privateDup(t, fd)
	e := silent(t, l, n, event.Read|event.Persist)
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 1)
	testkit.Must(t, unix.Close(n))
	testkit.Must(t, userEvent(t, l, 0, func() {
		wantMessage(t, e.Del(), event.ErrStale, strconv.Itoa(n))
		testkit.WantErr(t, e.Err(), event.ErrStale)
	}).Activate(0))
	testkit.Run(t, l)
}

// If a file is closed and gets its number back, its events continue. The kernel may have kept the registration.
func TestFileThatGetsItsNumberBack(t *testing.T) {
	for name, between := range map[string]func(e *event.Event) error{
		"left alone": func(*event.Event) error { return nil },
		"Del while closed": func(e *event.Event) error {
			if err := e.Del(); !errors.Is(err, event.ErrStale) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			_, _, fd, peer := pair(t)
			n := privateDup(t, fd)
			calls := 0
			e := eventFor(t, l, n, event.Read, func(*event.Event, event.Flags) {
				calls++
				_, err := receive(n)
				testkit.Must(t, err)
			})
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Must(t, unix.Close(n))
			testkit.Must(t, between(e))
			testkit.WantEqual(t, "number of the duplicate", privateDup(t, fd), n)
			defer unix.Close(n)
			testkit.Must(t, e.Add(event.NoTimeout))
			send(t, peer, "x")
			testkit.Run(t, l)
			testkit.WantEqual(t, "calls", calls, 1)
			testkit.Must(t, e.Add(event.NoTimeout))
			send(t, peer, "x")
			testkit.Run(t, l)
			testkit.WantEqual(t, "calls after another Add", calls, 2)
		})
	}
}

// Del, Add and Del of a ready descriptor's event in every turn bring no report and no turn beyond the timer's.
func TestAddAndDelInEveryTurn(t *testing.T) {
	const ticks = 100
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, readable(t), event.Read|event.Persist)
	n := 0
	ticker, err := l.NewTicker(func(self *event.Event, _ event.Flags) {
		testkit.Must(t, e.Del())
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, e.Del())
		if n++; n == ticks {
			testkit.Must(t, self.Del())
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, ticker.Add(time.Millisecond))
	testkit.Run(t, l)
	s := l.Stats()
	testkit.WantEqual(t, "reports", s.Reports, 0)
	testkit.WantEqual(t, "callbacks", s.Callbacks, ticks)
	if s.Turns > 4*ticks { // a sleep may end early once, for an alarm that is set already
		t.Errorf("%d turns for %d ticks", s.Turns, ticks)
	}
}

// An event that is deleted and added again in every turn receives each readiness that holds, and no other.
func TestReaddInEveryTurnReportsWhatIsThere(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fd, peer := pair(t)
	calls := 0
	e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) { calls++ })
	for i := range 50 {
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, e.Del())
		testkit.Must(t, e.Add(event.NoTimeout))
		if i%2 == 1 {
			send(t, peer, "x")
		}
		turns(t, l, 1)
		testkit.WantEqual(t, "calls", calls, (i+1)/2)
		_, err := receive(fd)
		testkit.Must(t, err)
	}
	testkit.Must(t, e.Del())
}

// openDescriptors counts what this process has open.
func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		entries, err = os.ReadDir("/dev/fd")
	}
	testkit.Must(t, err)
	return len(entries)
}

// A thousand connections one after the other leave nothing behind: no event, and no descriptor.
func TestSequentialConnectionsLeakNothing(t *testing.T) {
	const connections = 1000
	l := testkit.NewLoop(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	testkit.Must(t, err)
	defer f.Close()
	srv := &echoServer{t: t, l: l, fd: fdOf(t, f), left: connections}
	testkit.Must(t, unix.SetNonblock(srv.fd, true))
	testkit.Must(t, eventFor(t, l, srv.fd, event.Read|event.Persist, srv.accept).Add(event.NoTimeout))
	before := openDescriptors(t)

	failed := make(chan error, 1)
	go func() {
		for range connections {
			if err := askEcho(ln.Addr().String()); err != nil {
				l.Break()
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	testkit.Run(t, l)
	testkit.Must(t, testkit.Await(t, failed, "the client's end"))
	testkit.WantEqual(t, "open descriptors", openDescriptors(t), before)
	s := l.Stats()
	testkit.WantEqual(t, "added", s.Added, 0)
	if s.MaxAdded > 10 || srv.highest > before+30 {
		t.Errorf("%d events were added at once; the highest descriptor was %d, of %d before", s.MaxAdded, srv.highest, before)
	}
}

// echoServer sends back what its connections send, one short message each.
type echoServer struct {
	t             *testing.T
	l             *event.Loop
	fd            int
	left, highest int
}

func (s *echoServer) accept(e *event.Event, _ event.Flags) {
	fd, _, err := unix.Accept(s.fd)
	if errors.Is(err, unix.EAGAIN) {
		return
	}
	testkit.Must(s.t, err)
	unix.CloseOnExec(fd)
	testkit.Must(s.t, unix.SetNonblock(fd, true))
	s.highest = max(s.highest, fd)
	testkit.Must(s.t, eventFor(s.t, s.l, fd, event.Read|event.Persist, s.echo).Add(time.Hour))
	if s.left--; s.left == 0 {
		testkit.Must(s.t, e.Del())
	}
}

func (s *echoServer) echo(e *event.Event, _ event.Flags) {
	text, err := receive(e.FD())
	if text != "" {
		send(s.t, e.FD(), text)
	}
	if err != nil {
		testkit.Must(s.t, e.Del())
		testkit.Must(s.t, unix.Close(e.FD()))
	}
}

// askEcho makes one connection and closes it.
func askEcho(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	answer := make([]byte, 5)
	_, err = io.ReadFull(c, answer)
	return err
}
