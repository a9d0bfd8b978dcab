//go:build unix

package poller

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// WakerKind chooses what ends a blocked Wait.
type WakerKind string

const (
	WakerDefault    WakerKind = ""           // eventfd where the kernel has it, else a socketpair
	WakerNone       WakerKind = "none"       // Wake does nothing: for a loop that sleeps elsewhere
	WakerEventfd    WakerKind = "eventfd"    // Linux
	WakerSocketpair WakerKind = "socketpair" // any unix
)

// waker makes a descriptor readable from any goroutine. ring never blocks, and rings before the next drain are one.
type waker interface {
	fd() int
	ring() error
	drain() error
	close() error
}

func newWaker(kind WakerKind) (waker, error) {
	switch kind {
	case WakerNone:
		return nil, nil
	case WakerSocketpair:
		return newSocketpair()
	case WakerDefault, WakerEventfd:
		return newPlatformWaker(kind)
	}
	return nil, fmt.Errorf("poller: unknown waker %q", kind)
}

// socketpair wakes as the 2006 queue did, with one byte; unlike there both ends are non-blocking, so a full buffer,
// which means that a wake is pending anyway, cannot stop the caller.
type socketpair struct {
	near, far int
	buf       [64]byte // drain's
}

func newSocketpair() (waker, error) {
	syscall.ForkLock.RLock() // no child between making the pair and marking it, where one call cannot do both
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	s := &socketpair{near: p[0], far: p[1]}
	for _, fd := range p {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, joinClose(os.NewSyscallError("fcntl", err), s)
		}
	}
	return s, nil
}

func (s *socketpair) fd() int { return s.near }

func (s *socketpair) ring() error { return ringFD(s.far, token[:1]) }

func (s *socketpair) drain() error { return drainFD(s.near, s.buf[:]) }

func (s *socketpair) close() error {
	err := unix.Close(s.near)
	if e := unix.Close(s.far); err == nil {
		err = e
	}
	return os.NewSyscallError("close", err)
}

// token is what wakers write: any byte to a socket; to an eventfd a number in the machine's order, any but zero.
var token = [8]byte{1, 0, 0, 0, 0, 0, 0, 1}

// ringFD writes. A full buffer or counter is as good as a write: a wake is pending.
func ringFD(fd int, token []byte) error {
	for {
		_, err := unix.Write(fd, token)
		switch err {
		case nil, unix.EAGAIN:
			return nil
		case unix.EINTR:
			continue
		}
		return os.NewSyscallError("write", err)
	}
}

// drainFD reads until nothing is left, so that a level-triggered watch falls silent. Its buffer is its caller's: under
// the race detector a local one would be allocated, and what Wait allocates is tested there, too.
func drainFD(fd int, buf []byte) error {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN, err == nil && n < len(buf):
			return nil
		case err != nil:
			return os.NewSyscallError("read", err)
		}
	}
}

func joinClose(err error, w interface{ close() error }) error {
	if e := w.close(); e != nil {
		return fmt.Errorf("%w (and on closing: %w)", err, e)
	}
	return err
}

// closer lets a method be closed by joinClose.
type closer func() error

func (c closer) close() error { return c() }
