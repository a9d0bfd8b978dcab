package event_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/poller"
)

// Without the means for a new set, as when descriptors are scarce, the loop goes on with the old one and tries again.
func TestLoopSurvivesARebuildThatFails(t *testing.T) {
	errScarce := errors.New("scarce")
	var opened, refused atomic.Int32
	open := func() (event.Poller, error) {
		if n := opened.Add(1); n > 1 && n < 5 {
			refused.Add(1)
			return nil, errScarce
		}
		return poller.NewEpoll(poller.WakerEventfd)
	}
	for _, driver := range []event.Driver{event.DriverPark, event.DriverThread} {
		t.Run(string(driver), func(t *testing.T) {
			opened.Store(0)
			refused.Store(0)
			l := newLoop(t, event.WithPoller(open), event.WithDriver(driver))
			_, _, fd, peer := pair(t)
			read := make(chan string, 1)
			e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
				s, _ := receive(fd)
				read <- s
			})
			must(t, e.Add(event.NoTimeout))
			background(t, l)
			haunt(t, l, func() {})
			if n := refused.Load(); n != 3 {
				t.Errorf("refused %d times", n)
			}
			send(t, peer, "x")
			wantEqual(t, "read", await(t, read, "readiness"), "x")
		})
	}
}
