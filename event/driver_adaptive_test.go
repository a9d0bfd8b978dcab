//go:build linux

package event

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

// A loop should block after enough short sleeps that no other goroutine has ended, with enough reports. It parks again after a wake, with longer sleeps, and
// with few reports.
func TestTheRecentSleepsDecideTheNextOne(t *testing.T) {
	const us = time.Microsecond
	for _, row := range []struct {
		name        string
		sleeps      int
		slept       time.Duration
		woken       bool // the last sleep
		reports     int
		should, may bool
	}{
		{"enough short sleeps", quietSleeps, 50 * us, false, 1000, true, true},
		{"one sleep too few", quietSleeps - 1, 50 * us, false, 1000, false, true},
		{"a wake at the end", 1000, 50 * us, true, 10, false, false},
		{"just below the first limit", 1000, shortSleep - us, false, 10, true, true},
		{"just above the first limit", 1000, shortSleep + us, false, 10, false, true},
		{"just below the second limit", 1000, longSleep - us, false, 10, false, true},
		{"just above the second limit", 1000, longSleep + us, false, 10, false, false},
		{"very long sleeps", 1000, time.Hour, false, 10, false, false},
		{"one report", 1000, 50 * us, false, 1, false, false},
		{"three reports", 1000, 50 * us, false, 3, false, true},
		{"four reports", 1000, 50 * us, false, 4, true, true},
		{"nothing yet", 0, 0, false, 0, false, false},
	} {
		var h sleepHistory
		for i := range row.sleeps {
			at := time.Duration(i) * time.Second
			h.add(at, at+row.slept, row.woken && i == row.sleeps-1)
			h.addReports(row.reports)
		}
		if h.shouldBlock() != row.should || h.mayBlock() != row.may {
			t.Errorf("%s: should block %v, may block %v", row.name, h.shouldBlock(), h.mayBlock())
		}
		average := h.average
		if h.add(NoTimeout, time.Hour, row.woken); h.average != average {
			t.Errorf("%s: a sleep whose beginning is not known has changed the average", row.name)
		}
		if h.resetQuiet(); h.shouldBlock() {
			t.Errorf("%s: should block at once after a change", row.name)
		}
	}
}

func TestLoopsThatBlockLeaveHalfOfTheProcessors(t *testing.T) {
	for procs, want := range map[int]int32{1: 0, 2: 1, 3: 1, 4: 2, 64: 32} {
		if got := mostBlocking(procs); got != want {
			t.Errorf("%d of %d processors, want %d", got, procs, want)
		}
	}
}

// newAdaptive returns a loop with an adaptive driver that does not block by itself, and a function that runs f on the loop, which runs.
func newAdaptive(t *testing.T, alternate bool) (*Loop, *adaptiveDriver, func(f func())) {
	t.Helper()
	driver := DriverAdaptive
	if alternate {
		driver = driverAlternate
	}
	l, err := NewLoop(&Config{IgnoreEnv: true, Driver: driver})
	if err != nil {
		t.Fatal(err)
	}
	l.Ref()
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
	return l, l.driver.(*adaptiveDriver), func(f func()) {
		t.Helper()
		ran := make(chan struct{})
		if err := l.Post(func() { f(); close(ran) }); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ran:
		case <-time.After(20 * time.Second):
			t.Fatal("the function has not run")
		}
	}
}

// until waits for a condition that nothing announces. It asks once in a millisecond. Package testkit, which has the same, imports this package.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

// newPipe returns the two ends of a pipe that does not block. They are closed when the test ends.
func newPipe(t *testing.T) (ends [2]int) {
	t.Helper()
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(ends[0]), unix.Close(ends[1]) })
	return ends
}

// begin makes the driver block from the next sleep on, until the recent sleeps say otherwise. On the loop.
func (d *adaptiveDriver) begin(t *testing.T) {
	if !d.blocking && !d.startBlocking() {
		t.Error("the loop cannot block")
	}
	d.sleeps, d.mostLoops = sleepHistory{reports: 100}, math.MaxInt32
}

// is reports whether the loop sleeps in the given way.
func (d *adaptiveDriver) is(blocking bool) func() bool {
	return func() bool {
		l := d.loop()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.asleep && d.blocking == blocking
	}
}

// A loop that has been busy, and is idle now, parks: it makes no more turns.
func TestAnIdleLoopParks(t *testing.T) {
	l, d, do := newAdaptive(t, false)
	before := l.Stats()
	do(func() { d.begin(t) })
	until(t, "sleep that blocks", func() bool { return l.Stats().Blocked > before.Blocked })
	until(t, "sleep that parks", d.is(false))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sleepsUntil != NoTimeout {
		t.Errorf("the sleep ends at %v", l.sleepsUntil)
	}
}

// The recent sleeps make the driver block, unless there are too many loops, or the clock is the program's.
func TestABusyLoopBlocks(t *testing.T) {
	busy := sleepHistory{reports: 100, quiet: quietSleeps}
	l, d, do := newAdaptive(t, false)
	others := max(0, mostBlocking(runtime.GOMAXPROCS(0))+1-adaptiveLoops.Load())
	adaptiveLoops.Add(others) // as if so many were open
	do(func() {
		if d.sleeps = busy; d.mayStartBlocking() {
			t.Error("a loop blocks although there are too many")
		}
		d.begin(t)
		if d.mostLoops = 0; d.mayKeepBlocking() {
			t.Error("a loop goes on blocking although there are too many")
		}
	})
	until(t, "sleep that parks", d.is(false))
	adaptiveLoops.Add(-others)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * int(adaptiveLoops.Load()+32))) // other tests may open loops
	blocked := l.Stats().Blocked
	do(func() { d.sleeps = busy })
	until(t, "sleep that blocks", func() bool { return l.Stats().Blocked > blocked })
	do(func() {
		d.sleeps = busy
		l.userClock = true
		if d.mayStartBlocking() {
			t.Error("a loop with a clock of the program blocks")
		}
		l.userClock = false
	})
}

// The first wake by another goroutine ends the time in which a loop blocks: a parked loop is cheaper to wake.
func TestAWakeEndsBlocking(t *testing.T) {
	_, d, do := newAdaptive(t, false)
	do(func() {
		d.thread.maxTimeout = 0 // only a wake can end the sleep
		d.begin(t)
	})
	until(t, "sleep that blocks", d.is(true))
	do(func() {})
	until(t, "sleep that parks", d.is(false))
}

// The loop's own timers are no wakes by other goroutines, in either way.
func TestATimerIsNoWakeByAnotherGoroutine(t *testing.T) {
	for _, blocking := range []bool{false, true} {
		l, d, do := newAdaptive(t, false)
		woken := make(chan bool, 1)
		e, err := l.NewEvent(-1, 0, func(*Event, Flags) { woken <- d.sleeps.woken })
		if err != nil {
			t.Fatal(err)
		}
		do(func() {
			if blocking {
				d.begin(t)
			}
			if err := e.Add(time.Millisecond); err != nil {
				t.Error(err)
			}
		})
		if <-woken {
			t.Errorf("blocking %v: the timer counts as a wake by another goroutine", blocking)
		}
	}
}

// If the runtime's poller cannot watch the loop's poller any more, the loop goes on blocking, which is logged once, and parks when it can.
func TestALoopThatCannotParkGoesOnBlocking(t *testing.T) {
	l, d, do := newAdaptive(t, true)
	record := newRecorder()
	var real poller.Poller
	do(func() {
		l.log = slog.New(record)
		d.begin(t)
		real = d.park.poller
		d.park.poller = unwatchable{real}
		if err := unix.Close(d.park.spare); err != nil {
			t.Error(err)
		}
		d.park.spare = -1
	})
	before := l.Stats()
	until(t, "sleeps that block", func() bool {
		do(func() {})
		return l.Stats().Blocked > before.Blocked+5
	})
	if n := l.Stats().Parked - before.Parked; n > 0 {
		t.Errorf("the loop has parked %d times", n)
	}
	do(func() { d.park.poller = real })
	until(t, "sleep that parks", func() bool {
		do(func() {})
		return l.Stats().Parked > before.Parked
	})
	record.mu.Lock()
	defer record.mu.Unlock()
	if want := []string{"event: loop cannot park; it blocks its thread"}; !slices.Equal(record.messages, want) {
		t.Errorf("logged %q", record.messages)
	}
}

// unwatchable is a poller that the runtime's poller cannot watch.
type unwatchable struct{ poller.Poller }

func (unwatchable) FD() int { return -1 }

// The poller is replaced while the loop blocks: descriptors, wakes and the next sleep that parks use the new one.
func TestThePollerOfALoopThatBlocksIsReplaced(t *testing.T) {
	l, d, do := newAdaptive(t, false)
	var before poller.Poller
	do(func() {
		d.thread.maxTimeout = 0
		d.begin(t)
		before, l.mustRebuild = l.poller, true
	})
	until(t, "sleep that blocks", d.is(true))
	do(func() {
		if l.poller == before || d.thread.poller != l.poller || d.park.poller != l.poller {
			t.Error("the poller was not replaced")
		}
	})
	until(t, "sleep that parks", d.is(false))
	do(func() {})
}

// When the waker is emptied, the poller may have more reports than fit. Then the waker is emptied after another turn: a parked loop never has a
// waker that is not empty.
func TestAParkedLoopHasAnEmptyWaker(t *testing.T) {
	l, d, do := newAdaptive(t, true)
	do(func() {
		d.begin(t)
		ready := make([]poller.Ready, 1)
		ends := [2][2]int{newPipe(t), newPipe(t)}
		for i := range ends {
			if err := l.poller.Add(ends[i][0], poller.Read, 1<<40); err != nil {
				t.Error(err)
			}
			defer func() { _ = l.poller.Remove(ends[i][0]) }()
			if _, err := unix.Write(ends[i][1], []byte{1}); err != nil {
				t.Error(err)
			}
		}
		for n := 1; n == 1; {
			var err error
			if n, err = d.stopBlocking(ready); err != nil || d.blocking != (n == 1) {
				t.Errorf("%d reports, %v; the loop blocks: %v", n, err, d.blocking)
			}
		}
		for i := range ends {
			if _, err := unix.Read(ends[i][0], make([]byte, 1)); err != nil {
				t.Error(err)
			}
		}
		readable := []unix.PollFd{{Fd: int32(l.poller.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(readable, 0); n != 0 || err != nil {
			t.Errorf("the poller's descriptor is readable: %d, %v", n, err)
		}
	})
}

// A loop that blocks lets other goroutines of its processor run once in yieldEvery, and not more often.
func TestALoopThatBlocksYields(t *testing.T) {
	l, d, do := newAdaptive(t, false)
	do(func() {
		d.begin(t)
		now := l.Now()
		d.lastYield = now
		yields := 0
		for range 1000 {
			now += 50 * time.Microsecond
			l.mu.Lock()
			l.yieldedAt = now
			if d.afterSleep(NoTimeout, now, false) {
				l.yieldedAt -= maxBusy
			}
			if now-l.yieldedAt >= maxBusy { // as yieldInLoop decides
				yields++
			}
			l.mu.Unlock()
		}
		if want := int(1000 * 50 * time.Microsecond / yieldEvery); yields != want {
			t.Errorf("%d yields, want %d", yields, want)
		}
		if want := mostBlocking(runtime.GOMAXPROCS(0)); d.mostLoops != want { // it is read again with each yield
			t.Errorf("the limit of loops is %d, want %d", d.mostLoops, want)
		}
	})
}

func TestTheNamesOfTheWays(t *testing.T) {
	for w, want := range map[way]string{wayNone: "none", wayParked: "parked", wayBlocked: "blocked"} {
		if got := w.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
