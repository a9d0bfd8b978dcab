package event

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// threadDriver blocks the loop's thread in the poller and is woken through the poller's eventfd or socketpair.
type threadDriver struct {
	l            *Loop
	opener       openPoller
	waker        poller.WakerKind
	poller       poller.Poller
	maxTimeout   time.Duration // limit of a sleep; 0 for none
	pendingWakes atomic.Int32  // announced and not finished
	alarm        alarm         // used only with a clock other than the system's
}

func newThreadDriver(l *Loop, open openPoller, waker poller.WakerKind) *threadDriver {
	d := &threadDriver{l: l, opener: open, waker: waker}
	d.alarm.init(l)
	return d
}

func (d *threadDriver) loop() *Loop { return d.l }

func (d *threadDriver) name() Driver { return DriverThread }

func (d *threadDriver) open() (poller.Poller, error) { return d.opener(d.waker) }

func (d *threadDriver) adopt(p poller.Poller) error {
	d.awaitWakes()
	d.poller = p
	return nil
}

func (d *threadDriver) wait(ready []poller.Ready, block bool) (int, error) {
	if !block {
		return d.poller.Wait(ready, 0)
	}
	deadline, asleep := d.l.fallAsleep()
	if !asleep {
		return d.poller.Wait(ready, 0)
	}
	timeout := d.timeout(deadline)
	if d.maxTimeout > 0 && (timeout < 0 || timeout > d.maxTimeout) {
		timeout = d.maxTimeout
	}
	return d.poller.Wait(ready, timeout)
}

// timeout returns the kernel's timeout for a deadline. The kernel measures the system's time, so with another clock it is
// that clock which must end the sleep.
func (d *threadDriver) timeout(deadline time.Duration) time.Duration {
	if deadline == NoTimeout {
		return -1
	}
	if _, ok := d.l.clock.(systemClock); ok {
		return max(0, deadline-d.l.clock.Now())
	}
	d.alarm.setInLoop(deadline)
	return -1
}

func (d *threadDriver) announceWake() way {
	d.pendingWakes.Add(1)
	return wayBlocked
}

func (d *threadDriver) wake(way) {
	if err := d.poller.Wake(); err != nil {
		panic("event: loop cannot be woken: " + err.Error()) // other code has closed or replaced its descriptor
	}
	d.pendingWakes.Add(-1)
}

func (d *threadDriver) afterSleep(_, _ time.Duration, _ bool) bool {
	d.l.stats.Blocked++
	return false
}

func (d *threadDriver) close() error {
	d.awaitWakes()
	d.alarm.stop()
	return nil
}

// awaitWakes waits until the announced wakes have finished. Otherwise one of them could write to another file that has taken the
// waker's descriptor number. The loop is awake, so no wake is added, and none blocks.
func (d *threadDriver) awaitWakes() {
	for d.pendingWakes.Load() > 0 {
		runtime.Gosched()
	}
}
