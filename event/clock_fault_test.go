package event_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// faultyClock is a clock of which one call ends as end does: that which finds left at 1.
type faultyClock struct {
	*testkit.Clock
	left atomic.Int64
	end  func()
}

func (c *faultyClock) fault() {
	if c.left.Load() > 0 && c.left.Add(-1) == 0 {
		c.end()
	}
}

func (c *faultyClock) Now() time.Duration {
	c.fault()
	return c.Clock.Now()
}

func (c *faultyClock) AfterFunc(d time.Duration, f func()) event.ClockTimer {
	c.fault()
	return faultyTimer{c.Clock.AfterFunc(d, f), c}
}

type faultyTimer struct {
	event.ClockTimer
	clock *faultyClock
}

func (t faultyTimer) Reset(d time.Duration) bool {
	t.clock.fault()
	return t.ClockTimer.Reset(d)
}

func (t faultyTimer) Stop() bool {
	t.clock.fault()
	return t.ClockTimer.Stop()
}

// clockUses need the time. Each may be ended by the clock, at any of its calls.
var clockUses = map[string]func(l *event.Loop, e *event.Event){
	"Add":         func(_ *event.Loop, e *event.Event) { _ = e.Add(time.Hour) },
	"SetTimeout":  func(_ *event.Loop, e *event.Event) { _ = e.SetTimeout(time.Hour) },
	"Remaining":   func(_ *event.Loop, e *event.Event) { e.Remaining() },
	"Exit":        func(l *event.Loop, _ *event.Event) { _ = l.Exit(time.Hour) },
	"Stats":       func(l *event.Loop, _ *event.Event) { l.Stats() },
	"PollTimeout": func(l *event.Loop, _ *event.Event) { l.PollTimeout() },
	"Dump":        func(l *event.Loop, _ *event.Event) { _ = l.Dump(io.Discard) },
	"Interrupted": func(l *event.Loop, _ *event.Event) { l.Interrupted() },
	"RunNonblock": func(l *event.Loop, _ *event.Event) { _ = l.RunNonblock() },
	"run of posts": func(l *event.Loop, _ *event.Event) {
		_ = l.Post(func() {})
		_ = l.Post(func() {})
		_ = l.RunNonblock()
	},
	"run of a timer": func(l *event.Loop, e *event.Event) {
		_ = e.Add(0)
		_ = l.RunNonblock()
	},
	"sleep": func(l *event.Loop, e *event.Event) {
		_ = e.Add(time.Hour)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
		defer cancel()
		_ = l.RunForever(ctx)
	},
	"Close": func(l *event.Loop, _ *event.Event) { _ = l.Close() },
}

// If any call of a clock panics or ends its goroutine, no lock stays held: the loop can continue and be closed.
func TestPanicOfAClockLeavesALoopThatContinuesAndCloses(t *testing.T) {
	for use, do := range clockUses {
		for ending, end := range endings {
			for nth := int64(1); nth <= 8; nth++ {
				t.Run(fmt.Sprintf("%s, %s in call %d", use, ending, nth), func(t *testing.T) {
					clock := &faultyClock{Clock: testkit.NewClock(), end: end}
					l := testkit.NewLoop(t, &event.Config{Clock: clock, SlowCallback: time.Minute, Budget: event.Budget{Time: time.Hour}})
					ticks := 0
					e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) { ticks++ })
					testkit.Must(t, e.Add(time.Minute))
					clock.left.Store(nth)
					apart(t, use, func() { do(l, e) })
					clock.left.Store(0)
					if use == "Close" {
						testkit.Await(t, l.Done(), "Done")
						return
					}
					apart(t, "work after the fault", func() {
						called := false
						testkit.Must(t, e.Add(time.Second))
						testkit.Must(t, l.Post(func() { called = true }))
						before := ticks
						clock.Advance(time.Second)
						testkit.Must(t, l.RunNonblock())
						testkit.Must(t, l.RunNonblock())
						testkit.WantEqual(t, "the post was called", called, true)
						testkit.WantEqual(t, "ticks", ticks-before, 1)
						testkit.Must(t, l.Close())
					})
					testkit.Await(t, l.Done(), "Done")
				})
			}
		}
	}
}

// A loop whose clock has failed to set the alarm for a sleep sets it for the next.
func TestAlarmIsSetAfterAFaultOfTheClock(t *testing.T) {
	clock := &faultyClock{Clock: testkit.NewClock(), end: func() { panic("clock") }}
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	fired := make(chan struct{})
	_, err := l.AfterFunc(time.Second, func() { close(fired) })
	testkit.Must(t, err)
	// Until a fault of AfterFunc was among them; the loop must not believe that an alarm is set.
	for nth := int64(1); nth <= 8; nth++ {
		clock.left.Store(nth)
		apart(t, "Run", func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_ = l.RunForever(ctx)
		})
	}
	clock.left.Store(0)
	testkit.Background(t, l)
	clock.AwaitTimer(t, time.Second)
	clock.Advance(time.Second)
	testkit.Await(t, fired, "timer")
}

// A clock may begin below zero, even as low as there is.
func TestClockBelowZeroWorksAsAnyOther(t *testing.T) {
	for _, start := range []time.Duration{-time.Second, -45 * time.Millisecond, -time.Hour, math.MinInt64} {
		t.Run(start.String(), func(t *testing.T) {
			clock := testkit.NewClockAt(start)
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			var told []time.Duration
			e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) { told = append(told, clock.Now()-start) })
			testkit.Must(t, e.Add(10*time.Millisecond))
			testkit.WantEqual(t, "the loop's time", l.Now(), start)
			passTime(t, l, clock, 35*time.Millisecond)
			wantOrder(t, told, 10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond)
			testkit.Must(t, e.Del())
			testkit.Must(t, silent(t, l, -1, 0).Add(event.NoTimeout-1)) // as good as none
			fired := make(chan struct{})
			testkit.Background(t, l)
			_, err := l.AfterFunc(10*time.Millisecond, func() { close(fired) }) // while the loop sleeps, at 0 for one of the starts
			testkit.Must(t, err)
			clock.AwaitTimer(t, start+45*time.Millisecond)
			clock.Advance(10 * time.Millisecond)
			testkit.Await(t, fired, "timer")
		})
	}
}

// A clock that fails as a slow call is timed costs no function its call: of those that Post and Finalize have accepted, and an event's
// callback.
func TestFaultOfAClockCostsNoFunctionItsCall(t *testing.T) {
	for ending, end := range endings {
		for nth := int64(1); nth <= 12; nth++ {
			for _, closes := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s in call %d, in Close %v", ending, nth, closes), func(t *testing.T) {
					clock := &faultyClock{Clock: testkit.NewClock(), end: end}
					l := testkit.NewLoop(t, &event.Config{Clock: clock, SlowCallback: time.Minute, PanicHandler: func(any, []byte) {}})
					posted, finalized := 0, 0
					testkit.Must(t, l.Post(func() { posted++ }))
					testkit.Must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) { finalized++ }))
					testkit.Must(t, l.Post(func() { posted++ }))
					clock.left.Store(nth)
					for range 3 {
						apart(t, "use of the clock", func() {
							if closes {
								_ = l.Close()
							} else {
								_ = l.RunNonblock()
							}
						})
					}
					clock.left.Store(0)
					testkit.WantEqual(t, "posts and finalizers called", [2]int{posted, finalized}, [2]int{2, 1})
				})
			}
		}
	}
}
