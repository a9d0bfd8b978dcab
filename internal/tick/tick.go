// Package tick has a timer that the whole process shares, and that is pending while event loops are active.
//
// It serves two purposes. The first is the Go runtime's monitor thread (sysmon in runtime/proc.go), which preempts goroutines that compute,
// and polls the network while no processor does. When all processors are idle, it sleeps until the next timer of the runtime, or for a minute
// if there is none. Only a system call that the scheduler takes part in wakes it earlier. A parked loop makes no such call: it polls, reads and
// writes in raw system calls. If its callbacks then make goroutines runnable that compute on all processors, nothing preempts them, and
// no parked loop runs again until they end. Waking the monitor after each sleep of a loop would prevent that, but costs as much processor
// time as the rest of a short sleep. So it is done for the first sleeps of a phase of activity, and then the tick is kept pending: the
// monitor's sleep ends with the tick at the latest. A goroutine that computes is preempted after one tick, the monitor's own period and a
// time slice of the scheduler, about 30 ms in all.
//
// The second purpose is to find handlers that block a loop: a watcher is called at each tick.
package tick

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The period is maxPeriod. After Faster it is minPeriod, and doubles after as many ticks as periodTicks each time.
const (
	minPeriod   = time.Millisecond
	maxPeriod   = 8 * time.Millisecond
	periodTicks = 16
)

// maxLate is how late a tick may be. A later one follows a pause of the whole process, and proves nothing about the time before it.
const maxLate = 100 * time.Millisecond

// A Watcher is called at each tick.
type Watcher interface {
	// Tick is called on a goroutine of the Tick. It must not block. late reports whether the tick was later than it may be. The tick is
	// kept pending if Tick returns true, whether or not it is used.
	Tick(late bool) (busy bool)

	// IsBusy reports whether Tick would return true. It must not block. Any goroutine.
	IsBusy() bool
}

// A Tick is a timer that is pending while it is used. All methods: any goroutine.
type Tick struct {
	state  atomic.Uint32 // a state
	woken  atomic.Int64  // when AfterSleep has last woken the monitor, since epoch
	faster atomic.Bool   // Faster was called since the last tick

	wake func() // wakes the monitor

	mu       sync.Mutex // guards what follows, and changes from and to free; held while watchers are called
	timer    *time.Timer
	due      time.Duration // of the pending tick, since epoch
	started  time.Duration // when the tick was last made pending, since epoch
	period   time.Duration
	ticks    int // with this period
	watchers map[Watcher]struct{}
}

// Process is the tick of the process. It is made when the program starts, so that its timer belongs to no synctest bubble.
var Process = newTick(wakeMonitor)

// epoch is the origin of the times. Only its monotonic reading is used.
var epoch = time.Now()

func newTick(wake func()) *Tick {
	t := &Tick{wake: wake, period: maxPeriod, started: math.MinInt64 / 2, watchers: map[Watcher]struct{}{}}
	t.woken.Store(math.MinInt64 / 2)
	t.timer = time.AfterFunc(time.Hour, t.fire)
	t.timer.Stop()
	return t
}

// Watch has w called at each tick, until Unwatch.
func (t *Tick) Watch(w Watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[w] = struct{}{}
}

// Unwatch ends the calls of w, and waits for one that is in progress.
func (t *Tick) Unwatch(w Watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
}

// AfterSleep is called when the sleep of a parked loop has ended because a descriptor is ready or a timer has fired. A loop that another goroutine
// wakes need not call it, because something has woken that goroutine; nor need one that blocks, in a system call through the scheduler.
func (t *Tick) AfterSleep() {
	if t.use() {
		return
	}
	t.wake()
	now := int64(time.Since(epoch))
	if before := t.woken.Swap(now); time.Duration(now-before) < maxPeriod { // the second time within a tick
		t.start()
	}
}

// Use is called before a handler is called that may block. The next tick but one finds it. If Use makes the tick pending, for the first time
// in a period, isAlone is true: then the caller calls Rest before it sleeps.
func (t *Tick) Use() (isAlone bool) {
	if t.use() {
		return false
	}
	t.wake() // else a handler that computes on the only processor would delay the tick
	return t.start()
}

// Rest is called before a sleep after Use, when the handler has returned. It makes the tick not pending, unless a watcher is busy. Otherwise the tick
// would fire twice after each handler on an idle machine, each time waking a thread.
func (t *Tick) Rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.change(used, free) {
		return
	}
	// After the change: a watcher that becomes busy from now on calls Use, which then waits for mu.
	for w := range t.watchers {
		if w.IsBusy() {
			t.state.Store(uint32(used))
			return
		}
	}
	t.timer.Stop()
}

// Faster makes the period the shortest for the next ticks, so that handlers that block are found early.
func (t *Tick) Faster() { t.faster.Store(true) }

// use records that the tick is used, if it is pending.
func (t *Tick) use() (pending bool) {
	for {
		switch s := state(t.state.Load()); s {
		case used: // most of the time
			return true
		case pendingOnly:
			if t.change(s, used) {
				return true
			}
		default:
			return false
		}
	}
}

// start makes the tick pending. It reports whether it has done so, for the first time in maxPeriod.
func (t *Tick) start() (isFirst bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.change(free, used) {
		return false
	}
	before := t.started
	t.reset()
	t.started = t.due - t.period
	return t.started-before >= maxPeriod
}

// reset starts the timer for another period. Under mu.
func (t *Tick) reset() {
	switch t.ticks++; {
	case t.faster.Load():
		t.faster.Store(false)
		t.period, t.ticks = minPeriod, 0
	case t.ticks >= periodTicks && t.period < maxPeriod:
		t.period, t.ticks = 2*t.period, 0
	}
	t.due = time.Since(epoch) + t.period
	t.timer.Reset(t.period)
}

// fire is the function of the timer. It calls the watchers, and starts the timer again as long as the tick is used.
func (t *Tick) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Since(epoch)
	if state(t.state.Load()) == free || now < t.due { // Rest was called when the timer fired already
		return
	}
	busy := t.callWatchers(now-t.due > maxLate)
	for {
		switch {
		case t.change(used, pendingOnly), busy:
			t.reset()
			return
		case t.change(pendingOnly, free):
			return
		}
	}
}

// callWatchers calls the watchers. Under mu.
func (t *Tick) callWatchers(late bool) (busy bool) {
	for w := range t.watchers {
		if w.Tick(late) {
			busy = true
		}
	}
	return busy
}

func (t *Tick) change(from, to state) bool { return t.state.CompareAndSwap(uint32(from), uint32(to)) }

// A state says whether the tick is pending.
type state uint32

const (
	free        state = iota // it is not; what ends an idle phase must wake the monitor
	pendingOnly              // it is pending, and was not used since the last one
	used                     // it is pending, and was used since the last one
)

func (s state) String() string {
	switch s {
	case free:
		return "free"
	case pendingOnly:
		return "pending"
	case used:
		return "used"
	}
	return "unknown"
}
