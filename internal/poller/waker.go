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
	WakerNone       WakerKind = "none"       // Wake does nothing: for a loop that does not sleep in Wait
	WakerEventfd    WakerKind = "eventfd"    // Linux
	WakerSocketpair WakerKind = "socketpair" // any unix
)

// waker makes a descriptor readable, on any goroutine. wake never blocks; several wakes before the next drain count as one.
type waker interface {
	fd() int
	wake() error
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

// socketpair wakes with one byte. Both ends are non-blocking: if the buffer is full, a wake is pending anyway, and the caller does not
// block.
type socketpair struct {
	readEnd, writeEnd int
	buf               [64]byte // used by drain
}

func newSocketpair() (waker, error) {
	syscall.ForkLock.RLock() // no fork between the creation of the pair and CloseOnExec; not every system has a call for both
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	s := &socketpair{readEnd: p[0], writeEnd: p[1]}
	for _, fd := range p {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, joinClose(os.NewSyscallError("fcntl", err), s)
		}
	}
	return s, nil
}

func (s *socketpair) fd() int { return s.readEnd }

func (s *socketpair) wake() error { return wakeFD(s.writeEnd, token[:1]) }

func (s *socketpair) drain() error { return drainFD(s.readEnd, s.buf[:]) }

func (s *socketpair) close() error {
	err := unix.Close(s.readEnd)
	if e := unix.Close(s.writeEnd); err == nil {
		err = e
	}
	return os.NewSyscallError("close", err)
}

// token is what wakers write: one byte to a socket, or eight bytes to an eventfd, a nonzero number in either byte order.
var token = [8]byte{1, 0, 0, 0, 0, 0, 0, 1}

// wakeFD writes. If the buffer or counter is full, a wake is pending already.
func wakeFD(fd int, token []byte) error {
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

// drainFD reads all data, so that fd is no longer readable. The caller provides the buffer, because under
// the race detector a local one would be allocated, and tests check there, too, that Wait does not allocate.
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

// closer adapts a function to joinClose.
type closer func() error

func (c closer) close() error { return c() }
