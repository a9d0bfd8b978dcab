package event_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// journal is what was called, in order. One goroutine at a time.
type journal []string

func (j *journal) note(call string) { *j = append(*j, call) }

// want compares what was called since the last want.
func (j *journal) want(t testing.TB, calls ...string) {
	t.Helper()
	if !slices.Equal(*j, calls) {
		t.Fatalf("called %q, want %q", *j, calls)
	}
	*j = nil
}

// event makes an event that notes its name when it is called, and then does what also says, if anything.
func (j *journal) event(t testing.TB, l *event.Loop, name string, fd int, flags event.Flags, also func()) *event.Event {
	t.Helper()
	e, err := l.NewEvent(fd, flags, func(*event.Event, event.Flags) {
		j.note(name)
		if also != nil {
			also()
		}
	})
	testkit.Must(t, err)
	return e
}

// user is event for a user's own event.
func (j *journal) user(t testing.TB, l *event.Loop, name string, also func()) *event.Event {
	t.Helper()
	return j.event(t, l, name, -1, 0, also)
}

// oneTurn makes l do what can be done without waiting, once.
func oneTurn(t testing.TB, l *event.Loop) {
	t.Helper()
	testkit.Must(t, l.RunNonblock())
}

// inPatience returns a context that ends when a run should have ended long since, so that a failing test does not hang.
func inPatience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	t.Cleanup(cancel)
	return ctx
}

// activateAll activates the events, in order.
func activateAll(t testing.TB, events ...*event.Event) {
	t.Helper()
	for _, e := range events {
		testkit.Must(t, e.Activate(0))
	}
}

// privateFD is a number that no other open takes, since open takes the lowest: a test may close it and leave it so.
const privateFD = 1000

// privateCopy gives f's file a second descriptor with a private number. It is closed when the test ends, unless it was.
func privateCopy(t testing.TB, f *os.File) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fdOf(t, f)), unix.F_DUPFD_CLOEXEC, privateFD)
	testkit.Must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// makeReadable makes the other end of f readable.
func makeReadable(t testing.TB, f *os.File) {
	t.Helper()
	_, err := f.Write([]byte{'x'})
	testkit.Must(t, err)
}

// readAll reads what fd has.
func readAll(fd int) {
	var buf [64]byte
	for {
		if n, err := unix.Read(fd, buf[:]); n <= 0 && err != unix.EINTR {
			return
		}
	}
}
