package event

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheMonitorIsWokenOnceInAPhaseOfActivity: by sleeps further apart than the tick each time, and by sleeps that follow each other closely
// twice, after which the tick replaces it until no loop has slept for a whole tick.
func TestTheMonitorIsWokenOnceInAPhaseOfActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := 0
		g := newMonitorGuard(func() { woken++ })
		var got []string
		step := func(pause time.Duration) {
			time.Sleep(pause)
			synctest.Wait()
			before := monitorState(g.state.Load())
			g.afterSleep()
			got = append(got, fmt.Sprintf("%v %s %d %s", pause, before, woken, monitorState(g.state.Load())))
		}
		step(time.Second)
		step(20 * time.Millisecond)
		step(20 * time.Millisecond)
		step(time.Millisecond)
		step(time.Millisecond)
		step(9500 * time.Microsecond)
		step(25 * time.Millisecond)
		step(time.Millisecond)
		step(time.Millisecond)
		step(time.Hour)
		want := []string{
			"1s free 1 free",
			"20ms free 2 free",
			"20ms free 3 free",
			"1ms free 4 used",
			"1ms used 4 used",
			"9.5ms ticked 4 used",
			"25ms free 5 free",
			"1ms free 6 used",
			"1ms used 6 used",
			"1h0m0s free 7 free",
		}
		if !slices.Equal(got, want) {
			t.Errorf("pause, state before, number of wakes, state after:\n%q\nwant\n%q", got, want)
		}
	})
}

func TestEachMonitorStateHasAName(t *testing.T) {
	for s, want := range map[monitorState]string{monitorFree: "free", monitorTicked: "ticked", monitorUsed: "used", 9: "unknown"} {
		if got := s.String(); got != want {
			t.Errorf("%d prints as %q, want %q", uint32(s), got, want)
		}
	}
}

// A loop's sleep that ends costs no wake of the monitor, and no allocation, while the tick is pending.
func TestASleepBetweenTicksAllocatesNothing(t *testing.T) {
	g := newMonitorGuard(func() {})
	g.state.Store(uint32(monitorUsed))
	if n := testing.AllocsPerRun(100, g.afterSleep); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
