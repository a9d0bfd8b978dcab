package event_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/poller"
	"github.com/evmq/evmq/internal/testkit"
)

// If no descriptor is free for a new epoll set, the loop continues with the old one and tries again.
func TestLoopSurvivesARebuildThatFails(t *testing.T) {
	errScarce := errors.New("scarce")
	var opened, refused atomic.Int32
	open := func() (event.Poller, error) {
		if n := opened.Add(1); n > 1 && n < 5 {
			refused.Add(1)
			return nil, errScarce
		}
		return newKernelPoller(poller.WakerEventfd)
	}
	for _, driver := range []event.Driver{event.DriverPark, event.DriverThread} {
		t.Run(string(driver), func(t *testing.T) {
			opened.Store(0)
			refused.Store(0)
			l := testkit.NewLoop(t, &event.Config{OpenPoller: open, Driver: driver})
			_, _, fd, peer := pair(t)
			read := make(chan string, 1)
			e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
				s, _ := receive(fd)
				read <- s
			})
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Background(t, l)
			causeRebuild(t, l, func() {})
			if n := refused.Load(); n != 3 {
				t.Errorf("refused %d times", n)
			}
			send(t, peer, "x")
			testkit.WantEqual(t, "read", testkit.Await(t, read, "readiness"), "x")
		})
	}
}

// kernelPoller is a built-in poller as a user's Poller.
type kernelPoller struct {
	poller.Poller
	ready []poller.Ready
}

func newKernelPoller(kind poller.WakerKind) (*kernelPoller, error) {
	p, err := poller.NewEpoll(kind)
	return &kernelPoller{Poller: p}, err
}

func (p *kernelPoller) Features() event.Features { return event.Features(p.Poller.Features()) }

func (p *kernelPoller) Add(fd int, want event.Flags, tag uint64) error {
	return p.Poller.Add(fd, poller.Flags(want), tag)
}

func (p *kernelPoller) Modify(fd int, want event.Flags, tag uint64) error {
	return p.Poller.Modify(fd, poller.Flags(want), tag)
}

func (p *kernelPoller) Wait(ready []event.Ready, timeout time.Duration) (int, error) {
	p.ready = make([]poller.Ready, len(ready))
	n, err := p.Poller.Wait(p.ready, timeout)
	for i, r := range p.ready[:n] {
		ready[i] = event.Ready{
			Tag: r.Tag, What: event.Flags(r.What), Error: r.What&poller.Error != 0, Invalid: r.What&poller.Invalid != 0,
		}
	}
	return n, err
}

// closingPoller closes a descriptor between the loop's check that it is registered and the change of its registration.
type closingPoller struct {
	*kernelPoller
	beforeModify func()
}

func (m *closingPoller) Modify(fd int, want event.Flags, tag uint64) error {
	if beforeModify := m.beforeModify; beforeModify != nil {
		m.beforeModify = nil
		beforeModify()
	}
	return m.kernelPoller.Modify(fd, want, tag)
}

// An Add beside another goroutine's close says that the number is closed, or is another file's now, and ends the
// descriptor's other events; it watches no other file, and the event can be added for the next one.
func TestAddBesideACloseRefusesAndEndsTheOthers(t *testing.T) {
	for _, c := range []struct {
		name   string
		paused bool // the other event waits for nothing, and a duplicate keeps the registration of a file before
		reused bool
		err    error
	}{
		{"closed", false, false, event.ErrBadDescriptor},
		{"closed and reused", false, true, event.ErrStale},
		{"a duplicate's, closed", true, false, event.ErrBadDescriptor},
		{"a duplicate's, closed and reused", true, true, event.ErrStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			epoll, err := newKernelPoller(poller.WakerEventfd)
			testkit.Must(t, err)
			m := &closingPoller{kernelPoller: epoll}
			l := testkit.NewLoop(t, &event.Config{OpenPoller: func() (event.Poller, error) { return m, nil }})
			fd, peer := rawPair(t)
			t.Cleanup(func() { closeRaw(t, peer) })
			first := silent(t, l, fd, event.Read|event.Persist)
			testkit.Must(t, first.Add(event.NoTimeout))
			if c.paused {
				testkit.Must(t, first.SetConditions(0))
				testkit.Must(t, epoll.Add(fd, event.Read, 1<<40)) // as a duplicate's file back on its number is known
			}
			m.beforeModify = func() {
				closeRaw(t, fd)
				if c.reused {
					other := reopen(t, fd)
					t.Cleanup(func() { closeRaw(t, other, fd) })
				}
			}
			second := silent(t, l, fd, event.Write)
			testkit.WantErr(t, second.Add(event.NoTimeout), c.err)
			testkit.WantEqual(t, "added", second.Added(), false)
			testkit.WantErr(t, second.Err(), nil)
			testkit.WantErr(t, first.Err(), event.ErrStale)
			testkit.WantErr(t, first.Del(), event.ErrStale)
			testkit.WantEqual(t, "events added", l.Stats().Added, 0)
			if c.reused {
				testkit.Must(t, second.Add(event.NoTimeout))
				testkit.Must(t, second.Del())
			}
		})
	}
}
