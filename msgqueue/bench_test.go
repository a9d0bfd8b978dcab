package msgqueue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// BenchmarkHop is a message from the loop to a worker goroutine and its answer back, one in flight, a timer pending.
func BenchmarkHop(b *testing.B) {
	for _, driver := range []event.Driver{event.DriverAdaptive, event.DriverPark, event.DriverThread} {
		b.Run(string(driver), func(b *testing.B) { benchmarkHop(b, driver) })
	}
}

func benchmarkHop(b *testing.B, driver event.Driver) {
	l := testkit.NewLoop(b, &event.Config{Driver: driver})
	work := make(chan int, 1)
	hops := 0
	q := newQueue(b, l, func(n int) {
		if hops++; hops < b.N {
			work <- n
		} else {
			l.Break()
		}
	}, nil)
	_, err := l.AfterFunc(time.Hour, func() {})
	testkit.Must(b, err)
	var worker sync.WaitGroup
	worker.Go(func() {
		for n := range work {
			if err := q.Push(n); err != nil {
				b.Error(err)
			}
		}
	})
	push(b, q, 0)
	b.ReportAllocs()
	b.ResetTimer()
	testkit.Must(b, l.Run(context.Background()))
	b.StopTimer()
	close(work)
	worker.Wait()
}

var producers = []int{1, 2, 8}

// BenchmarkPush is what a Push costs its producer while the loop delivers. BenchmarkChannel is the same with a channel.
func BenchmarkPush(b *testing.B) {
	for _, p := range producers {
		b.Run(fmt.Sprintf("producers=%d", p), func(b *testing.B) {
			benchmarkPush(b, p, pushOneByOne, event.DriverDefault)
		})
	}
}

// BenchmarkPushThread is BenchmarkPush with the loop on the thread driver.
func BenchmarkPushThread(b *testing.B) {
	for _, p := range producers {
		b.Run(fmt.Sprintf("producers=%d", p), func(b *testing.B) {
			benchmarkPush(b, p, pushOneByOne, event.DriverThread)
		})
	}
}

func pushOneByOne(q *msgqueue.Queue[int], n int) {
	for i := range n {
		_ = q.Push(i)
	}
}

// BenchmarkPushBatch is Push in batches of 32, for each message.
func BenchmarkPushBatch(b *testing.B) {
	for _, p := range producers {
		b.Run(fmt.Sprintf("producers=%d", p), func(b *testing.B) {
			benchmarkPush(b, p, func(q *msgqueue.Queue[int], n int) {
				batch := make([]int, 32)
				for ; n > 0; n -= len(batch) {
					batch = batch[:min(n, len(batch))]
					_ = q.PushBatch(batch)
				}
			}, event.DriverDefault)
		})
	}
}

func benchmarkPush(b *testing.B, producers int, produce func(q *msgqueue.Queue[int], n int), driver event.Driver) {
	l := testkit.NewLoop(b, &event.Config{Driver: driver})
	testkit.Background(b, l)
	delivered := 0
	q := newQueue(b, l, func(int) { delivered++ }, &msgqueue.Config{Bound: msgqueue.Unlimited})
	b.ReportAllocs()
	b.ResetTimer()
	share(b.N, producers, func(n int) { produce(q, n) })
	b.StopTimer()
	if _, err := q.Shutdown(context.Background()); err != nil || delivered != b.N {
		b.Fatalf("delivered %d of %d, %v", delivered, b.N, err)
	}
}

func BenchmarkChannel(b *testing.B) {
	for _, p := range producers {
		b.Run(fmt.Sprintf("producers=%d", p), func(b *testing.B) {
			ch := make(chan int, msgqueue.DefaultBound)
			done := make(chan int)
			go func() {
				received := 0
				for range ch {
					received++
				}
				done <- received
			}()
			b.ReportAllocs()
			b.ResetTimer()
			share(b.N, p, func(n int) {
				for i := range n {
					ch <- i
				}
			})
			b.StopTimer()
			close(ch)
			if n := <-done; n != b.N {
				b.Fatalf("received %d of %d", n, b.N)
			}
		})
	}
}

// share divides n among the producers and waits for them.
func share(n, producers int, produce func(n int)) {
	var wg sync.WaitGroup
	for p := range producers {
		part := n / producers
		if p < n%producers {
			part++
		}
		wg.Go(func() { produce(part) })
	}
	wg.Wait()
}
