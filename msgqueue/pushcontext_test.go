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

// waiting starts PushContext of each m, one after the other, and returns when all of them wait.
func waiting(t *testing.T, ctx context.Context, q *msgqueue.Queue[int], ms ...int) (outcomes []chan error) {
	t.Helper()
	for _, m := range ms {
		outcome := make(chan error, 1)
		before := q.Stats().Waiters
		go func() { outcome <- q.PushContext(ctx, m) }()
		testkit.Until(t, "waiting for room", func() bool { return q.Stats().Waiters > before })
		outcomes = append(outcomes, outcome)
	}
	return outcomes
}

// Waiting calls are admitted in the order of arrival, as the delivery of messages begins.
func TestPushContextWaitsInOrder(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []int
	q := newQueue(t, l, func(n int) { got = append(got, n) }, &msgqueue.Config{Bound: 2, Budget: 1})
	push(t, q, 1, 2)
	outcomes := waiting(t, context.Background(), q, 3, 4, 5)
	for i, outcome := range outcomes {
		turn(t, l) // one message: one place
		testkit.Must(t, testkit.Await(t, outcome, "room"))
		if s := account(t, q); s.Len != 2 || s.Waiters != 2-i {
			t.Errorf("after %d deliveries: %+v", i+1, s)
		}
		testkit.WantErr(t, q.Push(9), msgqueue.ErrFull) // the place is taken
	}
	for range 5 {
		turn(t, l)
	}
	if !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
		t.Errorf("delivered %v", got)
	}
	if s := q.Stats(); s.Refused != 3 {
		t.Errorf("%d refused, want the 3 Pushes: a call that has waited and was admitted was not refused", s.Refused)
	}
}

// A call whose context ends leaves the list of waiters at any position, and its message is not accepted.
func TestPushContextGivesUp(t *testing.T) {
	for leaver := range 3 {
		l := testkit.NewLoop(t, nil)
		var got []int
		q := newQueue(t, l, func(n int) { got = append(got, n) }, &msgqueue.Config{Bound: 1})
		push(t, q, 100)
		ctx, cancel := context.WithCancelCause(context.Background())
		cause := errors.New("enough")
		var outcomes []chan error
		for i := range 3 {
			c := context.Background()
			if i == leaver {
				c = ctx
			}
			outcomes = append(outcomes, waiting(t, c, q, i)...)
		}
		cancel(cause)
		testkit.WantErr(t, testkit.Await(t, outcomes[leaver], "end of the wait"), cause)
		want := []int{100}
		for i, outcome := range outcomes {
			if i != leaver {
				turn(t, l)
				testkit.Must(t, testkit.Await(t, outcome, "room"))
				want = append(want, i)
			}
		}
		turn(t, l)
		if !slices.Equal(got, want) {
			t.Errorf("delivered %v, want %v", got, want)
		}
		if s := account(t, q); s.Refused != 1 || s.Waiters != 0 {
			t.Errorf("stats %+v", s)
		}
	}
}

// The end of the context races room: the error says whether the message was taken.
func TestPushContextCancellationRacesRoom(t *testing.T) {
	for range 20 {
		raceCancellations(t, 150)
	}
}

// raceCancellations has four goroutines make the given number of calls each.
func raceCancellations(t *testing.T, calls int) {
	t.Helper()
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	var delivered, accepted, gaveUp atomic.Int64
	q := newQueue(t, l, func(int) {
		delivered.Add(1)
		runtime.Gosched()
	}, &msgqueue.Config{Bound: 1})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range calls {
				ctx, cancel := context.WithCancel(context.Background())
				wg.Go(func() {
					for range i % 20 {
						runtime.Gosched()
					}
					cancel()
				})
				switch err := q.PushContext(ctx, 1); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, context.Canceled):
					gaveUp.Add(1)
				default:
					t.Errorf("PushContext: %v", err)
				}
			}
		})
	}
	testkit.Within(t, "pushing", wg.Wait)
	shutdown(t, q)
	if delivered.Load() != accepted.Load() {
		t.Errorf("accepted %d, delivered %d", accepted.Load(), delivered.Load())
	}
	if s := account(t, q); s.Refused != uint64(gaveUp.Load()) {
		t.Errorf("%d gave up, %d counted", gaveUp.Load(), s.Refused)
	}
}

// An ended context does not matter where there is room, and matters at once where there is none.
func TestPushContextThatHasEnded(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: 1})
	testkit.Must(t, q.PushContext(testkit.Canceled(), 1))
	testkit.WantErr(t, q.PushContext(testkit.Canceled(), 2), context.Canceled)
	if s := account(t, q); s.Pushed != 1 || s.Refused != 1 {
		t.Errorf("stats %+v", s)
	}
}

// Close and Shutdown end all waits, with ErrClosed, and the messages were not taken.
func TestCloseEndsWaits(t *testing.T) {
	for name, end := range map[string]func(*msgqueue.Queue[int]) []int{
		"Close": (*msgqueue.Queue[int]).Close,
		"Shutdown": func(q *msgqueue.Queue[int]) []int {
			left, _ := q.Shutdown(testkit.Canceled())
			return left
		},
	} {
		l := testkit.NewLoop(t, nil)
		q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: 1})
		push(t, q, 1)
		outcomes := waiting(t, context.Background(), q, 2, 3)
		if left := end(q); !slices.Equal(left, []int{1}) {
			t.Errorf("%s returned %v", name, left)
		}
		for _, outcome := range outcomes {
			testkit.WantErr(t, testkit.Await(t, outcome, "end of the wait"), msgqueue.ErrClosed)
		}
		account(t, q)
	}
}

// On the loop a full queue is an error at once, in callbacks of the queue and of others; with room there is nothing to wait for.
func TestPushContextOnTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	ctx, cancel := testkit.Soon()
	defer cancel()
	q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: 1})
	testkit.Must(t, l.Post(func() {
		if err := q.PushContext(ctx, 1); err != nil {
			t.Errorf("PushContext with room: %v", err)
		}
		if err := q.PushContext(ctx, 2); !errors.Is(err, event.ErrOnLoop) {
			t.Errorf("PushContext without room: %v", err)
		}
	}))
	testkit.Within(t, "a turn", func() { turn(t, l) })
	if s := account(t, q); s.Pushed != 1 || s.Refused != 1 || s.Waiters != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Many calls that wait for a small bound are all admitted, each goroutine's in its order. With a bound of 1, a call often starts
// to wait in the same moment as the delivery of the last message begins: none is left waiting at an empty queue.
func TestPushContextUnderLoad(t *testing.T) {
	const producers, each = 8, 200
	for round := range 40 {
		bound := 1 + 2*(round%2)
		l := testkit.NewLoop(t, nil)
		stop := testkit.Background(t, l)
		next := [producers]int{}
		q := newQueue(t, l, func(m [2]int) {
			if next[m[0]] != m[1] {
				t.Errorf("producer %d: %d came when %d was due", m[0], m[1], next[m[0]])
			}
			next[m[0]]++
		}, &msgqueue.Config{Bound: bound})
		var wg sync.WaitGroup
		for p := range producers {
			wg.Go(func() {
				for n := range each {
					if err := q.PushContext(context.Background(), [2]int{p, n}); err != nil {
						t.Errorf("PushContext: %v", err)
						return
					}
				}
			})
		}
		testkit.Within(t, "pushing", wg.Wait)
		shutdown(t, q)
		if s := account(t, q); s.Delivered != producers*each || s.MaxLen > bound {
			t.Errorf("stats %+v", s)
		}
		stop()
	}
}

// badContext is a context of a user's, whose Done panics.
type badContext struct{ context.Context }

func (badContext) Done() <-chan struct{} { panic("context") }

// A PushContext that ends by a panic of its context has taken nothing.
func TestPushContextWhoseContextPanicsAcceptsNothing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []int
	q := newQueue(t, l, func(n int) { got = append(got, n) }, &msgqueue.Config{Bound: 1})
	push(t, q, 1)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the context was not asked")
			}
		}()
		_ = q.PushContext(badContext{t.Context()}, 2)
	}()
	if s := account(t, q); s.Waiters != 0 {
		t.Errorf("%d wait", s.Waiters)
	}
	for range 3 {
		turn(t, l)
	}
	if !slices.Equal(got, []int{1}) {
		t.Errorf("delivered %v, want only 1", got)
	}
}
