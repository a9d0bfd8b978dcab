//go:build linux || darwin || freebsd

package pollertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

// patience is the time after which the watchdog fails a step that blocks.
const patience = time.Minute

// check is the environment of a case: a poller, descriptors that are closed at the end, and expectations.
type check struct {
	t     *testing.T
	rule  string
	open  Opener
	kind  poller.WakerKind
	p     poller.Poller
	owned map[int]bool // descriptors to close
}

func (c *check) cleanup() {
	if c.p != nil {
		c.must("Close", c.p.Close())
	}
	for fd := range c.owned {
		_ = unix.Close(fd) // a case that ends early may have closed it
	}
}

func (c *check) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Logf("the rule: %s", c.rule)
	c.t.Fatalf(format, args...)
}

func (c *check) has(f poller.Features) bool { return c.p.Features().Has(f) }

func (c *check) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.fatalf("%s: %v", what, err)
	}
}

func (c *check) refused(what string, err error, want unix.Errno) {
	c.t.Helper()
	if !errors.Is(err, want) {
		c.fatalf("%s: got %v, want %v", what, err, want)
	}
}

func (c *check) add(fd int, want poller.Flags, tag uint64) {
	c.t.Helper()
	c.must("Add", c.p.Add(fd, want, tag))
}

func (c *check) modify(fd int, want poller.Flags, tag uint64) {
	c.t.Helper()
	c.must("Modify", c.p.Modify(fd, want, tag))
}

func (c *check) remove(fd int) {
	c.t.Helper()
	c.must("Remove", c.p.Remove(fd))
}

// within fails the test if step does not end in time. The step runs on another goroutine and must not fail the test itself.
func (c *check) within(what string, step func()) {
	c.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		step()
	}()
	c.ends(what, done)
}

func (c *check) ends(what string, done <-chan struct{}) {
	c.t.Helper()
	watchdog := time.NewTimer(patience)
	defer watchdog.Stop()
	select {
	case <-done:
	case <-watchdog.C:
		c.p = nil // still in use by the blocked step
		c.fatalf("%s: stuck for %v", what, patience)
	}
}

// wait is one Wait under the watchdog.
func (c *check) wait(timeout time.Duration, room int) []poller.Ready {
	c.t.Helper()
	ready := make([]poller.Ready, room)
	var n int
	var err error
	c.within("Wait", func() { n, err = c.p.Wait(ready, timeout) })
	c.must("Wait", err)
	seen := map[uint64]bool{}
	for _, r := range ready[:n] {
		if seen[r.Tag] {
			c.fatalf("one Wait reported %#x twice: %v", r.Tag, ready[:n])
		}
		seen[r.Tag] = true
	}
	return ready[:n]
}

// await waits until there is a report.
func (c *check) await() []poller.Ready {
	c.t.Helper()
	for range 100 {
		if ready := c.wait(patience, 16); len(ready) > 0 {
			return ready
		}
	}
	c.fatalf("a hundred Waits reported nothing")
	return nil
}

// expect awaits the report of tag, alone, with at least the conditions of what.
func (c *check) expect(tag uint64, what poller.Flags) poller.Flags {
	c.t.Helper()
	ready := c.await()
	if len(ready) != 1 || ready[0].Tag != tag || ready[0].What&what != what {
		c.fatalf("got reports %x, want {%x %x} alone", ready, tag, what)
	}
	return ready[0].What
}

// silence polls and expects no report.
func (c *check) silence(when string) {
	c.t.Helper()
	if ready := c.wait(0, 16); len(ready) > 0 {
		c.fatalf("%s: unwanted reports %x", when, ready)
	}
}

// lasts expects Wait to sleep for all of timeout. A Wait may end early without a report, so a single early end is accepted;
// three in a row fail the test.
func (c *check) lasts(when string, timeout time.Duration) {
	c.t.Helper()
	var slept []time.Duration
	for range 3 {
		start := time.Now()
		if ready := c.wait(timeout, 16); len(ready) > 0 {
			c.fatalf("%s: unwanted reports %x", when, ready)
		}
		took := time.Since(start)
		if took >= timeout {
			return
		}
		slept = append(slept, took)
	}
	c.fatalf("%s: Wait(%v) slept only %v, and each time before less than its timeout", when, timeout, slices.Max(slept))
}
