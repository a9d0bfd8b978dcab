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
)

// pollLoop is a loop on poll(2), which only a thread can sleep in.
func pollLoop(t testing.TB) *event.Loop {
	t.Helper()
	return newLoop(t, &event.Config{Backend: event.BackendPoll, Driver: event.DriverThread})
}

// poll detects a closed descriptor: its events end with ErrStale and without a call, and Run returns.
func TestPollEndsEventsOfAClosedDescriptor(t *testing.T) {
	l := pollLoop(t)
	a, _, fd, _ := pair(t)
	n := privateDup(t, fd)
	var all []*event.Event
	for _, flags := range []event.Flags{event.Read | event.Persist, event.Read, event.Write} {
		e := silent(t, l, n, flags)
		must(t, e.Add(time.Hour))
		all = append(all, e)
	}
	must(t, unix.Close(n))
	run(t, l)
	for _, e := range all {
		wantEqual(t, "pending", e.Pending(), 0)
		wantErr(t, e.Err(), event.ErrStale)
		wantErr(t, e.Del(), event.ErrStale)
	}
	wantEqual(t, "stale", l.Stats().Stale, 3)
	wantEqual(t, "the other descriptor of the file is unharmed", fdOf(t, a), fd)
}

// With every backend, Del of an event whose descriptor was closed returns ErrStale, and Run does not wait for it.
func TestClosedDescriptorDoesNotHoldRun(t *testing.T) {
	l := newLoop(t, nil)
	_, _, fd, _ := pair(t)
	n := privateDup(t, fd)
	e := silent(t, l, n, event.Read|event.Persist)
	must(t, e.Add(event.NoTimeout))
	turns(t, l, 1)
	must(t, unix.Close(n))
	must(t, userEvent(t, l, 0, func() {
		wantMessage(t, e.Del(), event.ErrStale, strconv.Itoa(n))
		wantErr(t, e.Err(), event.ErrStale)
	}).Activate(0))
	run(t, l)
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
			l := newLoop(t, nil)
			_, _, fd, peer := pair(t)
			n := privateDup(t, fd)
			calls := 0
			e := eventFor(t, l, n, event.Read, func(*event.Event, event.Flags) {
				calls++
				_, err := receive(n)
				must(t, err)
			})
			must(t, e.Add(event.NoTimeout))
			must(t, unix.Close(n))
			must(t, between(e))
			wantEqual(t, "number of the duplicate", privateDup(t, fd), n)
			defer unix.Close(n)
			must(t, e.Add(event.NoTimeout))
			send(t, peer, "x")
			run(t, l)
			wantEqual(t, "calls", calls, 1)
			must(t, e.Add(event.NoTimeout))
			send(t, peer, "x")
			run(t, l)
			wantEqual(t, "calls after another Add", calls, 2)
		})
	}
}

// Del, Add and Del of a ready descriptor's event in every turn bring no report and no turn beyond the timer's.
func TestAddAndDelInEveryTurn(t *testing.T) {
	const ticks = 100
	l := newLoop(t, nil)
	e := silent(t, l, readable(t), event.Read|event.Persist)
	n := 0
	ticker, err := l.NewTicker(func(self *event.Event, _ event.Flags) {
		must(t, e.Del())
		must(t, e.Add(event.NoTimeout))
		must(t, e.Del())
		if n++; n == ticks {
			must(t, self.Del())
		}
	})
	must(t, err)
	must(t, ticker.Add(time.Millisecond))
	run(t, l)
	s := l.Stats()
	wantEqual(t, "reports", s.Reports, 0)
	wantEqual(t, "callbacks", s.Callbacks, ticks)
	if s.Turns > 4*ticks { // a sleep may end early once, for an alarm that is set already
		t.Errorf("%d turns for %d ticks", s.Turns, ticks)
	}
}

// An event that is deleted and added again in every turn receives each readiness that holds, and no other.
func TestReaddInEveryTurnReportsWhatIsThere(t *testing.T) {
	l := newLoop(t, nil)
	_, _, fd, peer := pair(t)
	calls := 0
	e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) { calls++ })
	for i := range 50 {
		must(t, e.Add(event.NoTimeout))
		must(t, e.Del())
		must(t, e.Add(event.NoTimeout))
		if i%2 == 1 {
			send(t, peer, "x")
		}
		turns(t, l, 1)
		wantEqual(t, "calls", calls, (i+1)/2)
		_, err := receive(fd)
		must(t, err)
	}
	must(t, e.Del())
}

// openDescriptors counts what this process has open.
func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		entries, err = os.ReadDir("/dev/fd")
	}
	must(t, err)
	return len(entries)
}

// A thousand connections one after the other leave nothing behind: no event, and no descriptor.
func TestSequentialConnectionsLeakNothing(t *testing.T) {
	const connections = 1000
	l := newLoop(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	must(t, err)
	defer f.Close()
	srv := &echoServer{t: t, l: l, fd: fdOf(t, f), left: connections}
	must(t, unix.SetNonblock(srv.fd, true))
	must(t, eventFor(t, l, srv.fd, event.Read|event.Persist, srv.accept).Add(event.NoTimeout))
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
	run(t, l)
	must(t, await(t, failed, "the client's end"))
	wantEqual(t, "open descriptors", openDescriptors(t), before)
	s := l.Stats()
	wantEqual(t, "added", s.Added, 0)
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
	must(s.t, err)
	unix.CloseOnExec(fd)
	must(s.t, unix.SetNonblock(fd, true))
	s.highest = max(s.highest, fd)
	must(s.t, eventFor(s.t, s.l, fd, event.Read|event.Persist, s.echo).Add(time.Hour))
	if s.left--; s.left == 0 {
		must(s.t, e.Del())
	}
}

func (s *echoServer) echo(e *event.Event, _ event.Flags) {
	text, err := receive(e.FD())
	if text != "" {
		send(s.t, e.FD(), text)
	}
	if err != nil {
		must(s.t, e.Del())
		must(s.t, unix.Close(e.FD()))
	}
}

// askEcho makes one connection and closes it.
func askEcho(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	answer := make([]byte, 5)
	_, err = io.ReadFull(c, answer)
	return err
}
