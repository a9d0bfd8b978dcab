package event_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is when a test gives up on something that should happen at once. It is no measure of speed.
const patience = 20 * time.Second

// newLoop makes a loop that is closed when the test ends. Backend and driver are the environment's (EVMQ_BACKEND,
// EVMQ_DRIVER, EVMQ_WAKER) unless cfg says otherwise, so that the suite runs for each combination.
func newLoop(t testing.TB, cfg *event.Config) *event.Loop {
	t.Helper()
	var c event.Config
	if cfg != nil {
		c = *cfg
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := event.NewLoop(&c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// run runs l until Run returns, and fails the test if that takes longer than patience.
func run(t testing.TB, l *event.Loop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
}

// background runs l for ever on a goroutine of its own; the loop's Close ends it, or the function that is returned,
// which waits for the end.
func background(t testing.TB, l *event.Loop) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := errors.New("a callback ended the loop's goroutine, as a failing test does")
		defer func() { done <- err }()
		err = l.RunForever(ctx)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, event.ErrClosed) {
			t.Errorf("RunForever: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// await waits for ch, or fails the test.
func await[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s did not happen within %v", what, patience)
	}
	return v
}

// socketpair returns two connected non-blocking stream sockets, closed when the test ends unless it did so itself.
func socketpair(t testing.TB) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		must(t, unix.SetNonblock(fd, true))
	}
	a, b = rawFile(fds[0]), rawFile(fds[1])
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// rawFile wraps fd so that os never touches its modes; fdOf gives the number back.
func rawFile(fd int) *os.File { return os.NewFile(uintptr(fd), "test socket") }

// fdOf returns the descriptor without making it blocking, which File.Fd would.
func fdOf(t testing.TB, f *os.File) (fd int) {
	t.Helper()
	c, err := f.SyscallConn()
	if err == nil {
		err = c.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr fails the test unless err is target by errors.Is.
func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}
