//go:build darwin || freebsd

package poller

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// userEvent wakes through the kqueue itself, without another descriptor. EV_CLEAR clears the wake with its report.
type userEvent int

func newUserEvent(kq int) (waker, error) {
	u := userEvent(kq)
	return u, u.change(unix.EV_ADD|unix.EV_CLEAR, 0)
}

func (u userEvent) fd() int { return -1 }

func (u userEvent) wake() error { return u.change(0, unix.NOTE_TRIGGER) }

func (u userEvent) drain() error { return nil }

func (u userEvent) close() error { return nil }

func (u userEvent) change(flags int, fflags uint32) error {
	var k [1]unix.Kevent_t
	unix.SetKevent(&k[0], 0, unix.EVFILT_USER, flags)
	k[0].Fflags = fflags
	if _, err := unix.Kevent(int(u), k[:], nil, nil); err != nil && err != unix.EINTR {
		return os.NewSyscallError("kevent", err)
	}
	return nil
}

func (p *kqueue) isWake(ev *unix.Kevent_t) bool {
	return ev.Filter == unix.EVFILT_USER || p.waker != nil && int(ev.Ident) == p.waker.fd()
}

// woken consumes the wake. With timeout 0 it restores the wake for the next Wait that sleeps.
func (p *kqueue) woken(timeout time.Duration) error {
	if timeout != 0 {
		return p.waker.drain()
	}
	if p.waker.fd() >= 0 {
		return nil // the socketpair's bytes are still there
	}
	return p.waker.wake()
}
