//go:build darwin || freebsd

// Experimental: compiled and vetted for darwin and freebsd, never run by the authors.

package poller

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxEvents is the limit of one kevent, and so of the work in one turn.
const maxEvents = 8192

type kqueue struct {
	fd    int
	waker waker           // nil without one
	buf   []unix.Kevent_t // used by Wait only

	// mu guards the following fields. It is held while the kernel's filters are changed, so that the table contains the registration of
	// every report. It is not held while Wait sleeps.
	mu    sync.Mutex
	table []watch // by descriptor; the kernel's filters cannot be listed
	mark  uint16  // of the latest registration
	round uint64  // counts Waits
}

// NewKqueue opens a kqueue.
func NewKqueue(kind WakerKind) (Poller, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Kqueue()
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	p := &kqueue{fd: fd}
	if kind == WakerDefault {
		p.waker, err = newUserEvent(fd)
	} else {
		p.waker, err = newWaker(kind)
	}
	if err == nil && p.waker != nil && p.waker.fd() >= 0 {
		err = p.change(p.waker.fd(), unix.EVFILT_READ, unix.EV_ADD, &watch{want: Read})
	}
	if err != nil {
		return nil, joinClose(err, closer(p.Close))
	}
	return p, nil
}

func (p *kqueue) Name() string { return "kqueue" }

func (p *kqueue) Features() Features {
	return FeatureEdge | FeatureClosed | FeatureConcurrent
}

func (p *kqueue) FD() int { return p.fd }

func (p *kqueue) Add(fd int, want Flags, tag uint64) error {
	socket, err := kindOf(fd)
	if err != nil {
		return err
	}
	if err := checkWant("kevent add", p.Features(), want, tag); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched(fd) != nil {
		return os.NewSyscallError("kevent add", unix.EEXIST)
	}
	if more := fd + 1 - len(p.table); more > 0 {
		p.table = append(p.table, make([]watch, more)...)
	}
	p.mark++
	w := watch{used: true, socket: socket, want: want, tag: tag, mark: p.mark}
	if err := p.arm(fd, &w); err != nil {
		return err
	}
	p.table[fd] = w
	return nil
}

func (p *kqueue) Modify(fd int, want Flags, tag uint64) error {
	if err := checkOpen(fd); err != nil {
		return err
	}
	if err := checkWant("kevent modify", p.Features(), want, tag); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched(fd)
	if w == nil {
		return os.NewSyscallError("kevent modify", unix.ENOENT)
	}
	// EV_ADD on a filter that exists does not change EV_CLEAR everywhere, and a new one reports what holds already.
	if err := p.disarm(fd, w); err != nil {
		return err
	}
	p.mark++
	w.want, w.tag, w.mark, w.reporting = want, tag, p.mark, false
	return p.arm(fd, w)
}

func (p *kqueue) Remove(fd int) error {
	err := checkOpen(fd)
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched(fd)
	if w == nil {
		if err == nil {
			err = os.NewSyscallError("kevent remove", unix.ENOENT)
		}
		return err
	}
	if e := p.disarm(fd, w); err == nil {
		err = e
	}
	*w = watch{}
	return err
}

func (p *kqueue) Wait(ready []Ready, timeout time.Duration) (int, error) {
	if len(p.buf) < min(len(ready), maxEvents) {
		p.buf = make([]unix.Kevent_t, min(len(ready), maxEvents))
	}
	n, err := p.wait(p.buf[:min(len(ready), len(p.buf))], timeout)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
	filled := 0
	for i := range p.buf[:n] {
		ev := &p.buf[i]
		if p.isWake(ev) {
			if err := p.woken(timeout); err != nil {
				return filled, err
			}
			continue
		}
		fd := int(ev.Ident)
		w := p.watched(fd)
		if w == nil || w.mark != markOf(ev.Udata) {
			continue
		}
		what := w.what(ev)
		if err := p.rearm(fd, w, ev, what); err != nil {
			return filled, err
		}
		switch {
		case what == 0:
		case w.round == p.round: // the other filter of the same descriptor
			ready[w.slot].What |= what
		default:
			w.round, w.slot = p.round, filled
			ready[filled] = Ready{Tag: w.tag, What: what}
			filled++
		}
	}
	return filled, nil
}

func (p *kqueue) Wake() error {
	if p.waker == nil {
		return nil
	}
	return p.waker.wake()
}

func (p *kqueue) Close() error {
	err := os.NewSyscallError("close", unix.Close(p.fd))
	if p.waker != nil {
		if e := p.waker.close(); err == nil {
			err = e
		}
	}
	return err
}

func (p *kqueue) wait(buf []unix.Kevent_t, timeout time.Duration) (int, error) {
	var until *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(min(timeout, MaxWait)))
		until = &ts
	}
	n, err := unix.Kevent(p.fd, nil, buf, until)
	if err != nil && err != unix.EINTR {
		return 0, os.NewSyscallError("kevent", err)
	}
	return max(n, 0), nil
}

// watched is the registration of fd, or nil.
func (p *kqueue) watched(fd int) *watch {
	if fd < 0 || fd >= len(p.table) || !p.table[fd].used {
		return nil
	}
	return &p.table[fd]
}
