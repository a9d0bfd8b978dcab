package poller

import (
	"os"

	"golang.org/x/sys/unix"
)

// eventfd is a counter in the kernel that is readable while it is not zero.
type eventfd struct {
	number int
	buf    [16]byte // used by drain; longer than a result, so that one read is known to be complete
}

func newPlatformWaker(WakerKind) (waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &eventfd{number: fd}, nil
}

func (e *eventfd) fd() int { return e.number }

func (e *eventfd) wake() error { return wakeFD(e.number, token[:]) }

func (e *eventfd) drain() error { return drainFD(e.number, e.buf[:]) }

func (e *eventfd) close() error { return os.NewSyscallError("close", unix.Close(e.number)) }
