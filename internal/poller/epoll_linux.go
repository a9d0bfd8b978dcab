package poller

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxEvents = 8192 // limit of one epoll_wait, and so of the work in one turn
	maxRaw    = 512  // limit of one raw epoll_wait
)

type epoll struct {
	fd    int
	waker waker // nil without one
	buf   []unix.EpollEvent
}

// NewEpoll opens an epoll set.
func NewEpoll(kind WakerKind) (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &epoll{fd: fd}
	if p.waker, err = newWaker(kind); err != nil {
		return nil, joinClose(err, closer(p.Close))
	}
	if p.waker != nil {
		if err := p.ctl(unix.EPOLL_CTL_ADD, p.waker.fd(), Read, wakeTag); err != nil {
			return nil, joinClose(err, closer(p.Close))
		}
	}
	return p, nil
}

func (p *epoll) Name() string { return "epoll" }

func (p *epoll) Features() Features {
	return FeatureEdge | FeatureClosed | FeatureConcurrent | FeatureStale
}

func (p *epoll) FD() int { return p.fd }

func (p *epoll) Add(fd int, want Flags, tag uint64) error {
	if err := checkWant("epoll_ctl add", p.Features(), want, tag); err != nil {
		return err
	}
	return p.ctl(unix.EPOLL_CTL_ADD, fd, want, tag)
}

func (p *epoll) Modify(fd int, want Flags, tag uint64) error {
	if err := checkWant("epoll_ctl modify", p.Features(), want, tag); err != nil {
		return err
	}
	return p.ctl(unix.EPOLL_CTL_MOD, fd, want, tag)
}

func (p *epoll) Remove(fd int) error {
	return p.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

// Wait implements Poller. With timeout 0 and a short buffer epoll_wait cannot block and takes a fraction of a microsecond, so it is a raw
// system call, without the Go scheduler. A wait that may block or returns many reports must not be raw, or it would keep a processor from
// other goroutines.
func (p *epoll) Wait(ready []Ready, timeout time.Duration) (int, error) {
	buf := p.buffer(ready)
	if timeout != 0 || len(buf) > maxRaw {
		return p.waitInScheduler(ready, buf, timeout)
	}
	n, _, errno := unix.RawSyscall6(sysEpollWait, uintptr(p.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
	switch errno {
	case 0:
		return p.fill(ready, int(n), 0)
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_wait", errno)
}

// buffer returns room for as many reports as ready takes.
func (p *epoll) buffer(ready []Ready) []unix.EpollEvent {
	if len(p.buf) < min(len(ready), maxEvents) {
		p.buf = make([]unix.EpollEvent, min(len(ready), maxEvents))
	}
	return p.buf[:min(len(ready), len(p.buf))]
}

// waitInScheduler waits in a system call that the Go scheduler takes part in.
func (p *epoll) waitInScheduler(ready []Ready, buf []unix.EpollEvent, timeout time.Duration) (int, error) {
	n, err := unix.EpollWait(p.fd, buf, milliseconds(timeout))
	if err != nil && err != unix.EINTR {
		return 0, os.NewSyscallError("epoll_wait", err)
	}
	return p.fill(ready, max(n, 0), timeout)
}

// fill translates the first n reports.
func (p *epoll) fill(ready []Ready, n int, timeout time.Duration) (int, error) {
	filled := 0
	for i := range p.buf[:n] {
		ev := &p.buf[i]
		if tag := epollTag(ev); tag != wakeTag {
			ready[filled] = Ready{Tag: tag, What: fromBits(ev.Events)}
			filled++
		} else if timeout != 0 { // timeout 0 leaves the wake for the next Wait that sleeps
			if err := p.waker.drain(); err != nil {
				return filled, err
			}
		}
	}
	return filled, nil
}

func (p *epoll) Wake() error {
	if p.waker == nil {
		return nil
	}
	return p.waker.wake()
}

func (p *epoll) Close() error {
	err := os.NewSyscallError("close", unix.Close(p.fd))
	if p.waker != nil {
		if e := p.waker.close(); err == nil {
			err = e
		}
	}
	return err
}

func (p *epoll) ctl(op, fd int, want Flags, tag uint64) error {
	bits := toBits(want)
	if want&Edge != 0 {
		bits |= unix.EPOLLET & 0xffffffff
	}
	ev := unix.EpollEvent{Events: bits, Fd: int32(uint32(tag)), Pad: int32(uint32(tag >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &ev))
}

// epollTag joins the two halves of the kernel's 64 bits of user data, which x/sys calls Fd and Pad.
func epollTag(ev *unix.EpollEvent) uint64 {
	return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
}
