package event

import (
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/tick"
)

// alarm is the timer that ends a loop's sleep at its next deadline. It is armed lazily: if it is armed for an earlier time it is
// left so, and costs one empty turn when it fires. A deadline that is postponed again and again therefore does not touch the
// clock's timers.
type alarm struct {
	l     *Loop
	timer ClockTimer   // nil until the first deadline
	at    atomic.Int64 // what it is armed for; NoTimeout when it is not
}

func (a *alarm) init(l *Loop) {
	a.l = l
	a.at.Store(int64(NoTimeout))
}

// setInLoop makes the alarm fire at deadline or earlier.
func (a *alarm) setInLoop(deadline time.Duration) {
	a.l.assertInLoop()
	if a.at.Load() > int64(deadline) {
		a.arm(deadline)
	}
}

func (a *alarm) arm(deadline time.Duration) {
	armed := false
	defer func() {
		if !armed { // the clock has panicked
			a.at.Store(int64(NoTimeout))
		}
	}()
	a.at.Store(int64(deadline))
	for now := a.l.clock.Now(); ; {
		a.startTimer(max(0, deadline-now))
		if !a.l.userClock {
			break
		}
		later := a.l.clock.Now()
		if later-now < maxArming {
			break
		}
		now = later
	}
	armed = true
}

// maxArming is how much time may pass on a user's clock while the alarm is armed. If more passes, as when a test advances its clock, the
// alarm would be late by that much, and is armed again.
const maxArming = time.Millisecond

func (a *alarm) startTimer(d time.Duration) {
	if a.timer == nil {
		a.timer = a.l.clock.AfterFunc(d, a.fired)
	} else {
		a.timer.Reset(d)
	}
}

// fired wakes the loop as other goroutines do, but is not counted in Stats.Wakes. It publishes that time has passed.
func (a *alarm) fired() {
	tick.Process.AfterSleep() // the timer may be what ends an idle phase of the whole process
	a.at.Store(int64(NoTimeout))
	a.l.mu.Lock()
	if a.l.asleep {
		a.l.announceWake()
	}
	a.l.unlock()
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
