package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

func TestTimerFires(t *testing.T) {
	l := newLoop(t, nil)
	fired := 0
	e, err := l.NewTimer(func(_ *event.Event, what event.Flags) {
		fired++
		if what != event.Timeout {
			t.Errorf("told %v", what)
		}
	})
	must(t, err)
	must(t, e.Add(time.Millisecond))
	run(t, l)
	if fired != 1 {
		t.Fatalf("fired %d times", fired)
	}
}
