package event_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// countingClock is a clock on which 50 µs pass with each reading.
type countingClock struct{ readings atomic.Int64 }

func (c *countingClock) Now() time.Duration {
	return time.Duration(c.readings.Add(1)) * 50 * time.Microsecond
}

func (c *countingClock) AfterFunc(time.Duration, func()) event.ClockTimer {
	panic("a loop that always has work does not sleep")
}

// With one processor, a goroutine beside a loop without sleeps is scheduled whenever 200 µs of the loop's clock have passed. By itself the
// scheduler would take the processor from the loop after 10 ms each time, which are thousands of turns.
func TestLoopThatAlwaysHasWorkLetsOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const times = 1000
	clock := &countingClock{}
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	var took atomic.Int64
	work, err := l.NewEvent(-1, event.Persist, func(e *event.Event, _ event.Flags) {
		if took.Load() == 0 {
			testkit.Must(t, e.Activate(event.Read))
		} else {
			testkit.Must(t, l.Break())
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, work.Activate(event.Read))
	go func() {
		start := clock.readings.Load()
		for range times {
			runtime.Gosched()
		}
		took.Store(clock.readings.Load() - start)
	}()
	testkit.Must(t, l.RunForever(t.Context()))
	// A yield is due after four readings, and a turn makes one. Other goroutines of the process may take some of the yields.
	if n := took.Load(); n > 10*4*times {
		t.Errorf("a goroutine beside a busy loop was scheduled %d times in %d readings of the clock", times, n)
	}
}
