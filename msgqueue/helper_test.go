package msgqueue_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/msgqueue"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is when a test gives up on something that should happen at once. It is no measure of speed: what it limits takes less than
// a hundredth of it on an idle machine, also with the race detector. A test that does more work divides it into portions.
const patience = 20 * time.Second

// newLoop makes a loop that is closed when the test ends. Backend and driver are the environment's unless cfg
// says otherwise.
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

// newQueue makes a queue that is closed when the test ends.
func newQueue[T any](t testing.TB, l *event.Loop, fn func(T), cfg *msgqueue.Config) *msgqueue.Queue[T] {
	t.Helper()
	q, err := msgqueue.New(l, fn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// run runs l until it returns by itself, and fails the test if that takes longer than patience.
func run(t testing.TB, l *event.Loop) {
	t.Helper()
	ctx, cancel := soon()
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
}

// soon is a context that ends when patience does.
func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
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

// turn makes one turn of a loop that no goroutine runs.
func turn(t testing.TB, l *event.Loop) {
	t.Helper()
	must(t, l.RunNonblock())
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

// within calls fn on a goroutine of its own and waits for it, so that a hang fails instead of hanging.
func within(t testing.TB, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	await(t, done, what)
}

// until waits for a state of another goroutine that no channel announces.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// push pushes what must be accepted. Any goroutine.
func push[T any](t testing.TB, q *msgqueue.Queue[T], ms ...T) {
	t.Helper()
	for _, m := range ms {
		if err := q.Push(m); err != nil {
			t.Errorf("Push(%v): %v", m, err)
		}
	}
}

// shutdown shuts q down and expects that everything is delivered.
func shutdown[T any](t testing.TB, q *msgqueue.Queue[T]) {
	t.Helper()
	ctx, cancel := soon()
	defer cancel()
	if left, err := q.Shutdown(ctx); err != nil || len(left) > 0 {
		t.Fatalf("Shutdown: %d messages left, %v", len(left), err)
	}
}

// account fails the test unless the counts agree.
func account[T any](t testing.TB, q *msgqueue.Queue[T]) msgqueue.Stats {
	t.Helper()
	s := q.Stats()
	if s.Pushed != s.Delivered+s.Returned+uint64(s.Len) {
		t.Fatalf("accounts do not agree: %+v", s)
	}
	if s.Len < 0 || s.Len > s.Bound || s.MaxLen > s.Bound {
		t.Fatalf("bound exceeded: %+v", s)
	}
	return s
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
