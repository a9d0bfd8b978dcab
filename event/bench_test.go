package event_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// benchmarkDrivers runs body with each driver, so that one run gives the ratio.
func eachDriver(b *testing.B, body func(b *testing.B, l *event.Loop)) {
	for _, d := range []event.Driver{event.DriverAdaptive, event.DriverPark, event.DriverThread} {
		b.Run(string(d), func(b *testing.B) {
			b.ReportAllocs()
			body(b, testkit.NewLoop(b, &event.Config{Driver: d, IgnoreEnv: true}))
		})
	}
}

// BenchmarkHop goes from the loop to a goroutine and back, one activation in flight and a timer pending.
func BenchmarkHop(b *testing.B) {
	eachDriver(b, func(b *testing.B, l *event.Loop) {
		work, ended := make(chan struct{}, 1), make(chan struct{})
		hops := 0
		e, err := l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {
			if hops++; hops < b.N {
				work <- struct{}{}
			} else {
				l.Break()
			}
		})
		testkit.Must(b, err)
		testkit.Must(b, e.Add(event.NoTimeout))
		_, err = l.AfterFunc(time.Hour, func() {})
		testkit.Must(b, err)
		go func() {
			defer close(ended)
			for range work {
				if err := e.Activate(0); err != nil {
					b.Error(err)
				}
			}
		}()
		b.ResetTimer()
		work <- struct{}{}
		testkit.Must(b, l.Run(context.Background()))
		b.StopTimer()
		close(work)
		<-ended
	})
}

// BenchmarkTimer adds and cancels one timer while a million others are pending: a new one, and one of the million that has not
// been used for a long time.
func BenchmarkTimer(b *testing.B) {
	const pending = 1_000_000
	l := testkit.NewLoop(b, nil)
	spread := func(i int) time.Duration { return time.Hour + time.Duration(i*7919%pending)*time.Millisecond }
	timers := make([]*event.Event, pending)
	for i := range timers {
		var err error
		timers[i], err = l.NewTimer(func(*event.Event, event.Flags) {})
		testkit.Must(b, err)
		testkit.Must(b, timers[i].Add(spread(i)))
	}
	fresh, err := l.NewTimer(func(*event.Event, event.Flags) {})
	testkit.Must(b, err)
	b.Run("add and cancel", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if fresh.Add(spread(i)) != nil || fresh.Del() != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("cancel and add a cold one", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if e := timers[i*611_953%pending]; e.Del() != nil || e.Add(spread(i)) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("renew", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if fresh.Add(time.Hour+time.Duration(i)) != nil {
				b.Fatal("refused")
			}
		}
	})
}

// BenchmarkPost is a function posted by another goroutine and called, with the loop at work meanwhile.
func BenchmarkPost(b *testing.B) {
	eachDriver(b, func(b *testing.B, l *event.Loop) {
		testkit.Background(b, l)
		called, over := 0, make(chan struct{})
		fn := func() {
			if called++; called == b.N {
				close(over)
			}
		}
		b.ResetTimer()
		for range b.N {
			for l.Post(fn) != nil { // too many wait
				runtime.Gosched()
			}
		}
		<-over
		b.StopTimer()
	})
}
