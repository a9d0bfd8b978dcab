package event_test

import (
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// nestedEpolls returns epoll sets, each of which watches the one before, the first a socket.
func nestedEpolls(t *testing.T, n int) (outermost int, ok bool) {
	inner := idle(t)
	for range n {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		testkit.Must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, inner, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
			return 0, false
		}
		inner = fd
	}
	return inner, true
}

// A chain of pollers that is as deep as the kernel allows is refused by name; a shallow one is watched like any file.
func TestPollersNestedTooDeepAreRefused(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Backend: event.BackendEpoll})
	for n := 1; ; n++ {
		fd, ok := nestedEpolls(t, n)
		if !ok {
			t.Fatalf("the kernel refuses %d nested pollers before the loop does", n)
		}
		e := silent(t, l, fd, event.Read)
		if err := e.Add(event.NoTimeout); err != nil {
			if n <= 3 {
				t.Errorf("%d nested pollers are too many", n)
			}
			wantMessage(t, err, event.ErrNested, strconv.Itoa(fd))
			return
		}
		testkit.Must(t, e.Del())
	}
}

// A descriptor fits in a few hundred parked loops; the next one says what is the matter.
func TestDescriptorInTooManyParkedLoopsIsRefused(t *testing.T) {
	const room = 500
	fd := idle(t)
	add := func() error {
		l := testkit.NewLoop(t, &event.Config{Backend: event.BackendEpoll, Driver: event.DriverPark})
		return silent(t, l, fd, event.Read).Add(event.NoTimeout)
	}
	for i := range room {
		if err := add(); err != nil {
			t.Fatalf("loop %d: %v", i+1, err)
		}
	}
	wantMessage(t, add(), event.ErrNested, strconv.Itoa(fd))
}
