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
)

// parkDriver sleeps as any goroutine that waits for a connection does: a poller's descriptor is itself pollable, so the Go
// runtime's poller watches it, and RawConn.Read parks the goroutine until it is readable or its deadline has passed. A
// waker sets a deadline in the past.
//
// What the runtime demands, each learnt by a failure and contained in the model in docs/model:
//
//   - The read deadline is only ever past (set by wakers) or none (set by the loop). A parked Read whose deadline is
//     moved, even to a time that is over a moment later, parks again: a deadline in the future loses wakes.
//   - The deadline is reset before the flag is set to asleep. Afterwards, the reset could wipe out a wake.
//   - Read's error and the flag are independent of each other: only the error says that a deadline stands, and then it
//     is reset; a deadline that is set later ends the next Read, whatever the flag said before.
//   - Read may report the deadline before it calls the function: then nothing was polled. When it calls it, the
//     function polls, every time: the runtime has thrown away the readiness that it knew of.
type parkDriver struct {
	l      *Loop
	opener func(poller.WakerKind) (Poller, error)
	poller Poller
	file   atomic.Pointer[os.File] // the poller's descriptor, duplicated; wakers read it
	conn   syscall.RawConn
	loud   poller.Louder      // the poller, if it can look aloud
	look   func(uintptr) bool // d.pollOrSleep, bound once: a method value would be allocated for each wait
	alarm  alarm

	// Between wait and pollOrSleep, which the loop's goroutine runs inside of it.
	ready []Ready
	n     int
	err   error
	slept bool
}

func newParkDriver(l *Loop, open func(poller.WakerKind) (Poller, error)) *parkDriver {
	d := &parkDriver{l: l, opener: open}
	d.alarm.init(l)
	d.look = d.pollOrSleep
	return d
}

func (d *parkDriver) loop() *Loop { return d.l }

func (d *parkDriver) name() Driver { return DriverPark }

// open needs no waker in the poller: the loop never blocks in it.
func (d *parkDriver) open() (Poller, error) { return d.opener(poller.WakerNone) }

func (d *parkDriver) adopt(p Poller) error {
	if p.FD() < 0 {
		return fmt.Errorf("%w: backend %s has no descriptor to park on", ErrUnsupported, p.Name())
	}
	// A duplicate, so that the file's Close and the poller's are independent of each other.
	fd, err := unix.FcntlInt(uintptr(p.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	// Only a non-blocking descriptor is handed to the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "evmq "+p.Name())
	conn, err := file.SyscallConn()
	if err == nil {
		// NewFile is silent when the runtime refuses the descriptor; the deadline says so.
		err = file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return fmt.Errorf("%w: park on %s: %w", ErrUnsupported, p.Name(), errors.Join(err, file.Close()))
	}
	d.poller, d.conn = p, conn
	d.loud, _ = p.(poller.Louder)
	if old := d.file.Swap(file); old != nil {
		if err := old.Close(); err != nil { // p is adopted all the same
			d.l.note(func() { d.l.log.Error("event: close the replaced poller's duplicate", "err", err) })
		}
	}
	return nil
}

func (d *parkDriver) wait(ready []Ready, block bool) (int, error) {
	if !block {
		return d.poller.Wait(ready, 0)
	}
	d.ready, d.n, d.err, d.slept = ready, 0, nil, false
	switch err := d.conn.Read(d.look); {
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

// pollOrSleep is called by RawConn.Read, first and again after each readiness; true ends the Read, false parks. A second
// call that finds nothing, because the readiness was taken back, ends in an empty turn.
func (d *parkDriver) pollOrSleep(uintptr) (done bool) {
	d.lookOnce()
	if d.n > 0 || d.err != nil || d.slept {
		return true
	}
	deadline, asleep := d.l.fallAsleep()
	d.slept = asleep
	if asleep && deadline != NoTimeout {
		d.alarm.set(deadline)
	}
	return !asleep
}

// lookOnce looks at the poller. The look at what has ended a sleep is one that the scheduler hears of. When all processors are idle the
// runtime's monitor goes to sleep, and only a system call that the scheduler hears of wakes it; without it, nobody interrupts goroutines
// that compute, or looks at the network for those that wait, and a burst of computing after a pause would stop every parked loop
// until it ends. A ring needs none of that: who rings was woken by something himself.
func (d *parkDriver) lookOnce() {
	if d.slept && d.loud != nil {
		d.n, d.err = d.loud.LookAloud(d.ready)
	} else {
		d.n, d.err = d.poller.Wait(d.ready, 0)
	}
}

// past is over at any time that it is looked at; with its monotonic reading the runtime need not read the wall clock.
var past = time.Now().Add(-time.Second)

// claimed has nothing to announce: the file itself counts its users. A ring that meets Close or a rebuild finds its own file
// closing, never another one behind the number, and the loop, awake by then, does not need it.
func (d *parkDriver) claimed() {}

func (d *parkDriver) ring() {
	err := d.file.Load().SetReadDeadline(past)
	if errors.Is(err, os.ErrNoDeadline) { // the only other error is that of a file that is closing
		panic("event: loop cannot be woken: " + err.Error())
	}
}

func (d *parkDriver) close() (err error) {
	defer func() { err = d.file.Load().Close() }() // also if the clock panics
	d.alarm.stop()
	return nil
}
