package event

import (
	"math"
	"sync/atomic"
	"time"
)

// The Go runtime's monitor thread (sysmon in runtime/proc.go) preempts goroutines that compute, and polls the network while no processor
// does. When all processors are idle, it sleeps until the next timer of the runtime, or for a minute if there is none. Only a system call
// that the scheduler takes part in wakes it earlier. A parked loop makes no such call: it polls, reads and writes in raw system calls.
// If its callbacks then make goroutines runnable that compute on all processors, nothing preempts them, and no parked loop runs again
// until they end.
//
// Waking the monitor in each sleep of a loop would prevent that, but costs as much processor time as the rest of a short sleep. So it is
// done for the first sleeps of a phase of activity, and then a tick, a timer of the runtime that the whole process shares, is kept pending.
// The monitor's sleep ends with the tick at the latest. So a goroutine that computes is preempted after about three ticks at most: one
// until the monitor wakes, one for the monitor's own period and one for the time slice of a goroutine, both of which are 10 ms.

// monitorTick is the period of the tick.
const monitorTick = 10 * time.Millisecond

// A monitorState says what keeps the monitor's sleep short.
type monitorState uint32

const (
	monitorFree   monitorState = iota // nothing: whatever ends an idle phase must wake it
	monitorTicked                     // the tick is pending, and no loop has slept since the last one
	monitorUsed                       // the tick is pending, and a loop has slept since the last one
)

func (s monitorState) String() string {
	switch s {
	case monitorFree:
		return "free"
	case monitorTicked:
		return "ticked"
	case monitorUsed:
		return "used"
	}
	return "unknown"
}

// A monitorGuard makes sure that the runtime's monitor does not sleep while goroutines compute. All methods: any goroutine.
type monitorGuard struct {
	state atomic.Uint32 // a monitorState
	woken atomic.Int64  // when afterSleep has last woken the monitor, since epoch
	timer *time.Timer   // the tick; it is reset by the goroutine that has changed the state from monitorFree, or runs tick
	wake  func()
}

// monitor is the process's guard. It is made when the program starts, so that its timer belongs to no synctest bubble.
var monitor = newMonitorGuard(wakeMonitor)

func newMonitorGuard(wake func()) *monitorGuard {
	g := &monitorGuard{wake: wake}
	g.woken.Store(math.MinInt64 / 2)
	g.timer = time.AfterFunc(time.Hour, g.tick)
	g.timer.Stop()
	return g
}

// afterSleep is called when a loop's sleep has ended because a descriptor is ready or a timer has fired. A loop that another goroutine
// wakes need not call it, because something has woken that goroutine.
func (g *monitorGuard) afterSleep() {
	for {
		switch s := monitorState(g.state.Load()); s {
		case monitorUsed: // most of the time
			return
		case monitorTicked:
			if g.change(s, monitorUsed) {
				return
			}
		default:
			g.start()
			return
		}
	}
}

// start wakes the monitor, and starts the tick if that is the second time within a tick.
func (g *monitorGuard) start() {
	g.wake()
	now := int64(time.Since(epoch))
	if before := g.woken.Swap(now); time.Duration(now-before) < monitorTick && g.change(monitorFree, monitorUsed) {
		g.timer.Reset(monitorTick)
	}
}

// tick continues the tick as long as loops use it.
func (g *monitorGuard) tick() {
	for {
		if g.change(monitorUsed, monitorTicked) {
			g.timer.Reset(monitorTick)
			return
		}
		if g.change(monitorTicked, monitorFree) {
			return
		}
	}
}

func (g *monitorGuard) change(from, to monitorState) bool {
	return g.state.CompareAndSwap(uint32(from), uint32(to))
}
