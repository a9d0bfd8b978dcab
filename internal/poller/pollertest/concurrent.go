//go:build linux || darwin || freebsd

package pollertest

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

var concurrentRules = []rule{
	{
		name: "AddReachesABlockedWait",
		says: "Add and Modify take effect in a Wait that is blocked: at once with FeatureConcurrent, otherwise after Wake",
		check: func(c *check) {
			r, w := c.pipe()
			c.write(w)
			for i := range 100 {
				tag := uint64(i + 1)
				switch i % 2 {
				case 0:
					c.duringWait(tag, func() { c.add(r, read, tag) })
					c.modify(r, 0, tag)
				case 1:
					c.duringWait(tag, func() { c.modify(r, read, tag) })
					c.remove(r)
				}
			}
		},
	},
	{
		name: "ChangesRaceWithWait",
		says: "Add, Modify and Remove may be called while Wait runs, and Wait reports only registered conditions",
		check: func(c *check) {
			r, w := c.pipe()
			c.write(w)
			quiet, _ := c.pipe()
			c.add(quiet, read, 1)
			var stop atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				ready := make([]poller.Ready, 4)
				for !stop.Load() {
					n, err := c.p.Wait(ready, time.Millisecond)
					if err != nil {
						c.t.Errorf("Wait: %v", err)
						return
					}
					for _, got := range ready[:n] {
						if got.Tag&^1 != 2 || got.What != read {
							c.t.Errorf("unwanted report %x", got)
						}
					}
				}
			}()
			for range 3000 {
				c.add(r, read, 2)
				c.modify(r, read, 3)
				c.remove(r)
			}
			stop.Store(true)
			c.ends("Wait", done)
			c.silence("all ready descriptors were removed")
		},
	},
}

// duringWait calls change while a Wait may be blocked, and expects the report of tag.
func (c *check) duringWait(tag uint64, change func()) {
	c.t.Helper()
	begun, done := make(chan struct{}), make(chan struct{})
	ready := make([]poller.Ready, 4)
	var n int
	var err error
	go func() {
		defer close(done)
		close(begun)
		for n == 0 && err == nil {
			n, err = c.p.Wait(ready, -1)
		}
	}()
	<-begun
	runtime.Gosched()
	change()
	if !c.has(poller.FeatureConcurrent) {
		c.must("Wake", c.p.Wake())
	}
	c.ends("Wait", done)
	c.must("Wait", err)
	if n != 1 || ready[0].Tag != tag || ready[0].What != read {
		c.fatalf("got reports %x, want tag %x readable", ready[:n], tag)
	}
}
