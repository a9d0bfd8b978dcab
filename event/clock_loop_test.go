package event_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// It is that of Config, and without one the system's, which does not stand still.
func TestClockIsTheClockOfTheLoop(t *testing.T) {
	clock := testkit.NewClockAt(time.Hour)
	if got := testkit.NewLoop(t, &event.Config{Clock: clock}).Clock(); got != event.Clock(clock) {
		t.Errorf("Clock returns %v, want that of Config", got)
	}
	l := testkit.NewLoop(t, nil)
	before := l.Clock().Now()
	if before < l.Now() {
		t.Errorf("the clock is at %v, before %v of the loop", before, l.Now())
	}
	testkit.Until(t, "a change of the system's clock", func() bool { return l.Clock().Now() > before })
	called := make(chan struct{})
	l.Clock().AfterFunc(time.Millisecond, func() { close(called) })
	testkit.Await(t, called, "a function of the system's clock")
	testkit.Must(t, l.Close())
	if l.Clock() == nil {
		t.Error("a closed loop has no clock")
	}
}
