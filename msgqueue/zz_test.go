package msgqueue

import (
	"context"
	"github.com/evmq/evmq/event"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func benchHop(b *testing.B, timer bool, opts ...event.Option) {
	l, err := event.NewLoop(opts...)
	if err != nil {
		b.Fatal(err)
	}
	ch := make(chan int, 1)
	done := make(chan struct{})
	n := 0
	q, _ := New(l, 0, func(int) {
		n++
		if n >= b.N {
			l.Exit(0)
			return
		}
		ch <- n
	})
	if timer {
		l.AfterFunc(time.Hour, func() {})
	}
	go func() {
		for i := range ch {
			q.Push(i)
		}
		close(done)
	}()
	b.ReportAllocs()
	b.ResetTimer()
	q.Push(1)
	if err := l.Run(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	close(ch)
	<-done
	q.Close()
	l.Close()
}
func BenchmarkHopPark(b *testing.B) { benchHop(b, true, event.WithDriver(event.DriverPark)) }
func benchPush(b *testing.B, p int) {
	l, _ := event.NewLoop()
	var got atomic.Int64
	q, _ := New(l, Unbounded, func(int) { got.Add(1) })
	go l.Run(context.Background())
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := 0; i < p; i++ {
		wg.Go(func() {
			for j := 0; j < b.N/p; j++ {
				q.Push(j)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if _, err := q.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
	l.Close()
}
func benchChan(b *testing.B, p int) {
	ch := make(chan int, 1024)
	var got atomic.Int64
	go func() {
		for range ch {
			got.Add(1)
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := 0; i < p; i++ {
		wg.Go(func() {
			for j := 0; j < b.N/p; j++ {
				ch <- j
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	close(ch)
}
func BenchmarkPush1(b *testing.B) { benchPush(b, 1) }
func BenchmarkPush2(b *testing.B) { benchPush(b, 2) }
func BenchmarkPush8(b *testing.B) { benchPush(b, 8) }
func BenchmarkChan1(b *testing.B) { benchChan(b, 1) }
func BenchmarkChan2(b *testing.B) { benchChan(b, 2) }
func BenchmarkChan8(b *testing.B) { benchChan(b, 8) }
