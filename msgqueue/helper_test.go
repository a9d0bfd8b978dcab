package msgqueue_test

import (
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

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

// turn makes one turn of a loop that no goroutine runs.
func turn(t testing.TB, l *event.Loop) {
	t.Helper()
	testkit.Must(t, l.RunNonblock())
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
	ctx, cancel := testkit.Soon()
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
