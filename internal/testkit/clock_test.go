package testkit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

func TestClockCallsInOrderWhenTimePasses(t *testing.T) {
	clock := testkit.NewClock()
	var calls []string
	note := func(what string) func() { return func() { calls = append(calls, what) } }
	want := func(names ...string) {
		t.Helper()
		if !slices.Equal(calls, names) {
			t.Errorf("called %q, want %q", calls, names)
		}
		calls = nil
	}
	clock.AfterFunc(20*time.Millisecond, note("late"))
	clock.AfterFunc(10*time.Millisecond, note("early"))
	moved := clock.AfterFunc(5*time.Millisecond, note("moved"))
	stopped := clock.AfterFunc(10*time.Millisecond, note("stopped"))
	if !moved.Reset(15*time.Millisecond) || !stopped.Stop() || stopped.Stop() {
		t.Error("Reset and Stop do not say whether a call was pending")
	}
	clock.Advance(10*time.Millisecond - 1)
	want()
	clock.Advance(1)
	want("early")
	clock.Advance(time.Hour)
	want("moved", "late")
}

func TestClockCallsWhatIsDueAtOnce(t *testing.T) {
	done := make(chan struct{})
	testkit.NewClock().AfterFunc(0, func() { close(done) })
	testkit.Await(t, done, "a call that was due at once")
}
