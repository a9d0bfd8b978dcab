package event

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// adaptiveDriver parks as a parkDriver does, or blocks as a threadDriver does, but without a locked thread. A parked loop is cheap to wake for other
// goroutines. When the descriptors of a busy loop end its sleeps, blocking takes less processor time, because no goroutine is parked and made
// runnable. The driver changes the way between two sleeps, while the loop is awake:
//
//   - A goroutine ends a sleep in the way of that sleep: announceWake returns it under l.mu. The wake may come late. If the loop has
//     parked again, on another file, the wake costs one empty turn.
//   - When the driver stops blocking, it waits until the wakes that were announced have reached the poller's waker, and empties that. A parked
//     loop would spin otherwise, since a poll without a timeout does not empty it.
//   - While the loop blocks, the runtime's poller does not watch its descriptor: each report would also wake another thread.
//
// The model in docs/model contains these rules.
type adaptiveDriver struct {
	park      *parkDriver
	thread    *threadDriver
	alternate bool // change the way after each sleep: for tests

	// blocking is the way of the current or next sleep. The loop writes it while it is awake. announceWake reads it under l.mu while the loop is asleep.
	blocking bool

	// The following belongs to the goroutine that runs the loop.
	sleeps    sleepHistory
	hasParked bool          // since the last change
	mostLoops int32         // of the process, with which this loop may block
	parkFails bool          // that was logged
	lastYield time.Duration // when the loop last parked, or asked for a yield
}

const (
	// maxBlocked is the longest time for which a sleep blocks. If nothing has happened, another sleep follows.
	maxBlocked = 2 * time.Millisecond
	// yieldEvery is the time after which a loop that blocks yields. While its system calls are short, the scheduler does not take the processor
	// away, and does not look at the timers of its other goroutines.
	yieldEvery = time.Millisecond
)

// adaptiveLoops is the number of open loops of the process that have this driver.
var adaptiveLoops atomic.Int32

func newAdaptiveDriver(l *Loop, open openPoller, waker poller.WakerKind, alternate bool) *adaptiveDriver {
	d := &adaptiveDriver{park: newParkDriver(l, open), thread: newThreadDriver(l, open, waker), alternate: alternate}
	d.thread.maxTimeout = maxBlocked
	return d
}

func (d *adaptiveDriver) loop() *Loop { return d.park.l }

func (d *adaptiveDriver) name() Driver { return DriverAdaptive }

func (d *adaptiveDriver) open() (poller.Poller, error) { return d.thread.open() }

// adopt accepts epoll only: stopBlocking relies on how it reports its waker.
func (d *adaptiveDriver) adopt(p poller.Poller) (err error) {
	if p.Name() != string(BackendEpoll) {
		return fmt.Errorf("%w: driver %s with backend %s", ErrUnsupported, DriverAdaptive, p.Name())
	}
	if d.blocking {
		err = d.park.replaceSpare(p)
	} else {
		err = d.park.adopt(p)
	}
	if err != nil {
		return err
	}
	if d.thread.poller == nil { // the first poller: the loop is open
		adaptiveLoops.Add(1)
	}
	return d.thread.adopt(p)
}

func (d *adaptiveDriver) wait(ready []poller.Ready, block bool) (n int, err error) {
	defer func() { d.sleeps.addReports(n) }()
	if !block {
		return d.thread.poller.Wait(ready, 0)
	}
	switch {
	case d.blocking && d.mayKeepBlocking():
		return d.thread.wait(ready, true)
	case d.blocking:
		return d.stopBlocking(ready)
	case d.mayStartBlocking() && d.startBlocking():
		return d.thread.wait(ready, true)
	}
	return d.park.wait(ready, true)
}

func (d *adaptiveDriver) mayStartBlocking() bool {
	switch {
	case d.loop().userClock: // the kernel does not know its time
		return false
	case d.alternate:
		return d.hasParked
	case !d.sleeps.shouldBlock():
		return false
	}
	d.sleeps.resetQuiet()
	d.mostLoops = mostBlocking(runtime.GOMAXPROCS(0))
	return adaptiveLoops.Load() <= d.mostLoops
}

func (d *adaptiveDriver) mayKeepBlocking() bool {
	return !d.alternate && d.sleeps.mayBlock() && adaptiveLoops.Load() <= d.mostLoops
}

// mostBlocking returns the number of loops up to which they may block: half of the processors are left to other goroutines. A loop that blocks
// keeps its processor until the runtime's monitor takes it, after up to 10 ms.
func mostBlocking(procs int) int32 { return int32(procs / 2) }

// startBlocking makes the next sleeps block. It fails without a free descriptor; then the loop parks as before.
func (d *adaptiveDriver) startBlocking() (ok bool) {
	if d.park.release() != nil {
		return false
	}
	d.blocking, d.hasParked = true, false
	go func() {}() // wakes a thread, which then waits in the runtime's poller, for timers and the I/O of other goroutines, in place of this one
	return true
}

// stopBlocking empties the poller's waker, and makes the next sleeps park. It returns the reports of the poll that this takes. If the reports fill
// ready, the waker may not be empty; if the system refuses the new file, the loop cannot park. In both cases the driver goes on blocking.
func (d *adaptiveDriver) stopBlocking(ready []poller.Ready) (n int, err error) {
	d.thread.awaitWakes()
	if err := d.thread.poller.Wake(); err != nil { // so that Wait returns at once, and empties the waker
		return 0, fmt.Errorf("park: empty the waker: %w", err)
	}
	if n, err = d.thread.poller.Wait(ready, maxBlocked); err != nil {
		return n, fmt.Errorf("park: empty the waker: %w", err)
	}
	if n == len(ready) {
		return n, nil
	}
	if err := d.park.resume(); err != nil {
		d.logParkFails(err)
		d.thread.maxTimeout = 0 // an idle loop sleeps
		if n > 0 {
			return n, nil
		}
		return d.thread.wait(ready, true)
	}
	d.blocking, d.parkFails, d.thread.maxTimeout = false, false, maxBlocked
	d.sleeps.resetQuiet()
	return n, nil
}

// logParkFails logs the first of several failures.
func (d *adaptiveDriver) logParkFails(err error) {
	if d.parkFails {
		return
	}
	d.parkFails = true
	l := d.loop()
	l.mu.Lock()
	l.logLater(func() { l.log.Error("event: loop cannot park; it blocks its thread", "err", err) })
	l.mu.Unlock()
}

func (d *adaptiveDriver) announceWake() way {
	if d.blocking {
		return d.thread.announceWake()
	}
	return d.park.announceWake()
}

func (d *adaptiveDriver) wake(w way) {
	if w == wayBlocked {
		d.thread.wake(w)
	} else {
		d.park.wake(w)
	}
}

func (d *adaptiveDriver) afterSleep(began, now time.Duration, woken bool) (mustYield bool) {
	d.sleeps.add(began, now, woken)
	if !d.blocking {
		d.hasParked, d.lastYield = true, now
		return d.park.afterSleep(began, now, woken)
	}
	if now-d.lastYield >= yieldEvery {
		d.lastYield, mustYield = now, true
		d.mostLoops = mostBlocking(runtime.GOMAXPROCS(0)) // it may have changed
	}
	return d.thread.afterSleep(began, now, woken) || mustYield
}

func (d *adaptiveDriver) close() error {
	adaptiveLoops.Add(-1)
	err := d.thread.close()
	return errors.Join(err, d.park.close())
}

// Measured with one loop on two processors; see docs/decisions/0032-adaptive-driver.md.
const (
	shortSleep  = 200 * time.Microsecond // average sleep below which the loop should block
	longSleep   = 400 * time.Microsecond // average sleep above which it parks
	quietSleeps = 64                     // sleeps without a wake, and since the last change, before the loop should block
	manyReports = 3.5                    // average reports of a wait from which on the loop should block: with three connections it saves nothing
	fewReports  = 2                      // average reports of a wait below which it parks
)

// A sleepHistory describes the recent sleeps and waits. The driver chooses by it.
type sleepHistory struct {
	average time.Duration // of the sleeps whose beginning is known
	reports float64       // average number of a wait
	quiet   int           // sleeps since the last one that another goroutine has ended, and since the last change
	woken   bool          // another goroutine has ended the last sleep
}

// add records a sleep. began is NoTimeout if that is not known.
func (h *sleepHistory) add(began, now time.Duration, woken bool) {
	if began != NoTimeout {
		h.average += (min(now-began, time.Millisecond) - h.average) / 8
	}
	h.woken = woken
	if h.quiet = min(h.quiet+1, quietSleeps); woken {
		h.quiet = 0
	}
}

// addReports records the number of reports of a wait.
func (h *sleepHistory) addReports(n int) { h.reports += (float64(n) - h.reports) / 32 }

// shouldBlock reports whether a parked loop should block.
func (h *sleepHistory) shouldBlock() bool {
	return h.quiet == quietSleeps && h.average < shortSleep && h.reports >= manyReports
}

// mayBlock reports whether a loop that blocks may go on blocking.
func (h *sleepHistory) mayBlock() bool {
	return !h.woken && h.average < longSleep && h.reports >= fewReports
}

func (h *sleepHistory) resetQuiet() { h.quiet = 0 }
