package event_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// onProcessors runs a test for several numbers of processors.
func onProcessors(t *testing.T, test func(t *testing.T), numbers ...int) {
	for _, n := range numbers {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", n), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
			test(t)
		})
	}
}

// tenfold is what a stress test multiplies its rounds by: less in -short.
func tenfold(rounds int) int {
	if testing.Short() {
		return rounds
	}
	return 10 * rounds
}

// rawPair returns two connected non-blocking sockets as plain numbers, for tests that close them and reopen the first,
// whose number is one that nothing else in the process takes meanwhile.
func rawPair(t testing.TB) (fd, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testkit.Must(t, err)
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		testkit.Must(t, unix.SetNonblock(fd, true))
	}
	fd = privateDup(t, fds[0])
	closeRaw(t, fds[0])
	return fd, fds[1]
}

// closeRaw closes descriptors.
func closeRaw(t testing.TB, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		testkit.Must(t, unix.Close(fd))
	}
}

// reopen gives the closed number fd to a fresh socket without a byte to read and returns the peer.
func reopen(t testing.TB, fd int) (peer int) {
	t.Helper()
	other, peer := rawPair(t)
	if other != fd { // else the number was the lowest free one
		n, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, fd)
		testkit.Must(t, err)
		testkit.WantEqual(t, "number of the reopened descriptor", n, fd)
		closeRaw(t, other)
	}
	return peer
}

// scriptPoller is a Poller without a kernel: the test says what is ready. It has no descriptor unless fd is set, so a
// loop takes the thread driver for it.
type scriptPoller struct {
	fd int

	mu        sync.Mutex
	change    *sync.Cond
	watched   map[int]uint64 // tags
	reports   []event.Ready
	woken     bool // Wake was called
	held      bool // Wait does not return, woken or not
	blocked   bool // Wait sleeps
	wakeCalls int  // calls of Wake
	closed    bool
}

func newScriptPoller() *scriptPoller {
	p := &scriptPoller{fd: -1, watched: map[int]uint64{}}
	p.change = sync.NewCond(&p.mu)
	return p
}

// open is a function for Config.OpenPoller.
func (p *scriptPoller) open() (event.Poller, error) { return p, nil }

// report makes Wait report what for fd.
func (p *scriptPoller) report(fd int, what event.Flags) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, event.Ready{Tag: p.watched[fd], What: what})
	p.change.Broadcast()
}

// hold keeps Wait from returning until release.
func (p *scriptPoller) hold()    { p.set(&p.held, true) }
func (p *scriptPoller) release() { p.set(&p.held, false) }

func (p *scriptPoller) set(what *bool, v bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*what = v
	p.change.Broadcast()
}

// asleep reports whether the loop sleeps in Wait.
func (p *scriptPoller) asleep() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

// wakes returns the number of calls of Wake.
func (p *scriptPoller) wakes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wakeCalls
}

func (p *scriptPoller) Name() string { return "script" }

func (p *scriptPoller) Features() event.Features {
	return event.FeatureEdge | event.FeatureClosed | event.FeatureConcurrent
}

func (p *scriptPoller) FD() int { return p.fd }

func (p *scriptPoller) Add(fd int, _ event.Flags, tag uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.watched[fd]; ok {
		return os.NewSyscallError("script add", unix.EEXIST)
	}
	p.watched[fd] = tag
	return nil
}

func (p *scriptPoller) Modify(fd int, _ event.Flags, tag uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.watched[fd]; !ok {
		return os.NewSyscallError("script modify", unix.ENOENT)
	}
	p.watched[fd] = tag
	return nil
}

func (p *scriptPoller) Remove(fd int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.watched[fd]; !ok {
		return os.NewSyscallError("script remove", unix.ENOENT)
	}
	delete(p.watched, fd)
	return nil
}

// Wait ignores timeouts other than 0: tests that use timers have a testkit.Clock, whose calls end the sleep.
func (p *scriptPoller) Wait(ready []event.Ready, timeout time.Duration) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if timeout != 0 {
		p.blocked = true
		for p.held || len(p.reports) == 0 && !p.woken {
			p.change.Wait()
		}
		p.blocked, p.woken = false, false
	}
	n := copy(ready, p.reports)
	p.reports = slices.Clone(p.reports[n:])
	return n, nil
}

func (p *scriptPoller) Wake() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeCalls++
	p.woken = true
	p.change.Broadcast()
	return nil
}

func (p *scriptPoller) Close() error {
	p.set(&p.closed, true)
	return nil
}
