package msgqueue_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"weak"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// One call in the next turn delivers all messages of a turn, and no empty turn follows.
func TestBurstTakesOneCallInTheNextTurn(t *testing.T) {
	const burst = 200
	l := testkit.NewLoop(t, nil)
	var q *msgqueue.Queue[bool]
	q = newQueue(t, l, func(more bool) {
		if more {
			push(t, q, false)
		}
	}, nil)
	for range burst {
		push(t, q, true)
	}
	turn(t, l)
	turn(t, l)
	if s := account(t, q); s.Delivered != 2*burst || s.Batches != 2 {
		t.Errorf("after two turns: %+v", s)
	}
	if s := l.Stats(); s.Callbacks != 2 || s.Active != 0 {
		t.Errorf("the loop made %d calls for two bursts, and %d wait", s.Callbacks, s.Active)
	}
}

// A burst that needs several turns takes no extra turn, wherever its chunks end.
func TestLongBurstTakesNoExtraTurns(t *testing.T) {
	for _, burst := range []int{1, 99, 100, 101, 300, 500, 512, 600, 1000} {
		l := testkit.NewLoop(t, nil)
		q := newQueue(t, l, func(int) {}, &msgqueue.Config{Budget: 100})
		push(t, q, make([]int, burst)...)
		turns := 0
		for l.Stats().Active > 0 {
			turn(t, l)
			turns++
		}
		// A turn may end early where the chunks end, but none is for nothing.
		if least := (burst + 99) / 100; turns < least || turns > least+burst/512 || q.Len() > 0 {
			t.Errorf("%d messages, 100 a turn: %d turns, %d left", burst, turns, q.Len())
		}
	}
}

// A full queue, a closed queue and a call that would wait for its own loop have different errors, and PushContext waits for
// room.
func TestErrorsAreDistinguishable(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	ctx, cancel := testkit.Soon()
	defer cancel()
	var onLoop error
	var q *msgqueue.Queue[int]
	q = newQueue(t, l, func(n int) {
		if n == 1 {
			push(t, q, 3)
			onLoop = q.PushContext(ctx, 4)
		}
	}, &msgqueue.Config{Bound: 2})
	push(t, q, 1, 2)
	testkit.WantErr(t, q.Push(5), msgqueue.ErrFull)
	testkit.WantErr(t, q.PushBatch([]int{5}), msgqueue.ErrFull)
	testkit.WantErr(t, q.PushContext(testkit.Canceled(), 5), context.Canceled)
	turn(t, l)
	testkit.WantErr(t, onLoop, event.ErrOnLoop)
	testkit.Background(t, l)
	testkit.Within(t, "waiting for room", func() {
		for n := range 1000 {
			testkit.Must(t, q.PushContext(ctx, 10+n))
		}
	})
	q.Close()
	testkit.WantErr(t, q.Push(6), msgqueue.ErrClosed)
	testkit.WantErr(t, q.PushContext(ctx, 6), msgqueue.ErrClosed)
}

// The bound is exactly the configured one, whether a power of two or not, however large.
func TestBoundIsExactlyTheConfiguredOne(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for _, bound := range []int{1, 2, 3, 5, 7, 100, 511, 512, 513, 1000, 1023, 1025, 3000} {
		for range 3 {
			delivered := 0
			q := newQueue(t, l, func(int) { delivered++ }, &msgqueue.Config{Bound: bound, Budget: msgqueue.Unlimited})
			for n := range bound {
				push(t, q, n)
			}
			testkit.WantErr(t, q.Push(0), msgqueue.ErrFull)
			turn(t, l)
			if delivered != bound {
				t.Fatalf("bound %d: delivered %d", bound, delivered)
			}
			push(t, q, 0)
			q.Close()
		}
	}
	q := newQueue(t, l, func(int) {}, nil)
	if s := q.Stats(); s.Bound != msgqueue.DefaultBound {
		t.Errorf("bound 0 became %d", s.Bound)
	}
	for _, bound := range []int{math.MaxInt32, math.MaxInt/2 + 1, math.MaxInt - 1, math.MaxInt} {
		q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: bound})
		if s := q.Stats(); s.Bound != bound {
			t.Errorf("bound %d became %d", bound, s.Bound)
		}
		push(t, q, make([]int, 5000)...)
		testkit.Must(t, q.PushBatch(make([]int, 5000)))
		if left := q.Close(); len(left) != 10_000 {
			t.Errorf("bound %d: %d messages of 10000", bound, len(left))
		}
	}
}

// New fails if the queue cannot be registered with its loop.
func TestFailedRegistrationIsAnError(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for _, p := range []int{-1, 1, math.MaxInt} {
		_, err := msgqueue.New(l, func(int) {}, &msgqueue.Config{Priority: new(p)})
		testkit.WantErr(t, err, msgqueue.ErrInvalid)
	}
	testkit.Must(t, l.Close())
	_, err := msgqueue.New(l, func(int) {}, nil)
	testkit.WantErr(t, err, msgqueue.ErrClosed)
	testkit.WantErr(t, err, event.ErrClosed)
}

// Queues can be made and closed on any goroutine while the loop runs.
func TestNewAndCloseOnAnyGoroutine(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for range 200 {
				delivered := make(chan int, 1)
				q, err := msgqueue.New(l, func(n int) { delivered <- n }, &msgqueue.Config{Bound: 1})
				if err != nil {
					t.Error(err)
					return
				}
				push(t, q, 7)
				if n := testkit.Await(t, delivered, "delivery"); n != 7 {
					t.Errorf("delivered %d, want 7", n)
				}
				if left := q.Close(); len(left) > 0 {
					t.Errorf("left %v", left)
				}
			}
		})
	}
	testkit.Within(t, "all queues", producers.Wait)
	if n := l.Stats().Added; n != 0 {
		t.Errorf("%d events left on the loop", n)
	}
}

// The callback may use all methods of its queue that do not wait.
func TestCallbackMayUseItsQueue(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []int
	var q *msgqueue.Queue[int]
	q = newQueue(t, l, func(n int) {
		got = append(got, n)
		if n > 1 {
			return
		}
		if len := q.Len(); len != 1 {
			t.Errorf("Len %d in the callback, want 1: the message itself does not count", len)
		}
		push(t, q, 3)
		testkit.Must(t, q.PushBatch([]int{4}))
		testkit.Must(t, q.PushContext(testkit.Canceled(), 5))
		testkit.WantErr(t, q.Push(6), msgqueue.ErrFull)
		account(t, q)
	}, &msgqueue.Config{Bound: 4})
	push(t, q, 1, 2)
	testkit.Within(t, "two turns", func() { turn(t, l); turn(t, l) })
	if !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
		t.Errorf("delivered %v", got)
	}
}

// Delivered and returned messages are not kept alive while others in the same chunk wait.
func TestDeliveredMessagesAreNotKeptAlive(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(*[64]int) {}, &msgqueue.Config{Budget: 10})
	var watched []weak.Pointer[[64]int]
	fill := func(n int) {
		for range n {
			m := new([64]int)
			watched = append(watched, weak.Make(m))
			push(t, q, m)
		}
	}
	alive := func() (n int) {
		runtime.GC()
		for _, w := range watched {
			if w.Value() != nil {
				n++
			}
		}
		return n
	}
	fill(25)
	for _, want := range []int{25, 15, 5, 0} {
		if n := alive(); n != want {
			t.Fatalf("%d messages alive, %d wait", n, want)
		}
		turn(t, l)
	}
	fill(25)
	turn(t, l)
	q.Close()
	if n := alive(); n != 0 {
		t.Errorf("%d messages alive after Close", n)
	}
	runtime.KeepAlive(q)
}

// The memory of a burst is released.
func TestMemoryOfABurstIsReleased(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: msgqueue.Unlimited, Budget: msgqueue.Unlimited})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const burst = 1 << 20
	before := heap()
	for n := range burst {
		push(t, q, n)
	}
	if grown := heap() - before; grown < burst*strconv.IntSize/8 {
		t.Fatalf("%d messages took %d bytes: the test measures nothing", burst, grown)
	}
	turn(t, l)
	if kept := heap() - before; kept > 256<<10 {
		t.Errorf("%d bytes kept after a burst of %d messages", kept, burst)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d messages left", n)
	}
}

// Close returns all accepted messages in order, from every part of the queue.
func TestCloseReturnsTheRemainingMessages(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for _, size := range []int{0, 1, 10, 511, 512, 513, 2000} {
		for _, turns := range []int{0, 1, 2} {
			next := 0
			q := newQueue(t, l, func(n int) {
				if n != next {
					t.Errorf("delivered %d, want %d", n, next)
				}
				next++
			}, &msgqueue.Config{Bound: 4096, Budget: 300})
			for n := range size {
				push(t, q, n)
			}
			for range turns {
				turn(t, l)
			}
			left := q.Close()
			for i, n := range left {
				if n != next+i {
					t.Fatalf("size %d, %d turns: returned %d at %d, want %d", size, turns, n, i, next+i)
				}
			}
			if next+len(left) != size {
				t.Errorf("size %d, %d turns: delivered %d, returned %d", size, turns, next, len(left))
			}
			account(t, q)
		}
	}
}

// A batch is accepted as a whole or not at all, and is delivered together.
func TestBatchStaysTogether(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var got []string
	q := newQueue(t, l, func(s string) { got = append(got, s) }, &msgqueue.Config{Bound: 5})
	testkit.Must(t, q.PushBatch(nil))
	if s := q.Stats(); s.Pushed != 0 || l.Stats().Active != 0 {
		t.Error("an empty batch did something")
	}
	ms := []string{"a", "b", "c"}
	testkit.Must(t, q.PushBatch(ms))
	clear(ms) // it stays the caller's
	testkit.WantErr(t, q.PushBatch([]string{"d", "e", "f"}), msgqueue.ErrFull)
	testkit.Must(t, q.PushBatch([]string{"g", "h"}))
	turn(t, l)
	testkit.WantErr(t, q.PushBatch(make([]string, 6)), msgqueue.ErrFull)
	if want := []string{"a", "b", "c", "g", "h"}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	if s := account(t, q); s.Pushed != 5 || s.Refused != 9 || s.Delivered != 5 || s.MaxLen != 5 || s.Batches != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestPriorityOrdersQueues(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	var got []string
	note := func(s string) { got = append(got, s) }
	for _, p := range []int{2, 0, 1} {
		q := newQueue(t, l, note, &msgqueue.Config{Priority: new(p)})
		push(t, q, fmt.Sprint(p), fmt.Sprint(p))
	}
	middle := newQueue(t, l, note, nil)
	push(t, middle, "middle")
	for range 3 {
		turn(t, l)
	}
	if want := []string{"0", "0", "1", "1", "middle", "2", "2"}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}
