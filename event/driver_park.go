package event

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
	"github.com/evmq/evmq/internal/tick"
)

// parkDriver sleeps as a goroutine that waits for a connection does: a poller's descriptor is itself pollable, so the Go
// runtime's poller watches it, and RawConn.Read parks the goroutine until it is readable or its deadline has passed. Another
// goroutine wakes it by setting a deadline in the past.
//
// The runtime requires the following. The model in docs/model contains each rule:
//
//   - The read deadline is either in the past (set to wake the loop) or none (set by the loop). A parked Read whose deadline
//     is changed to a time in the future, however near, parks again: such a deadline loses wakes.
//   - The deadline is reset before the asleep flag is set. A later reset could remove a wake.
//   - Only Read's error says whether a wake has set the deadline, and then the loop resets it. The asleep flag does not say so: a
//     goroutine clears the flag first and sets the deadline later. A deadline that is set after Read has returned ends the next Read,
//     whatever the flag is then.
//   - Read may report the deadline before it calls the function; then nothing was polled. Whenever Read calls the function, it
//     must poll, because the runtime has discarded the readiness that it knew of.
type parkDriver struct {
	l         *Loop
	opener    openPoller
	poller    poller.Poller
	file      atomic.Pointer[os.File] // with a duplicate of the poller's descriptor; goroutines that wake the loop load the pointer
	isWatched bool                    // file is open, and the runtime's poller watches it
	spare     int                     // another duplicate of the poller's descriptor, between release and resume; or -1
	conn      syscall.RawConn
	pollFunc  func(uintptr) bool // d.pollOrSleep, bound once: a method value would be allocated in each wait
	alarm     alarm

	// The state of the current wait, in which RawConn.Read calls pollOrSleep on the loop's goroutine.
	ready []poller.Ready // for reports
	n     int            // number of reports
	err   error          // of the last poll
	slept bool           // fallAsleep has set the asleep flag
}

func newParkDriver(l *Loop, open openPoller) *parkDriver {
	d := &parkDriver{l: l, opener: open, spare: -1}
	d.alarm.init(l)
	d.pollFunc = d.pollOrSleep
	return d
}

func (d *parkDriver) loop() *Loop { return d.l }

func (d *parkDriver) name() Driver { return DriverPark }

// open needs no waker in the poller: the loop never blocks in it.
func (d *parkDriver) open() (poller.Poller, error) { return d.opener(poller.WakerNone) }

func (d *parkDriver) adopt(p poller.Poller) error {
	fd, err := duplicate(p)
	if err != nil {
		return err
	}
	old, wasWatched := d.file.Load(), d.isWatched
	if err := d.watch(p, fd); err != nil {
		return err
	}
	if wasWatched {
		if err := old.Close(); err != nil { // p stays the poller
			d.l.logLater(func() { d.l.log.Error("event: close the replaced poller's duplicate", "err", err) })
		}
	}
	return nil
}

// duplicate returns a duplicate of p's descriptor, so that the file's Close and the poller's are independent of each other. Only a non-blocking descriptor
// is handed to the runtime's poller.
func duplicate(p poller.Poller) (fd int, err error) {
	if p.FD() < 0 {
		return -1, fmt.Errorf("%w: backend %s has no descriptor to park on", ErrUnsupported, p.Name())
	}
	fd, err = unix.FcntlInt(uintptr(p.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	return fd, nil
}

// watch makes p the poller, and has the runtime's poller watch its duplicate fd. After an error fd is closed.
func (d *parkDriver) watch(p poller.Poller, fd int) error {
	file := os.NewFile(uintptr(fd), "evmq "+p.Name())
	conn, err := file.SyscallConn()
	if err == nil {
		// NewFile reports no error if the runtime refuses the descriptor; SetReadDeadline does.
		err = file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return fmt.Errorf("%w: park on %s: %w", ErrUnsupported, p.Name(), errors.Join(err, file.Close()))
	}
	d.poller, d.conn, d.isWatched = p, conn, true
	d.file.Store(file)
	return nil
}

// release ends the watch of the runtime's poller, until resume. It keeps a duplicate for that, so that a lack of descriptors shows now: then it fails, and
// changes nothing. It waits for wakes that are in progress; later ones have no effect. On the loop, without l.mu.
func (d *parkDriver) release() (err error) {
	if d.spare, err = duplicate(d.poller); err != nil {
		return err
	}
	d.isWatched = false
	if err := d.file.Load().Close(); err != nil {
		d.l.mu.Lock()
		d.l.logLater(func() { d.l.log.Error("event: close the poller's duplicate", "err", err) })
		d.l.mu.Unlock()
	}
	return nil
}

// resume reverts release. After an error it may be called again. On the loop.
func (d *parkDriver) resume() (err error) {
	fd := d.spare
	if d.spare = -1; fd < 0 {
		if fd, err = duplicate(d.poller); err != nil {
			return err
		}
	}
	return d.watch(d.poller, fd)
}

// replaceSpare makes p the poller between release and resume.
func (d *parkDriver) replaceSpare(p poller.Poller) error {
	fd, err := duplicate(p)
	if err != nil {
		return err
	}
	if d.spare >= 0 {
		if err := unix.Close(d.spare); err != nil {
			d.l.logLater(func() { d.l.log.Error("event: close the replaced poller's duplicate", "err", err) })
		}
	}
	d.poller, d.spare = p, fd
	return nil
}

func (d *parkDriver) wait(ready []poller.Ready, block bool) (int, error) {
	if !block {
		return d.poller.Wait(ready, 0)
	}
	d.ready, d.n, d.err, d.slept = ready, 0, nil, false
	switch err := d.conn.Read(d.pollFunc); {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		if err := d.file.Load().SetReadDeadline(time.Time{}); err != nil {
			return d.n, fmt.Errorf("park: reset deadline: %w", err)
		}
	default:
		return d.n, fmt.Errorf("park: %w", err)
	}
	return d.n, d.err
}

// pollOrSleep is called by RawConn.Read at first and after each readiness; true ends the Read, false parks. A second call
// that finds nothing ready, because the readiness was withdrawn, ends in an empty turn.
//
// The poll is a raw system call, also after a sleep; see package tick.
func (d *parkDriver) pollOrSleep(uintptr) (done bool) {
	if d.slept {
		tick.Process.AfterSleep()
	}
	d.n, d.err = d.poller.Wait(d.ready, 0)
	if d.n > 0 || d.err != nil || d.slept {
		return true
	}
	deadline, asleep := d.l.fallAsleep()
	d.slept = asleep
	if asleep && deadline != NoTimeout {
		d.alarm.setInLoop(deadline)
	}
	return !asleep
}

// past is a deadline in the past. It has a monotonic reading, so the runtime need not read the wall clock.
var past = time.Now().Add(-time.Second)

// announceWake does nothing: os.File counts its users. A wake during Close or a rebuild finds its file closed and never uses a
// number that another file has taken. The loop is awake by then and does not need the wake.
func (d *parkDriver) announceWake() way { return wayParked }

func (d *parkDriver) wake(way) {
	err := d.file.Load().SetReadDeadline(past)
	if errors.Is(err, os.ErrNoDeadline) { // the only other error is that of a file that is closing
		panic("event: loop cannot be woken: " + err.Error())
	}
}

func (d *parkDriver) afterSleep(_, _ time.Duration, _ bool) bool {
	d.l.stats.Parked++
	return false
}

func (d *parkDriver) close() (err error) {
	defer func() { // also if the clock panics
		switch {
		case d.isWatched:
			err = d.file.Load().Close()
		case d.spare >= 0:
			err = os.NewSyscallError("close", unix.Close(d.spare))
		}
	}()
	d.alarm.stop()
	return nil
}
