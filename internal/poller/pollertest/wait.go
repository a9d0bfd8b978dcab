//go:build linux || darwin || freebsd

package pollertest

import (
	"testing"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

var waitRules = []rule{
	{
		name: "ALookReturnsAtOnce",
		says: "Wait with timeout 0 returns at once, without a report if no descriptor is ready",
		check: func(c *check) {
			r, _ := c.pipe()
			c.silence("nothing is watched")
			c.add(r, read, 1)
			for range 100 {
				c.silence("nothing is ready")
			}
		},
	},
	{
		name: "TimeoutIsNotEarly",
		says: "Wait does not end before its timeout; fractions of a millisecond are not cut off",
		check: func(c *check) {
			r, _ := c.pipe()
			c.add(r, read, 1)
			for _, timeout := range []time.Duration{1, 900 * time.Microsecond, 2500 * time.Microsecond, 30 * time.Millisecond} {
				c.lasts("nothing is ready", timeout)
			}
		},
	},
	{
		name:  "ReadinessEndsALongWait",
		says:  "a Wait without a timeout, or with a long one, returns when there is a report, and not long before",
		check: readinessEndsALongWait,
	},
	{
		name: "DescriptorOfThePollerIsReadableWithAReport",
		says: "FD is readable while Wait would return a report; it is -1 if there is no such descriptor",
		check: func(c *check) {
			if c.p.FD() < 0 {
				return
			}
			outer, err := c.open(poller.WakerNone)
			c.must("open another", err)
			defer outer.Close()
			c.must("Add of a poller", outer.Add(c.p.FD(), read, 7))
			look := func() int {
				n, err := outer.Wait(make([]poller.Ready, 4), 0)
				c.must("outer Wait", err)
				return n
			}
			r, w := c.pipe()
			c.add(r, read, 1)
			if n := look(); n != 0 {
				c.fatalf("FD is readable with nothing to report")
			}
			c.write(w)
			if n := look(); n != 1 {
				c.fatalf("FD is not readable with a report")
			}
			c.drain(r)
			c.silence("drained")
			if n := look(); n != 0 {
				c.fatalf("FD is readable after the pipe was drained")
			}
		},
	},
	{
		name:  "WaitDoesNotAllocate",
		says:  "Wait does not allocate after its buffers have grown",
		check: waitDoesNotAllocate,
	},
}

func readinessEndsALongWait(c *check) {
	r, w := c.pipe()
	c.add(r, read, 1)
	// The third would be a millisecond if it were truncated to 32 bits.
	for _, timeout := range []time.Duration{-1, time.Hour, (1<<32 + 1) * time.Millisecond, 1<<63 - 1} {
		time.AfterFunc(10*time.Millisecond, func() {
			if err := writeByte(w); err != nil {
				c.t.Errorf("write: %v", err)
			}
		})
		var ready []poller.Ready
		for range 5 { // it may end early without a report, but not repeatedly
			if ready = c.wait(timeout, 4); len(ready) > 0 {
				break
			}
		}
		if len(ready) != 1 || ready[0] != (poller.Ready{Tag: 1, What: read}) {
			c.fatalf("Wait(%v): got reports %x", timeout, ready)
		}
		c.drain(r)
	}
}

func waitDoesNotAllocate(c *check) {
	for i := range 20 {
		r, w := c.pipe()
		c.add(r, read, uint64(i))
		if i%2 == 0 {
			c.write(w)
		}
	}
	ready := make([]poller.Ready, 8)
	for _, timeout := range []time.Duration{0, time.Second, -1} {
		allocs := testing.AllocsPerRun(200, func() {
			if n, err := c.p.Wait(ready, timeout); n == 0 || err != nil {
				c.fatalf("Wait: %d reports, %v", n, err)
			}
			if err := c.p.Wake(); err != nil {
				c.fatalf("Wake: %v", err)
			}
		})
		if allocs != 0 {
			c.fatalf("Wait(%v) and Wake: %v allocations", timeout, allocs)
		}
	}
}
