package msgqueue_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// A loop that is closed first delivers nothing more. Accepted messages are returned, and memory does not grow.
func TestLoopClosedWhileMessagesWait(t *testing.T) {
	for _, n := range []int{1, 511, 512, 513} {
		l := testkit.NewLoop(t, nil)
		q := newQueue(t, l, func(int) { t.Error("delivered by a closed loop") }, &msgqueue.Config{Bound: msgqueue.Unlimited})
		for m := range n {
			push(t, q, m)
		}
		testkit.Must(t, l.Close())
		testkit.WantErr(t, q.Push(0), msgqueue.ErrClosed)
		testkit.WantErr(t, q.PushBatch([]int{0}), msgqueue.ErrClosed)
		testkit.WantErr(t, q.PushContext(testkit.Canceled(), 0), msgqueue.ErrClosed)
		if left := q.Close(); !slices.Equal(left, numbers(0, n-1)) {
			t.Errorf("returned %d of %d", len(left), n)
		}
		account(t, q)
	}
}

// Shutdown on a closed loop returns the remaining messages and ErrClosed, or nil if none remain.
func TestShutdownAfterTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	full, empty := newQueue(t, l, func(int) {}, nil), newQueue(t, l, func(int) {}, nil)
	push(t, full, 1, 2)
	testkit.Must(t, l.Close())
	ctx, cancel := testkit.Soon()
	defer cancel()
	left, err := full.Shutdown(ctx)
	testkit.WantErr(t, err, msgqueue.ErrClosed)
	if !slices.Equal(left, []int{1, 2}) {
		t.Errorf("returned %v", left)
	}
	left, err = empty.Shutdown(ctx)
	if err != nil || len(left) > 0 {
		t.Errorf("empty queue: %v, %v", left, err)
	}
}

// The loop closes in the middle of a Shutdown: it ends, with what was not delivered.
func TestLoopClosedDuringShutdown(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	began, goOn := make(chan struct{}), make(chan struct{})
	delivered := 0
	q := newQueue(t, l, func(int) {
		if delivered++; delivered == 1 {
			close(began)
			<-goOn
		}
	}, &msgqueue.Config{Budget: 10})
	for n := range 100 {
		push(t, q, n)
	}
	testkit.Await(t, began, "callback")
	done := make(chan []int, 1)
	go func() {
		left, err := q.Shutdown(context.Background())
		if !errors.Is(err, msgqueue.ErrClosed) {
			t.Errorf("Shutdown: %v", err)
		}
		done <- left
	}()
	untilShut(t, q)
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	testkit.Until(t, "the loop to refuse", func() bool { return errors.Is(l.Post(func() {}), event.ErrClosed) })
	close(goOn)
	testkit.Must(t, testkit.Await(t, closed, "Close of the loop"))
	left := testkit.Await(t, done, "Shutdown")
	if !slices.Equal(left, numbers(delivered, 99)) || delivered > 10 {
		t.Errorf("delivered %d, returned %d of 100", delivered, len(left))
	}
}

// The loop closes while producers wait for room: all of them are refused.
func TestLoopClosedEndsWaits(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: 2})
	push(t, q, 1, 2)
	outcomes := waiting(t, context.Background(), q, 3, 4, 5)
	testkit.Must(t, l.Close())
	for _, outcome := range outcomes {
		testkit.WantErr(t, testkit.Await(t, outcome, "end of the wait"), msgqueue.ErrClosed)
	}
	if left := q.Close(); !slices.Equal(left, []int{1, 2}) {
		t.Errorf("returned %v", left)
	}
}

// The last things that a loop runs when it closes may use a queue; what they push is accepted or refused like the rest.
func TestPushWhileTheLoopCloses(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) { t.Error("delivered by a closing loop") }, nil)
	accepted := 0
	testkit.Must(t, l.Post(func() {
		for range 3 {
			if q.Push(1) == nil {
				accepted++
			}
		}
		if _, err := q.Shutdown(testkit.Canceled()); !errors.Is(err, event.ErrOnLoop) {
			t.Errorf("Shutdown where the loop closes: %v", err)
		}
	}))
	testkit.Must(t, l.Close())
	if accepted > 1 {
		t.Errorf("accepted %d after the loop had refused the first", accepted)
	}
	if left := q.Close(); len(left) != accepted {
		t.Errorf("accepted %d, returned %d", accepted, len(left))
	}
}

// Pushes of every kind race the loop's Close: every accepted message is delivered or returned.
func TestPushRacesCloseOfTheLoop(t *testing.T) {
	for range 300 {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		var delivered, accepted atomic.Int64
		q := newQueue(t, l, func(int) { delivered.Add(1) }, &msgqueue.Config{Bound: 4})
		var wg sync.WaitGroup
		for _, one := range []func() error{
			func() error { return q.Push(1) },
			func() error { return q.PushContext(context.Background(), 1) },
			func() error { return q.PushBatch([]int{1}) },
		} {
			wg.Go(func() {
				for {
					switch err := one(); {
					case err == nil:
						accepted.Add(1)
					case errors.Is(err, msgqueue.ErrClosed):
						return
					default: // full
						runtime.Gosched() // or the producers would take turns of 10 ms with the loop on one processor
					}
				}
			})
		}
		testkit.Until(t, "a delivery", func() bool { return delivered.Load() > 3 })
		testkit.Must(t, l.Close())
		testkit.Within(t, "end of the producers", wg.Wait)
		left := q.Close()
		if delivered.Load()+int64(len(left)) != accepted.Load() {
			t.Fatalf("accepted %d, delivered %d, returned %d", accepted.Load(), delivered.Load(), len(left))
		}
		account(t, q)
	}
}
