package event_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// With one processor, a goroutine beside a loop without sleeps is scheduled a thousand times in a second or so. By itself the scheduler would
// take the processor from the loop after 10 ms each time.
func TestLoopThatAlwaysHasWorkLetsOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l := newLoop(t, nil)
	done := make(chan time.Duration, 1)
	work, err := l.NewEvent(-1, event.Persist, func(e *event.Event, _ event.Flags) {
		if len(done) == 0 {
			must(t, e.Activate(event.Read))
		} else {
			must(t, l.Break())
		}
	})
	must(t, err)
	must(t, work.Activate(event.Read))
	go func() {
		start := time.Now()
		for range 1000 {
			runtime.Gosched()
		}
		done <- time.Since(start)
	}()
	must(t, l.RunForever(t.Context()))
	if took := <-done; took > 5*time.Second {
		t.Errorf("a goroutine beside a busy loop was scheduled 1000 times in %v", took)
	}
}
