package msgqueue_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// New refuses an invalid argument with an error that names it and its value, and leaves nothing on the loop.
func TestInvalidArgumentIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2})
	fn := func(int) {}
	for _, tt := range []struct {
		fn    func(int)
		cfg   *msgqueue.Config
		names string
	}{
		{nil, nil, "callback"},
		{nil, &msgqueue.Config{Bound: 1}, "callback"},
		{fn, &msgqueue.Config{Priority: new(-1)}, "Priority -1"},
		{fn, &msgqueue.Config{Priority: new(2)}, "Priority 2"},
		{fn, &msgqueue.Config{Priority: new(math.MaxInt)}, fmt.Sprint("Priority ", math.MaxInt)},
	} {
		q, err := msgqueue.New(l, tt.fn, tt.cfg)
		if !errors.Is(err, msgqueue.ErrInvalid) || !strings.Contains(err.Error(), tt.names) || q != nil {
			t.Errorf("%v, want %v that names %s", err, msgqueue.ErrInvalid, tt.names)
		}
	}
	if n := l.Stats().Added; n != 0 {
		t.Errorf("%d events added by queues that were not made", n)
	}
	_, err := msgqueue.New(nil, fn, nil)
	testkit.WantErr(t, err, msgqueue.ErrInvalid)
	testkit.Run(t, l) // nothing keeps it going
}

// A nil context is refused, and the queue goes on.
func TestANilContextIsInvalid(t *testing.T) {
	var none context.Context
	q, err := msgqueue.New(testkit.NewLoop(t, nil), func(int) {}, nil)
	testkit.Must(t, err)
	testkit.WantErr(t, q.PushContext(none, 1), msgqueue.ErrInvalid)
	_, err = q.Shutdown(none)
	testkit.WantErr(t, err, msgqueue.ErrInvalid)
	testkit.Must(t, q.Push(2))
	if left := q.Close(); len(left) != 1 || left[0] != 2 {
		t.Errorf("Close returned %v, want 2 alone", left)
	}
}

// The loop's dump names the queue for its callback.
func TestQueueIsNamedInTheDump(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	newQueue(t, l, dumpedCallback, nil)
	var b strings.Builder
	testkit.Must(t, l.Dump(&b))
	if !strings.Contains(b.String(), "msgqueue") || !strings.Contains(b.String(), "dumpedCallback") {
		t.Errorf("dump does not name the queue:\n%s", b.String())
	}
}

func dumpedCallback(int) {}

// An open queue keeps Run going, and its Close ends it, also from another goroutine.
func TestOpenQueueKeepsRunGoing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	delivered := make(chan int, 1)
	q := newQueue(t, l, func(n int) { delivered <- n }, nil)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	for n := range 3 {
		push(t, q, n)
		testkit.Await(t, delivered, "delivery")
	}
	select {
	case err := <-ended:
		t.Fatalf("Run returned with a queue open: %v", err)
	default:
	}
	q.Close()
	testkit.Must(t, testkit.Await(t, ended, "end of Run"))
}

// Each producer's messages arrive in its order, whichever call it makes.
func TestFirstInFirstOutForEachProducer(t *testing.T) {
	for range 20 {
		produceInOrder(t)
	}
}

func produceInOrder(t *testing.T) {
	t.Helper()
	type message struct{ producer, n int }
	const producers, each = 4, 250
	l := testkit.NewLoop(t, nil)
	next := [producers]int{}
	var q *msgqueue.Queue[message]
	q = newQueue(t, l, func(m message) {
		if m.n != next[m.producer] {
			t.Errorf("producer %d: %d came when %d was due", m.producer, m.n, next[m.producer])
		}
		next[m.producer] = m.n + 1
		if next == [producers]int{each, each, each, each} {
			q.Close()
		}
	}, &msgqueue.Config{Bound: 7})
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for n := 0; n < each; {
				var err error
				took := 1
				switch n % 3 {
				case 0:
					err = q.Push(message{p, n})
				case 1:
					err = q.PushContext(context.Background(), message{p, n})
				case 2:
					ms := []message{{p, n}, {p, n + 1}, {p, n + 2}}
					took = min(3, each-n)
					err = q.PushBatch(ms[:took])
				}
				switch {
				case err == nil:
					n += took
				case errors.Is(err, msgqueue.ErrFull):
					runtime.Gosched()
				default:
					t.Errorf("producer %d: %v", p, err)
					return
				}
			}
		})
	}
	testkit.Run(t, l)
	wg.Wait()
	account(t, q)
}

// Messages that the loop has taken out of the producers' reach count until their own delivery begins, and not longer.
func TestBoundIsExactDuringDelivery(t *testing.T) {
	for _, bound := range []int{1, 2, 3, 600} {
		l := testkit.NewLoop(t, nil)
		delivered := 0
		var q *msgqueue.Queue[int]
		q = newQueue(t, l, func(int) {
			if delivered++; delivered > bound {
				return
			}
			// The place of this message is free, and no other.
			if n := q.Len(); n != bound-1 {
				t.Errorf("bound %d: Len %d in callback %d", bound, n, delivered)
			}
			push(t, q, 0)
			testkit.WantErr(t, q.Push(0), msgqueue.ErrFull)
			account(t, q)
		}, &msgqueue.Config{Bound: bound})
		push(t, q, make([]int, bound)...)
		for delivered < bound {
			turn(t, l)
		}
		if s := q.Stats(); s.MaxLen != bound || s.Refused != uint64(bound) {
			t.Errorf("bound %d: %+v", bound, s)
		}
	}
}

// With a bound of 1 and one message in flight at a time, a Push that follows the beginning of the last delivery succeeds.
func TestPushThatFindsRoomNeverFails(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	began := make(chan struct{})
	q := newQueue(t, l, func(int) { began <- struct{}{} }, &msgqueue.Config{Bound: 1})
	for n := range 10_000 {
		push(t, q, n)
		testkit.Await(t, began, "delivery")
	}
}

// One wake for a burst, however long; none while the loop is awake.
func TestOneWakePerBurst(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	began, goOn := make(chan struct{}), make(chan struct{})
	q := newQueue(t, l, func(n int) {
		if n == 0 {
			began <- struct{}{}
			<-goOn
		}
	}, &msgqueue.Config{Bound: msgqueue.Unlimited})
	const bursts = 20
	for range bursts {
		before := q.Stats().Delivered
		push(t, q, 0)
		testkit.Await(t, began, "delivery") // the loop is awake now, and stays so
		atStart := l.Stats()
		for n := range 1000 {
			push(t, q, n+1)
		}
		busy := l.Stats()
		if more := busy.Wakes - atStart.Wakes; more != 0 {
			t.Errorf("%d wakes for a loop that was awake", more)
		}
		if more := busy.Coalesced - atStart.Coalesced; more > 1 {
			t.Errorf("%d wakes were coalesced in one burst", more)
		}
		goOn <- struct{}{}
		testkit.Until(t, "delivery of the burst", func() bool { return q.Stats().Delivered == before+1001 })
	}
	if n := l.Stats().Wakes; n > bursts {
		t.Errorf("%d wakes for %d bursts", n, bursts)
	}
}

// A panic passes through Run; its message counts as delivered, and the rest is delivered when the loop is run again.
func TestPanicLeavesTheOtherMessages(t *testing.T) {
	for _, at := range []int{0, 5, 9} { // first, middle, last
		l := testkit.NewLoop(t, nil)
		var got []int
		q := newQueue(t, l, func(n int) {
			got = append(got, n)
			if n == at {
				panic("wanted by the test")
			}
		}, nil)
		push(t, q, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not pass")
				}
			}()
			turn(t, l)
		}()
		if s := account(t, q); s.Delivered != uint64(at)+1 {
			t.Errorf("panic at %d: %+v", at, s)
		}
		push(t, q, 10)
		turn(t, l)
		turn(t, l)
		if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
			t.Errorf("panic at %d: delivered %v", at, got)
		}
	}
}

// The remaining messages are returned if the loop is not run again.
func TestPanicThenCloseReturnsTheRemainingMessages(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(n int) { panic(n) }, nil)
	push(t, q, 1, 2, 3)
	func() {
		defer func() { _ = recover() }()
		turn(t, l)
	}()
	if left := q.Close(); !slices.Equal(left, []int{2, 3}) {
		t.Errorf("returned %v, want [2 3]", left)
	}
}

// With a panic handler the loop continues.
func TestPanicHandlerContinuesWithTheOtherMessages(t *testing.T) {
	panics := 0
	l := testkit.NewLoop(t, &event.Config{PanicHandler: func(any, []byte) { panics++ }})
	var q *msgqueue.Queue[int]
	q = newQueue(t, l, func(n int) {
		if n == 100 {
			q.Close()
		}
		panic(n)
	}, nil)
	for n := range 101 {
		push(t, q, n)
	}
	testkit.Run(t, l)
	if panics != 101 {
		t.Errorf("%d panics of 101", panics)
	}
}

// A callback that ends its goroutine, as t.FailNow does, leaves the rest as a panic does.
func TestGoexitLeavesTheOtherMessages(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []int
	q := newQueue(t, l, func(n int) {
		got = append(got, n)
		if n == 1 {
			runtime.Goexit()
		}
	}, nil)
	push(t, q, 1, 2)
	testkit.Within(t, "end of the goroutine", func() { _ = l.RunNonblock() })
	turn(t, l)
	if !slices.Equal(got, []int{1, 2}) {
		t.Errorf("delivered %v", got)
	}
}

// A nil message is a message like any other.
func TestAnyValueIsAMessage(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	pointers, empties := 0, 0
	p := newQueue(t, l, func(*int) { pointers++ }, nil)
	e := newQueue(t, l, func(struct{}) { empties++ }, nil)
	push(t, p, nil, nil)
	push(t, e, make([]struct{}, 1000)...)
	for range 5 {
		turn(t, l)
	}
	if pointers != 2 || empties != 1000 {
		t.Errorf("delivered %d nil pointers of 2, %d empty structs of 1000", pointers, empties)
	}
}

// In steady use neither Push, PushBatch, PushContext nor delivery allocates, the loop's sleep and wake included.
func TestSteadyUseAllocatesNothing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	done := make(chan struct{}, 1)
	q := newQueue(t, l, func(n int) {
		if n < 0 {
			done <- struct{}{}
		}
	}, nil)
	batch := make([]int, 300)
	ctx := context.Background()
	n := testing.AllocsPerRun(200, func() {
		for i := range 300 {
			_ = q.Push(i)
		}
		_ = q.PushBatch(batch)
		_ = q.PushContext(ctx, 1)
		_ = q.Push(-1)
		<-done
	})
	if n != 0 {
		t.Errorf("%v allocations for 602 messages", n)
	}
	if s := account(t, q); s.Refused > 0 {
		t.Errorf("%d messages refused", s.Refused)
	}
}
