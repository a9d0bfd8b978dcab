package msgqueue_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// The tests of this file show that faults of event_msgqueue, the queue of 2006, are not in this queue. The cause of three of them cannot
// exist here; the tests hold what users saw of it:
//
//   - The result of send was ignored. This queue sends nothing. Only the wake can fail, when the loop is closed.
//   - A receive blocked. This queue has no descriptor. At worst an activation finds an empty queue.
//   - A socketpair was shared after fork. Again there is no descriptor, and a Go program does not fork.

// The producer pushes each message while the callback of the one before runs, so that every push finds the queue empty
// and the loop awake.
func TestProducerInStepWithTheLoop(t *testing.T) {
	for range 25 {
		produceInStep(t, 2000)
	}
}

func produceInStep(t *testing.T, rounds int) {
	t.Helper()
	l := testkit.NewLoop(t, nil)
	next, pushed := make(chan int), make(chan struct{})
	var q *msgqueue.Queue[int]
	q = newQueue(t, l, func(n int) {
		if n == rounds {
			q.Close()
			close(next)
			return
		}
		next <- n + 1
		<-pushed
	}, nil)
	go func() {
		for n := range next {
			if err := q.Push(n); err != nil {
				t.Errorf("Push(%d): %v", n, err)
			}
			pushed <- struct{}{}
		}
	}()
	push(t, q, 1)
	testkit.Run(t, l)
	if s := account(t, q); s.Delivered != uint64(rounds) {
		t.Fatalf("delivered %d of %d", s.Delivered, rounds)
	}
}

// Each message is pushed by the callback of the one before, with room for one, often enough to use every chunk many times.
func TestCallbackThatPushesToItsOwnQueue(t *testing.T) {
	const rounds = 20_000
	l := testkit.NewLoop(t, nil)
	var q *msgqueue.Queue[int]
	q = newQueue(t, l, func(n int) {
		if n == rounds {
			q.Close()
		} else if err := q.Push(n + 1); err != nil {
			t.Errorf("Push(%d): %v", n+1, err)
			q.Close()
		}
	}, &msgqueue.Config{Bound: 1})
	push(t, q, 1)
	testkit.Run(t, l)
	if s := account(t, q); s.Delivered != rounds {
		t.Fatalf("delivered %d of %d", s.Delivered, rounds)
	}
	if s := l.Stats(); s.Wakes != 0 {
		t.Errorf("%d wakes for a loop that was awake", s.Wakes)
	}
}

// If the loop refuses an activation, no message is lost and later ones do not accumulate.
func TestFailedWakeLosesNoMessage(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	idle := newQueue(t, l, func(int) { t.Error("delivered by a closed loop") }, nil)
	waiting := newQueue(t, l, func(int) { t.Error("delivered by a closed loop") }, &msgqueue.Config{Bound: 1})
	push(t, waiting, 1)
	testkit.Must(t, l.Close())
	for range 2 {
		testkit.WantErr(t, idle.Push(1), msgqueue.ErrClosed)
		testkit.WantErr(t, waiting.Push(2), msgqueue.ErrClosed)
	}
	if left := idle.Close(); len(left) > 0 {
		t.Errorf("a refused message came back: %v", left)
	}
	if left := waiting.Close(); !slices.Equal(left, []int{1}) {
		t.Errorf("returned %v, want [1]", left)
	}
	account(t, idle)
	account(t, waiting)
}

// While the callback of the last message runs, Close does not wait for it, and the callback can finish.
func TestCloseWhileTheLastCallbackRuns(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	began, goOn, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var q *msgqueue.Queue[int]
	q = newQueue(t, l, func(int) {
		close(began)
		<-goOn
		if n := q.Len(); n != 0 {
			t.Errorf("Len %d after Close", n)
		}
		close(over)
	}, nil)
	push(t, q, 1)
	testkit.Await(t, began, "callback")
	if left := q.Close(); len(left) > 0 {
		t.Errorf("returned %v, which is being delivered", left)
	}
	testkit.WantErr(t, q.Push(2), msgqueue.ErrClosed)
	close(goOn)
	testkit.Await(t, over, "end of the callback")
	account(t, q)
}

// Close does not need a running loop, and neither Close nor Shutdown blocks on the loop.
func TestCloseAndShutdownWithoutARunningLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) {}, nil)
	push(t, q, 1, 2)
	if left := q.Close(); !slices.Equal(left, []int{1, 2}) {
		t.Errorf("Close on a loop that does not run returned %v", left)
	}

	q = newQueue(t, l, func(int) {}, nil)
	push(t, q, 3, 4)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	left, err := q.Shutdown(ctx)
	testkit.WantErr(t, err, context.DeadlineExceeded)
	if !slices.Equal(left, []int{3, 4}) {
		t.Errorf("Shutdown on a loop that does not run returned %v", left)
	}

	patient, cancel := testkit.Soon()
	defer cancel()
	var onLoop error
	delivered := 0
	q = newQueue(t, l, func(int) {
		if delivered++; delivered == 1 {
			_, onLoop = q.Shutdown(patient)
		}
	}, nil)
	push(t, q, 5, 6)
	turn(t, l)
	testkit.WantErr(t, onLoop, event.ErrOnLoop)
	push(t, q, 7) // Shutdown on the loop has done nothing
	turn(t, l)
	if delivered != 3 {
		t.Errorf("delivered %d of 3", delivered)
	}
}

// Every push during Close is either refused or accepted, and accepted messages are delivered or returned.
func TestPushDuringAndAfterClose(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	for range 200 {
		delivered := 0
		q := newQueue(t, l, func(int) { delivered++ }, &msgqueue.Config{Bound: 8})
		accepted := make(chan int, 3)
		for range cap(accepted) {
			go func() {
				n := 0
				for {
					switch err := q.Push(1); {
					case err == nil:
						n++
					case errors.Is(err, msgqueue.ErrClosed):
						accepted <- n
						return
					default:
						runtime.Gosched()
					}
				}
			}()
		}
		testkit.Until(t, "a delivery", func() bool { return q.Stats().Delivered > 0 })
		returned := len(q.Close())
		testkit.WantErr(t, q.Push(1), msgqueue.ErrClosed)
		testkit.WantErr(t, q.PushBatch([]int{1}), msgqueue.ErrClosed)
		testkit.WantErr(t, q.PushContext(testkit.Canceled(), 1), msgqueue.ErrClosed)
		sum := 0
		for range cap(accepted) {
			sum += testkit.Await(t, accepted, "end of a producer")
		}
		testkit.Must(t, l.Post(func() { accepted <- delivered })) // after the last callback
		if n := testkit.Await(t, accepted, "post"); n+returned != sum {
			t.Fatalf("accepted %d, delivered %d, returned %d", sum, n, returned)
		}
		account(t, q)
	}
}

func TestCloseInTheCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var q *msgqueue.Queue[int]
	var left []int
	q = newQueue(t, l, func(n int) {
		if n > 3 {
			t.Errorf("delivered %d after Close", n)
		}
		if n == 3 {
			left = q.Close()
			if again := q.Close(); len(again) > 0 {
				t.Errorf("a second Close returned %v", again)
			}
			testkit.WantErr(t, q.Push(9), msgqueue.ErrClosed)
		}
	}, nil)
	push(t, q, 1, 2, 3, 4, 5)
	testkit.Run(t, l) // and it ends, since the queue keeps the loop going no longer
	if !slices.Equal(left, []int{4, 5}) {
		t.Errorf("returned %v, want [4 5]", left)
	}
	if s := account(t, q); s.Delivered != 3 || s.Returned != 2 {
		t.Errorf("stats %+v", s)
	}
}

// A turn delivers no more messages than the budget, and none that came after it began; timers are called in time.
func TestBudgetPerTurn(t *testing.T) {
	const waiting = 700 // more than a chunk
	for _, budget := range []int{1, 3, msgqueue.DefaultBudget, 512, 600, 1000, math.MaxInt} {
		l := testkit.NewLoop(t, nil)
		now, delivered, timers := 0, 0, 0
		var q *msgqueue.Queue[int]
		q = newQueue(t, l, func(pushed int) {
			delivered++
			if pushed == now {
				t.Fatalf("budget %d: turn %d delivered what was pushed in it", budget, now)
			}
			push(t, q, now) // for ever
		}, &msgqueue.Config{Bound: waiting, Budget: budget})
		for range waiting {
			push(t, q, 0)
		}
		for now = 1; now <= 10; now++ {
			delivered = 0
			_, err := l.AfterFunc(0, func() { timers++ })
			testkit.Must(t, err)
			turn(t, l)
			if delivered == 0 || delivered > budget || now == 1 && delivered < min(budget, waiting) {
				t.Errorf("budget %d: turn %d delivered %d", budget, now, delivered)
			}
			if timers != now {
				t.Fatalf("budget %d: %d timers in %d turns", budget, timers, now)
			}
		}
	}
}

// Break in a callback ends the run after that message, not at the end of the turn.
func TestBreakInTheCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	delivered := 0
	q := newQueue(t, l, func(int) {
		delivered++
		l.Break()
	}, nil)
	push(t, q, 1, 2, 3)
	testkit.Run(t, l)
	if delivered != 1 {
		t.Errorf("delivered %d before Break took effect, want 1", delivered)
	}
	testkit.Run(t, l)
	if delivered != 2 {
		t.Errorf("delivered %d, want the next one in the next run", delivered)
	}
}

// A push does not wait while the loop is in a callback.
func TestPushDoesNotWaitForTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	began, goOn := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(began); <-goOn })
	q := newQueue(t, l, func(int) { once() }, &msgqueue.Config{Bound: msgqueue.Unlimited})
	push(t, q, 0)
	testkit.Await(t, began, "callback")
	const n = 10_000
	testkit.Within(t, "pushing", func() {
		for i := range n {
			push(t, q, i)
		}
		if q.Len() != n {
			t.Errorf("Len %d, want %d", q.Len(), n)
		}
	})
	close(goOn)
	shutdown(t, q)
}

// An activation without messages does nothing, and the next message is delivered.
func TestActivationWithoutMessages(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	delivered := 0
	q := newQueue(t, l, func(int) { delivered++ }, nil)
	for i := 1; i <= 3; i++ {
		for _, e := range l.Events() {
			testkit.Must(t, e.Activate(event.Read|event.Timeout))
		}
		testkit.Within(t, "a turn", func() { turn(t, l) })
		push(t, q, i)
		turn(t, l)
		if delivered != i {
			t.Fatalf("delivered %d, want %d", delivered, i)
		}
	}
}

func TestQueueTakesNoDescriptor(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	before := leaktest.Descriptors()
	for range 100 {
		q := newQueue(t, l, func(int) {}, nil)
		push(t, q, 1)
	}
	turn(t, l)
	if opened := leaktest.Opened(before); len(opened) > 0 {
		t.Errorf("100 queues have opened %q; before: %v", opened, before)
	}
}
