//go:build linux || darwin || freebsd

package poller

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

type poll struct {
	waker waker // nil without one

	mu      sync.Mutex
	set     []unix.PollFd // the registered descriptors; set[0] is the waker, or fd -1, which the kernel skips
	tags    []uint64      // the tags of set
	index   []int32       // by descriptor: its index in set, 0 if it is not registered
	changed bool          // view is not a current copy of set

	// Used by Wait only: the kernel reads and writes view while other goroutines change set.
	view     []unix.PollFd
	viewTags []uint64
	next     int // the index in view at which the next scan begins
}

// NewPoll makes a set for poll(2).
func NewPoll(kind WakerKind) (Poller, error) {
	w, err := newWaker(kind)
	if err != nil {
		return nil, err
	}
	first := unix.PollFd{Fd: -1}
	if w != nil {
		first = unix.PollFd{Fd: int32(w.fd()), Events: unix.POLLIN}
	}
	return &poll{waker: w, set: []unix.PollFd{first}, tags: []uint64{wakeTag}, changed: true}, nil
}

func (p *poll) Name() string { return "poll" }

func (p *poll) Features() Features { return pollFeatures }

func (p *poll) FD() int { return -1 }

func (p *poll) Add(fd int, want Flags, tag uint64) error {
	if err := checkOpen(fd); err != nil {
		return err
	}
	if err := checkWant("poll add", p.Features(), want, tag); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.indexOf(fd) != 0 {
		return os.NewSyscallError("poll add", unix.EEXIST)
	}
	if more := fd + 1 - len(p.index); more > 0 {
		p.index = append(p.index, make([]int32, more)...)
	}
	p.index[fd] = int32(len(p.set))
	p.set = append(p.set, unix.PollFd{Fd: int32(fd), Events: int16(toBits(want))})
	p.tags = append(p.tags, tag)
	p.changed = true
	return nil
}

func (p *poll) Modify(fd int, want Flags, tag uint64) error {
	if err := checkOpen(fd); err != nil {
		return err
	}
	if err := checkWant("poll modify", p.Features(), want, tag); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.indexOf(fd)
	if at == 0 {
		return os.NewSyscallError("poll modify", unix.ENOENT)
	}
	p.set[at].Events = int16(toBits(want))
	p.tags[at] = tag
	p.changed = true
	return nil
}

func (p *poll) Remove(fd int) error {
	err := checkOpen(fd)
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.indexOf(fd)
	if at == 0 {
		if err == nil {
			err = os.NewSyscallError("poll remove", unix.ENOENT)
		}
		return err
	}
	last := len(p.set) - 1
	p.set[at], p.tags[at] = p.set[last], p.tags[last]
	p.index[p.set[at].Fd] = int32(at)
	p.index[fd] = 0
	p.set, p.tags = p.set[:last], p.tags[:last]
	p.changed = true
	return err // EBADF is returned although the entry is removed, since no later call would remove it
}

func (p *poll) Wait(ready []Ready, timeout time.Duration) (int, error) {
	p.refresh()
	// Never a raw system call, even with timeout 0: the kernel's work grows with the set.
	found, err := unix.Poll(p.view, milliseconds(timeout))
	if err == unix.EINTR || found == 0 && err == nil {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("poll", err)
	}
	if p.view[0].Revents != 0 {
		found--
		if timeout != 0 {
			if err := p.waker.drain(); err != nil {
				return 0, err
			}
		}
	}
	return p.collect(ready, found), nil
}

func (p *poll) Wake() error {
	if p.waker == nil {
		return nil
	}
	return p.waker.wake()
}

func (p *poll) Close() error {
	if p.waker == nil {
		return nil
	}
	return p.waker.close()
}

// indexOf returns the index of fd in set, or 0.
func (p *poll) indexOf(fd int) int {
	if fd < 0 || fd >= len(p.index) {
		return 0
	}
	return int(p.index[fd])
}

// refresh makes view a copy of set.
func (p *poll) refresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed {
		p.view = append(p.view[:0], p.set...)
		p.viewTags = append(p.viewTags[:0], p.tags...)
		p.changed = false
	}
}

// collect reports the ready descriptors of view. It scans circularly from behind the last reported one, so that with a short buffer
// all of them are reported eventually.
func (p *poll) collect(ready []Ready, found int) (filled int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range len(p.view) - 1 {
		if found == 0 || filled == len(ready) {
			break
		}
		if p.next == 0 || p.next >= len(p.view) {
			p.next = 1
		}
		at := p.next
		p.next++
		if p.view[at].Revents == 0 {
			continue
		}
		found--
		if p.changed && !p.holds(at) {
			continue
		}
		ready[filled] = Ready{Tag: p.viewTags[at], What: fromBits(uint32(uint16(p.view[at].Revents)))}
		filled++
	}
	return filled
}

// holds reports whether the entry of view is still registered with the same tag.
func (p *poll) holds(at int) bool {
	now := p.indexOf(int(p.view[at].Fd))
	return now != 0 && p.tags[now] == p.viewTags[at]
}
