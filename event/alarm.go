package event

import (
	"sync/atomic"
	"time"
)

// alarm is the one timer that ends a loop's sleep at its next deadline. It is armed lazily: an alarm for an earlier
// time stays, goes off, finds nothing due and costs one empty turn, so that a deadline that keeps moving away does not
// touch the clock's timers.
type alarm struct {
	l     *Loop
	timer ClockTimer   // nil until the first deadline
	at    atomic.Int64 // what it is armed for; NoTimeout when it is not
}

func (a *alarm) init(l *Loop) {
	a.l = l
	a.at.Store(int64(NoTimeout))
}

// set makes the alarm go off at deadline or earlier. Loop only.
func (a *alarm) set(deadline time.Duration) {
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
	d := max(0, deadline-a.l.clock.Now())
	if a.timer == nil {
		a.timer = a.l.clock.AfterFunc(d, a.goOff)
	} else {
		a.timer.Reset(d)
	}
	armed = true
}

// goOff is a waker like any other, only not counted as one: that time has passed is what it publishes.
func (a *alarm) goOff() {
	wakeMonitor() // a timer may end the idleness of the whole process; see parkDriver.lookOnce
	a.at.Store(int64(NoTimeout))
	a.l.mu.Lock()
	if a.l.asleep {
		a.l.turnFlag()
	}
	a.l.unlock()
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
