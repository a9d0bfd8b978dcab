package event

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// threadDriver blocks the loop's own thread in the poller and is woken through the poller's eventfd or socketpair.
type threadDriver struct {
	l      *Loop
	opener func(poller.WakerKind) (Poller, error)
	waker  poller.WakerKind
	poller Poller
	rings  atomic.Int32 // announced and not over
	alarm  alarm        // only where the clock is not the system's
}

func newThreadDriver(l *Loop, open func(poller.WakerKind) (Poller, error), waker poller.WakerKind) *threadDriver {
	d := &threadDriver{l: l, opener: open, waker: waker}
	d.alarm.init(l)
	return d
}

func (d *threadDriver) loop() *Loop { return d.l }

func (d *threadDriver) name() Driver { return DriverThread }

func (d *threadDriver) open() (Poller, error) { return d.opener(d.waker) }

func (d *threadDriver) adopt(p Poller) error {
	d.awaitRings()
	d.poller = p
	return nil
}

func (d *threadDriver) wait(ready []Ready, block bool) (int, error) {
	if !block {
		return d.poller.Wait(ready, 0)
	}
	deadline, asleep := d.l.fallAsleep()
	if !asleep {
		return d.poller.Wait(ready, 0)
	}
	return d.poller.Wait(ready, d.timeout(deadline))
}

// timeout turns a deadline into the kernel's terms. Another clock's time does not pass while the kernel counts the
// system's, so there the clock itself must end the sleep.
func (d *threadDriver) timeout(deadline time.Duration) time.Duration {
	if deadline == NoTimeout {
		return -1
	}
	if _, ok := d.l.clock.(systemClock); ok {
		return max(0, deadline-d.l.clock.Now())
	}
	d.alarm.set(deadline)
	return -1
}

func (d *threadDriver) claimed() { d.rings.Add(1) }

func (d *threadDriver) ring() {
	if err := d.poller.Wake(); err != nil {
		panic("event: loop cannot be woken: " + err.Error()) // its descriptor was closed or overwritten by somebody else
	}
	d.rings.Add(-1)
}

func (d *threadDriver) close() error {
	d.awaitRings()
	d.alarm.stop()
	return nil
}

// awaitRings lets the rings finish that were announced, or one of them could meet a stranger behind the waker's number. The
// loop is awake, so none is added, and none blocks.
func (d *threadDriver) awaitRings() {
	for d.rings.Load() > 0 {
		runtime.Gosched()
	}
}
