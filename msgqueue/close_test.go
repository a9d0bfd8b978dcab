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

// blocked is a queue whose callback has begun with message 0 and waits for goOn. Messages 1 to n wait behind it.
func blocked(t *testing.T, l *event.Loop, n int) (q *msgqueue.Queue[int], got *[]int, goOn func()) {
	began, gate := make(chan struct{}), make(chan struct{})
	got = new([]int)
	q = newQueue(t, l, func(m int) {
		if m == 0 {
			close(began)
			<-gate
		}
		*got = append(*got, m)
	}, nil)
	goOn = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(goOn)
	for m := range n + 1 {
		push(t, q, m)
	}
	testkit.Await(t, began, "callback")
	return q, got, goOn
}

// onLoop calls fn on the loop and waits for it; then what the loop has written is visible.
func onLoop(t *testing.T, l *event.Loop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	testkit.Must(t, l.Post(func() { fn(); close(done) }))
	testkit.Await(t, done, "post")
}

// untilShut waits until q is closed to Push. It offers a batch that never fits.
func untilShut(t *testing.T, q *msgqueue.Queue[int]) {
	t.Helper()
	offer := make([]int, q.Stats().Bound+1)
	testkit.Until(t, "the door to shut", func() bool { return errors.Is(q.PushBatch(offer), msgqueue.ErrClosed) })
}

// numbers is from, from+1, ..., to.
func numbers(from, to int) (ns []int) {
	for n := from; n <= to; n++ {
		ns = append(ns, n)
	}
	return ns
}

// Close in the middle of a delivery takes what has not begun out of the loop's hands, and does not wait.
func TestCloseDuringDelivery(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	stop := testkit.Background(t, l)
	q, got, goOn := blocked(t, l, 900)
	var left []int
	testkit.Within(t, "Close", func() { left = q.Close() })
	if !slices.Equal(left, numbers(1, 900)) {
		t.Errorf("returned %d messages, from %v", len(left), left[:min(3, len(left))])
	}
	if q.Len() != 0 || len(q.Close()) != 0 {
		t.Error("a message is left after Close")
	}
	goOn()
	onLoop(t, l, func() {})
	stop()
	if !slices.Equal(*got, []int{0}) {
		t.Errorf("delivered %v after Close", *got)
	}
	account(t, q)
}

// Close from many goroutines during delivery: each message has one outcome.
func TestCloseRacingClose(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	for range 200 {
		const messages = 600
		var delivered, returned atomic.Int64
		var q *msgqueue.Queue[int]
		q = newQueue(t, l, func(n int) {
			delivered.Add(1)
			if n == 300 {
				returned.Add(int64(len(q.Close())))
			}
		}, nil)
		testkit.Must(t, q.PushBatch(numbers(0, messages-1)))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { returned.Add(int64(len(q.Close()))) })
		}
		wg.Wait()
		onLoop(t, l, func() {})
		if delivered.Load()+returned.Load() != messages {
			t.Fatalf("delivered %d, returned %d of %d", delivered.Load(), returned.Load(), messages)
		}
		account(t, q)
	}
}

// Shutdown refuses what is new, delivers what is in, and waits for the last callback.
func TestShutdownDeliversFirst(t *testing.T) {
	for _, n := range []int{0, 1, 10, 511, 512, 1023} { // below, at and above what one turn and one chunk hold
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		q, got, goOn := blocked(t, l, n)
		type result struct {
			left []int
			err  error
		}
		done := make(chan result, 1)
		go func() {
			left, err := q.Shutdown(context.Background())
			done <- result{left, err}
		}()
		untilShut(t, q)
		select {
		case <-done:
			t.Fatal("Shutdown did not wait for the callback")
		default:
		}
		goOn()
		r := testkit.Await(t, done, "Shutdown")
		if len(r.left) > 0 || r.err != nil {
			t.Fatalf("%d messages left, %v", len(r.left), r.err)
		}
		if len(*got) != n+1 {
			t.Errorf("delivered %d of %d", len(*got), n+1)
		}
		left, err := q.Shutdown(testkit.Canceled()) // a second one finds nothing to wait for
		if len(left) > 0 || err != nil {
			t.Errorf("second Shutdown: %v, %v", left, err)
		}
	}
}

// Shutdown returns no messages before its context ends; then it returns all whose delivery has not begun.
func TestShutdownWhoseContextEnds(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	q, got, goOn := blocked(t, l, 700)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	time := make(chan struct{})
	go func() {
		<-time
		cancel(cause)
	}()
	close(time)
	left, err := q.Shutdown(ctx)
	testkit.WantErr(t, err, cause)
	if !slices.Equal(left, numbers(1, 700)) {
		t.Errorf("returned %d messages of 700", len(left))
	}
	goOn()
	onLoop(t, l, func() {
		if !slices.Equal(*got, []int{0}) {
			t.Errorf("delivered %v", *got)
		}
	})
}

// All is delivered but the last callback runs on when the context ends: there is nothing to hand back, and the cause.
func TestShutdownWhoseLastCallbackBlocks(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	q, _, goOn := blocked(t, l, 0)
	left, err := q.Shutdown(testkit.Canceled())
	testkit.WantErr(t, err, context.Canceled)
	if len(left) > 0 {
		t.Errorf("returned %v, which is being delivered", left)
	}
	goOn()
}

// The end of the context races the delivery of the rest: nothing is lost and nothing comes twice.
func TestShutdownContextRacesDelivery(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	for i := range 300 {
		const messages = 500
		var delivered atomic.Int64
		ctx, cancel := context.WithCancel(context.Background())
		q := newQueue(t, l, func(int) {
			if delivered.Add(1) == int64(i) {
				go cancel()
			}
		}, &msgqueue.Config{Budget: 50})
		for n := range messages {
			push(t, q, n)
		}
		left, err := q.Shutdown(ctx)
		cancel()
		onLoop(t, l, func() {})
		if n := delivered.Load(); int(n)+len(left) != messages {
			t.Fatalf("delivered %d, returned %d of %d", n, len(left), messages)
		}
		if len(left) > 0 && err == nil {
			t.Errorf("%d messages returned without an error", len(left))
		}
		account(t, q)
	}
}

// A Close that comes before the end of Shutdown has the rest; Shutdown does not claim that all was delivered.
func TestCloseDuringShutdown(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	q, got, goOn := blocked(t, l, 5)
	done := make(chan error, 2)
	for range cap(done) {
		go func() {
			left, err := q.Shutdown(context.Background())
			if len(left) > 0 {
				t.Errorf("Shutdown returned %v, which Close has", left)
			}
			done <- err
		}()
	}
	untilShut(t, q)
	if left := q.Close(); !slices.Equal(left, numbers(1, 5)) {
		t.Errorf("returned %v", left)
	}
	goOn()
	for range cap(done) {
		testkit.WantErr(t, testkit.Await(t, done, "Shutdown"), msgqueue.ErrClosed)
	}
	if !slices.Equal(*got, []int{0}) {
		t.Errorf("delivered %v", *got)
	}
}

// Shutdown and Close race each other and the delivery: each message has one outcome, and nil from Shutdown means that all
// were delivered.
func TestCloseRacingShutdown(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	for i := range 300 {
		const messages = 400
		var delivered atomic.Int64
		q := newQueue(t, l, func(int) { delivered.Add(1) }, &msgqueue.Config{Budget: 10})
		for n := range messages {
			push(t, q, n)
		}
		closed := make(chan int)
		go func() {
			for range i {
				runtime.Gosched()
			}
			closed <- len(q.Close())
		}()
		ctx, cancel := testkit.Soon()
		left, err := q.Shutdown(ctx)
		cancel()
		returned := len(left) + testkit.Await(t, closed, "Close")
		onLoop(t, l, func() {})
		if n := int(delivered.Load()); n+returned != messages || err == nil && n != messages {
			t.Fatalf("delivered %d, returned %d of %d, Shutdown said %v", n, returned, messages, err)
		}
	}
}

// Shutdown in a callback of the loop, of this queue or another's, would wait for itself: it does nothing and says so.
func TestShutdownOnTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	ctx, cancel := testkit.Soon()
	defer cancel()
	q := newQueue(t, l, func(int) {}, nil)
	push(t, q, 1)
	testkit.Must(t, l.Post(func() {
		_, err := q.Shutdown(ctx)
		testkit.WantErr(t, err, event.ErrOnLoop)
	}))
	turn(t, l)
	turn(t, l)
	push(t, q, 2)
	if s := account(t, q); s.Delivered != 1 || s.Len != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A callback that panics during Shutdown does not hold it up for ever: the rest is delivered by the next run.
func TestPanicDuringShutdown(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	delivered := 0
	q := newQueue(t, l, func(n int) {
		if delivered++; n == 2 {
			panic(n)
		}
	}, nil)
	push(t, q, 1, 2, 3)
	done := make(chan error, 1)
	go func() {
		_, err := q.Shutdown(context.Background())
		done <- err
	}()
	untilShut(t, q)
	func() {
		defer func() { _ = recover() }()
		turn(t, l)
	}()
	testkit.Background(t, l)
	testkit.Must(t, testkit.Await(t, done, "Shutdown"))
	if delivered != 3 {
		t.Errorf("delivered %d of 3", delivered)
	}
}
