//go:build linux || darwin || freebsd

package pollertest

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// short is a timeout that a pending wake would end early.
const short = 5 * time.Millisecond

var wakeRules = []rule{
	{
		name: "WakeEndsABlockedWait",
		says: "Wake ends a Wait that runs, without a report",
		check: func(c *check) {
			for range 50 {
				begun, done := make(chan struct{}), make(chan struct{})
				var n int
				var err error
				go func() {
					defer close(done)
					close(begun)
					n, err = c.p.Wait(make([]poller.Ready, 4), -1)
				}()
				<-begun
				runtime.Gosched() // it usually blocks by now; the rule holds in any case
				c.must("Wake", c.p.Wake())
				c.ends("Wait", done)
				c.must("Wait", err)
				if n != 0 {
					c.fatalf("Wait reported %d, want none", n)
				}
				c.consumeWake()
			}
		},
	},
	{
		name: "WakeBeforeWaitEndsTheNextOnce",
		says: "a Wake while no Wait runs ends the next Wait, and only that one",
		check: func(c *check) {
			c.must("Wake", c.p.Wake())
			c.wait(-1, 4)
			c.lasts("the wake was used up", short)
		},
	},
	{
		name: "ALookLeavesTheWake",
		says: "Wait with timeout 0 leaves a wake pending for the next Wait that sleeps",
		check: func(c *check) {
			c.must("Wake", c.p.Wake())
			for range 3 {
				c.silence("a wake is no report")
			}
			c.wait(-1, 1)
			c.lasts("the wake was used up", short)
		},
	},
	{
		name: "ManyWakesAreOneAndNeverBlock",
		says: "Wake never blocks, for any number of pending wakes, and all of them end one Wait",
		check: func(c *check) {
			c.within("100 000 wakes without a Wait", func() {
				for range 100_000 {
					if err := c.p.Wake(); err != nil {
						c.t.Errorf("Wake: %v", err)
						return
					}
				}
			})
			c.wait(-1, 4)
			c.lasts("all wakes were used up", short)
		},
	},
	{
		name: "WakeHidesNoReport",
		says: "a pending wake does not prevent a report, also if there is room for only one",
		check: func(c *check) {
			r, w := c.pipe()
			c.add(r, read, 1)
			c.must("Wake", c.p.Wake())
			c.write(w)
			for range 4 { // the waker may take a place in ready
				if len(c.wait(0, 1)) == 1 {
					return
				}
			}
			c.fatalf("four looks did not see the report")
		},
	},
	{
		name:  "NoWakeIsLost",
		says:  "the waiter sees what a goroutine has published before its Wake, for any number of goroutines",
		check: noWakeIsLost,
	},
}

// consumeWake consumes a wake that came after its Wait had ended early.
func (c *check) consumeWake() {
	c.t.Helper()
	c.must("Wake", c.p.Wake())
	c.wait(-1, 4)
}

// noWakeIsLost has goroutines publish, wake and wait to be seen, so that one lost wake stops the test. One of them
// makes a descriptor ready in place of a wake.
func noWakeIsLost(c *check) {
	r, w := c.pipe()
	c.add(r, read, 1)
	for range 25 { // portions, since the watchdog's time is for work that takes some milliseconds
		raceWakes(c, r, w, 100)
	}
}

// raceWakes has eight goroutines publish and wake, each the given number of times. The pipe from w to r is registered.
func raceWakes(c *check, r, w, each int) {
	const senders = 8
	p := c.p // the steps use it also after the watchdog has given up
	var posted [senders]atomic.Bool
	var seen [senders]chan struct{}
	for i := range seen {
		seen[i] = make(chan struct{}, 1)
	}
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for range each {
				posted[i].Store(true)
				wake := p.Wake
				if i == 0 {
					wake = func() error { return writeByte(w) }
				}
				if err := wake(); err != nil {
					c.t.Errorf("Wake: %v", err)
				}
				<-seen[i]
			}
		})
	}
	c.within("the waiter", func() {
		ready := make([]poller.Ready, 4)
		for got := 0; got < senders*each; {
			n, err := p.Wait(ready, -1)
			if n > 0 && err == nil {
				err = drain(r)
			}
			if err != nil {
				c.t.Errorf("Wait: %v", err)
				return
			}
			for i := range posted {
				if posted[i].Swap(false) {
					got++
					seen[i] <- struct{}{}
				}
			}
		}
	})
	c.within("the senders", all.Wait)
}

var noWakerRules = []rule{
	{
		name: "WakeDoesNothing",
		says: "without a waker, Wake has no effect, and Wait works as usual",
		check: func(c *check) {
			r, w := c.pipe()
			c.must("Wake", c.p.Wake())
			c.add(r, read, 1)
			c.lasts("there is no waker", short)
			c.write(w)
			c.expect(1, read)
		},
	},
}
