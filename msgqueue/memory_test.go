package msgqueue_test

import (
	"runtime"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// kept is what a queue of T holds of the heap after burst messages have come and gone.
func kept[T any](t *testing.T, l *event.Loop, burst int) int64 {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	q := newQueue(t, l, func(T) {}, &msgqueue.Config{Bound: msgqueue.Unlimited, Budget: msgqueue.Unlimited})
	var zero T
	for range burst {
		testkit.Must(t, q.Push(zero))
	}
	turn(t, l)
	after := heap()
	if n := q.Len(); n != 0 {
		t.Fatalf("%d messages left", n)
	}
	runtime.KeepAlive(q)
	return after - before
}

// A queue keeps room for two messages, or for 64 KB of them, whatever their size and however many came at once.
func TestQueueKeepsRoomForTwoMessagesOr64KB(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for _, burst := range []int{1, 2, 100} {
		for size, n := range map[int]int64{
			1 << 20: kept[[1 << 20]byte](t, l, min(burst, 20)), 256 << 10: kept[[256 << 10]byte](t, l, burst), 5000: kept[[5000]byte](t, l, burst),
			4096: kept[[4096]byte](t, l, burst), 100: kept[[100]byte](t, l, 100*burst), 1: kept[byte](t, l, 1000*burst),
		} {
			if most := max(int64(2*size), 64<<10) + 64<<10; n > most {
				t.Errorf("%d bytes kept after a burst of %d messages of %d bytes; want at most %d", n, burst, size, most)
			}
		}
	}
}

// A queue whose messages come one at a time allocates nothing, whatever their size.
func TestSteadyQueueOfLargeMessagesDoesNotAllocate(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	noAllocs[[100]byte](t, l)
	noAllocs[[4096]byte](t, l)
	noAllocs[[5000]byte](t, l)
	noAllocs[[100000]byte](t, l)
}

func noAllocs[T any](t *testing.T, l *event.Loop) {
	t.Helper()
	q := newQueue(t, l, func(T) {}, nil)
	m := new(T)
	if allocs := testing.AllocsPerRun(100, func() {
		if q.Push(*m) != nil || l.RunNonblock() != nil {
			t.Error("refused")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations for a message of %T", allocs, *m)
	}
}
