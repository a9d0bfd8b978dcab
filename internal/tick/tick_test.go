package tick

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheMonitorIsWokenOnceInAPhaseOfActivity: by sleeps further apart than the tick each time, and by sleeps that follow each other closely
// twice, after which the tick replaces it until no loop has slept for a whole tick.
func TestTheMonitorIsWokenOnceInAPhaseOfActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := 0
		g := newTick(func() { woken++ })
		var got []string
		step := func(pause time.Duration) {
			time.Sleep(pause)
			synctest.Wait()
			before := state(g.state.Load())
			g.AfterSleep()
			got = append(got, fmt.Sprintf("%v %s %d %s", pause, before, woken, state(g.state.Load())))
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
			"9.5ms pending 4 used",
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

func TestEachStateHasAName(t *testing.T) {
	for s, want := range map[state]string{free: "free", pendingOnly: "pending", used: "used", 9: "unknown"} {
		if got := s.String(); got != want {
			t.Errorf("%d prints as %q, want %q", uint32(s), got, want)
		}
	}
}

// A loop's sleep that ends costs no wake of the monitor, and no allocation, while the tick is pending.
func TestASleepBetweenTicksAllocatesNothing(t *testing.T) {
	g := newTick(func() { t.Error("the monitor was woken") })
	g.state.Store(uint32(used))
	if n := testing.AllocsPerRun(100, g.AfterSleep); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// watcher records its calls.
type watcher struct {
	since time.Time
	busy  atomic.Bool
	mu    sync.Mutex // guards calls
	calls []string
}

func (w *watcher) Tick(late bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprint(time.Since(w.since), " ", late))
	return w.busy.Load()
}

func (w *watcher) IsBusy() bool { return w.busy.Load() }

func (w *watcher) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// TestTheTickEndsWhenItIsNotUsed: after one more tick, unless a watcher is busy.
func TestTheTickEndsWhenItIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTick(func() {})
		w := &watcher{since: time.Now()}
		w.busy.Store(true)
		g.Watch(w)
		g.Use()
		time.Sleep(30 * time.Millisecond)
		synctest.Wait()
		w.busy.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"8ms false", "16ms false", "24ms false", "32ms false"}; !slices.Equal(w.got(), want) {
			t.Errorf("%q, want %q", w.got(), want)
		}
		g.Unwatch(w)
		g.Use()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(w.got()) != 4 {
			t.Errorf("a watcher was called after Unwatch: %q", w.got())
		}
	})
}

// TestThePeriodDoubles from the shortest to the longest, 16 ticks each, after Faster.
func TestThePeriodDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTick(func() {})
		w := &watcher{since: time.Now()}
		w.busy.Store(true)
		g.Watch(w)
		g.Faster()
		g.Use()
		time.Sleep(16*time.Millisecond + 500*time.Microsecond)
		synctest.Wait()
		if len(w.got()) != 16 {
			t.Errorf("%d ticks in 16 ms", len(w.got()))
		}
		time.Sleep(32*time.Millisecond + 64*time.Millisecond)
		synctest.Wait()
		if len(w.got()) != 48 {
			t.Errorf("%d ticks in 112 ms", len(w.got()))
		}
		time.Sleep(800 * time.Millisecond)
		synctest.Wait()
		if len(w.got()) != 148 {
			t.Errorf("%d ticks in 912 ms", len(w.got()))
		}
		g.Faster()
		before := len(w.got())
		time.Sleep(8 * time.Millisecond)
		synctest.Wait()
		time.Sleep(8 * time.Millisecond)
		synctest.Wait()
		if n := len(w.got()) - before; n != 9 {
			t.Errorf("%d ticks in 16 ms after Faster, want one at the old period and 8 at the shortest", n)
		}
		w.busy.Store(false)
		time.Sleep(time.Second)
	})
}

// TestATickAfterAPauseIsLate: it says nothing about the time before it.
func TestATickAfterAPauseIsLate(t *testing.T) {
	g := newTick(func() {})
	for _, due := range []time.Duration{0, -50 * time.Millisecond, -150 * time.Millisecond} {
		w := &watcher{since: time.Now()}
		g.Watch(w)
		g.state.Store(uint32(pendingOnly))
		g.due = time.Since(epoch) + due
		g.fire()
		g.Unwatch(w)
		if late := strings.HasSuffix(w.got()[0], "true"); late != (due < -maxLate) {
			t.Errorf("a tick %v after its time is late: %v", -due, late)
		}
	}
}

// TestARestEndsTheTickOfAnIsolatedUse: no tick fires. If the uses follow each other closely, it is kept.
func TestARestEndsTheTickOfAnIsolatedUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTick(func() {})
		w := &watcher{since: time.Now()}
		g.Watch(w)
		use := func(pause time.Duration, want bool) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			isAlone := g.Use()
			if isAlone != want {
				t.Errorf("the use %v after the one before is alone: %v", pause, isAlone)
			}
			if isAlone {
				g.Rest()
			}
		}
		for range 10 {
			use(10*time.Millisecond, true)
		}
		if len(w.got()) != 0 {
			t.Errorf("ticks of isolated uses: %q", w.got())
		}
		use(time.Millisecond, false)
		use(time.Millisecond, false)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(w.got()) != 2 {
			t.Errorf("ticks after uses that follow each other: %q, want 2", w.got())
		}
	})
}

// Another loop's handler, which has not started the tick itself, is still found.
func TestARestKeepsTheTickForABusyWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTick(func() {})
		w := &watcher{since: time.Now()}
		g.Watch(w)
		if !g.Use() {
			t.Fatal("the first use is not alone")
		}
		w.busy.Store(true)
		if g.Use() {
			t.Error("a use while the tick is pending is alone")
		}
		g.Rest()
		time.Sleep(16 * time.Millisecond)
		synctest.Wait()
		w.busy.Store(false)
		if want := []string{"8ms false", "16ms false"}; !slices.Equal(w.got(), want) {
			t.Errorf("%q, want %q", w.got(), want)
		}
		time.Sleep(time.Second) // the tick ends
	})
}

// A watcher that becomes busy, and then uses the tick, is called, whatever others do at the same moment.
func TestAWatcherThatBecomesBusyDuringARestIsCalled(t *testing.T) {
	g := newTick(func() {})
	w := &watcher{since: time.Now()}
	g.Watch(w)
	var stop atomic.Bool
	var resting sync.WaitGroup
	resting.Go(func() {
		for !stop.Load() {
			g.Use()
			g.Rest()
		}
	})
	for range 10 {
		before := len(w.got())
		w.busy.Store(true)
		g.Use()
		for begin := time.Now(); len(w.got()) < before+2 && time.Since(begin) < 10*time.Second; {
			time.Sleep(time.Millisecond)
		}
		if len(w.got()) < before+2 {
			t.Fatal("no tick meets a busy watcher")
		}
		w.busy.Store(false)
	}
	stop.Store(true)
	resting.Wait()
}
