package event

import (
	"context"
	"runtime"
	"testing"
	"time"
)

func benchHop(b *testing.B, timer bool, opts ...Option) {
	l, err := NewLoop(opts...)
	if err != nil {
		b.Fatal(err)
	}
	ch := make(chan int, 1)
	done := make(chan struct{})
	n := 0
	var e *Event
	e, _ = l.NewEvent(-1, Persist, func(*Event, Flags) {
		n++
		if n >= b.N {
			l.Exit(0)
			return
		}
		ch <- n
	})
	e.Add(NoTimeout)
	if timer {
		l.AfterFunc(time.Hour, func() {})
	}
	go func() {
		for range ch {
			e.Activate(Read)
		}
		close(done)
	}()
	b.ReportAllocs()
	b.ResetTimer()
	e.Activate(Read)
	if err := l.Run(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	close(ch)
	<-done
	_ = runtime.NumCPU
	s := l.Stats()
	b.ReportMetric(float64(s.Turns)/float64(b.N), "turns/op")
	l.Close()
}
func BenchmarkHopPark(b *testing.B)   { benchHop(b, true, WithDriver(DriverPark)) }
func BenchmarkHopThread(b *testing.B) { benchHop(b, true, WithDriver(DriverThread)) }
func BenchmarkTimerAddDel(b *testing.B) {
	l, _ := NewLoop()
	var es []*Event
	for i := 0; i < 1000000; i++ {
		e, _ := l.NewTimer(func(*Event, Flags) {})
		e.Add(time.Hour + time.Duration(i*7919%1000003)*time.Microsecond)
		es = append(es, e)
	}
	b.ReportAllocs()
	b.Run("same", func(b *testing.B) {
		e, _ := l.NewTimer(func(*Event, Flags) {})
		for i := 0; i < b.N; i++ {
			e.Add(time.Hour + time.Duration(i*7919%1000003)*time.Microsecond)
			e.Del()
		}
	})
	b.Run("spread", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			e := es[i*611953%len(es)]
			e.Del()
			e.Add(time.Hour + time.Duration(i*7919%1000003)*time.Microsecond)
		}
	})
	b.Run("equal", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			e := es[i*611953%len(es)]
			e.Del()
			e.Add(2 * time.Hour)
		}
	})
}
