package event_test

import (
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// passTime lets d pass on the clock of a loop that no goroutine runs: the loop makes its turns at its deadlines, each exactly
// in time. Timers that are due at the end are called; a callback that itself lets time pass may leave others for the next call.
func passTime(t testing.TB, l *event.Loop, clock *testkit.Clock, d time.Duration) {
	t.Helper()
	for end := clock.Now() + d; ; oneTurn(t, l) {
		if next, ok := l.PollTimeout(); ok && clock.Now()+next <= end {
			clock.Advance(next)
			continue
		}
		clock.Advance(max(0, end-clock.Now()))
		return
	}
}

// eventFor is NewEvent that must succeed.
func eventFor(t testing.TB, l *event.Loop, fd int, flags event.Flags, fn func(*event.Event, event.Flags)) *event.Event {
	t.Helper()
	e, err := l.NewEvent(fd, flags, fn)
	testkit.Must(t, err)
	return e
}

// userEvent is an event without a condition that calls fn.
func userEvent(t testing.TB, l *event.Loop, flags event.Flags, fn func()) *event.Event {
	t.Helper()
	return eventFor(t, l, -1, flags, func(*event.Event, event.Flags) { fn() })
}

// silent makes an event whose callback fails the test.
func silent(t testing.TB, l *event.Loop, fd int, flags event.Flags) *event.Event {
	t.Helper()
	return eventFor(t, l, fd, flags, func(_ *event.Event, what event.Flags) {
		t.Errorf("an event of descriptor %d, %v, was called with %v", fd, flags, what)
	})
}

// turns makes n turns without waiting.
func turns(t testing.TB, l *event.Loop, n int) {
	t.Helper()
	for range n {
		oneTurn(t, l)
	}
}

// pair returns two connected non-blocking sockets with their numbers. A caller that closes one early closes the file.
func pair(t testing.TB) (a, b *os.File, fa, fb int) {
	t.Helper()
	a, b = socketpair(t)
	return a, b, fdOf(t, a), fdOf(t, b)
}

// readable returns a descriptor on which data waits.
func readable(t testing.TB) (fd int) {
	t.Helper()
	_, _, fd, peer := pair(t)
	send(t, peer, "data")
	return fd
}

// idle returns a descriptor on which nothing can be read.
func idle(t testing.TB) (fd int) {
	t.Helper()
	_, _, fd, _ = pair(t)
	return fd
}

// send writes s, for which there must be room.
func send(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write %d bytes to descriptor %d: %d, %v", len(s), fd, n, err)
	}
}

// receive reads the available data. At the end of the file, or after a reset by the peer, it returns an error.
func receive(fd int) (s string, err error) {
	var all strings.Builder
	var buf [4096]byte
	for {
		switch n, err := unix.Read(fd, buf[:]); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return all.String(), nil
		case err != nil:
			return all.String(), err
		case n == 0:
			return all.String(), io.EOF
		default:
			all.Write(buf[:n])
		}
	}
}

// fill writes until there is no more room.
func fill(t testing.TB, fd int) (n int) {
	t.Helper()
	junk := make([]byte, 64<<10)
	for {
		m, err := unix.Write(fd, junk)
		if errors.Is(err, unix.EAGAIN) {
			return n
		}
		testkit.Must(t, err)
		n += m
	}
}

// privateDup duplicates fd to a number that nothing else in the process takes while it is closed for a moment: the
// kernel gives out the lowest free one.
func privateDup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3000)
	testkit.Must(t, err)
	return n
}

// wantMessage fails the test unless err is target and its text holds each of the parts.
func wantMessage(t testing.TB, err, target error, parts ...string) {
	t.Helper()
	testkit.WantErr(t, err, target)
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
}

// beyond32 returns a number whose lower 32 bits are those of n, but which is another; where there is none, one that is as
// wild.
func beyond32(n int) int {
	if math.MaxInt == math.MaxInt32 {
		return math.MaxInt32 - 1
	}
	return int(int64(1)<<32 + int64(n))
}

func wantOrder[T comparable](t testing.TB, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("order: got %v, want %v", got, want)
	}
}
