//go:build linux || darwin || freebsd

package pollertest

import (
	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

const (
	read   = poller.Read
	write  = poller.Write
	edge   = poller.Edge
	closed = poller.Closed
)

var readyRules = []rule{
	{
		name: "LevelRepeatsUntilDrained",
		says: "a level-triggered condition is reported by every Wait while it holds, and by none afterwards",
		check: func(c *check) {
			r, w := c.pipe()
			c.add(r, read, 1)
			c.silence("nothing was written")
			c.write(w)
			for range 3 {
				c.expect(1, read)
			}
			c.drain(r)
			c.silence("the pipe was drained")
			c.write(w)
			c.expect(1, read)
		},
	},
	{
		name: "WriteIsReportedWhileThereIsRoom",
		says: "Write is reported while there is room, and not while the buffer is full",
		check: func(c *check) {
			r, w := c.pipe()
			c.add(w, write, 1)
			c.expect(1, write)
			c.fill(w)
			c.silence("the pipe is full")
			c.drain(r)
			c.expect(1, write)
		},
	},
	{
		name: "BothConditionsAreOneReport",
		says: "a registration has at most one report per Wait, which holds all its conditions",
		check: func(c *check) {
			a, b := c.pair()
			c.add(a, read|write, 1)
			c.write(b)
			if what := c.expect(1, read|write); what != read|write {
				c.fatalf("got %x, want Read and Write alone", what)
			}
		},
	},
	{
		name:  "EdgeReportsAChangeOnce",
		says:  "an edge-triggered condition is reported once when it begins to hold, and again after Modify",
		needs: poller.FeatureEdge,
		check: func(c *check) {
			r, w := c.pipe()
			c.add(r, read|edge, 1)
			for range 3 {
				c.write(w)
				c.expect(1, read)
				c.silence("nothing has changed since the report")
				c.modify(r, read|edge, 1)
				c.expect(1, read)
				c.silence("nothing has changed since Modify")
				c.drain(r)
				c.silence("draining is no change that a reader waits for")
			}
		},
	},
	{
		name:  "EdgeReportsWhatHoldsAtAdd",
		says:  "an edge-triggered condition that holds when its descriptor is added is reported",
		needs: poller.FeatureEdge,
		check: func(c *check) {
			r, w := c.pipe()
			c.write(w)
			c.add(r, read|edge, 1)
			c.expect(1, read)
			c.silence("nothing has changed since the report")
		},
	},
	{
		name:  "EdgeTurnsLevelByModify",
		says:  "Modify replaces the trigger mode of a registration",
		needs: poller.FeatureEdge,
		check: func(c *check) {
			r, w := c.pipe()
			c.add(r, read|edge, 1)
			c.write(w)
			c.expect(1, read)
			c.modify(r, read, 1)
			c.expect(1, read)
			c.expect(1, read)
			c.modify(r, read|edge, 1)
			c.expect(1, read)
			c.silence("it is edge-triggered again")
		},
	},
	{
		name: "ModifyReplacesWantAndTag",
		says: "after Modify the new conditions are reported under the new tag, and the old ones no longer",
		check: func(c *check) {
			a, b := c.pair()
			c.write(b)
			c.add(a, read, 1)
			c.expect(1, read)
			c.modify(a, write, 2)
			if what := c.expect(2, write); what != write {
				c.fatalf("got %x, want Write alone", what)
			}
			c.modify(a, 0, 3)
			c.silence("nothing is wanted")
			c.modify(a, read, 4)
			c.expect(4, read)
		},
	},
	{
		name: "RemoveSilences",
		says: "a removed descriptor is no longer reported, and the other descriptors are",
		check: func(c *check) {
			var fds [5]int
			for i := range fds {
				r, w := c.pipe()
				c.write(w)
				c.add(r, read, uint64(i))
				fds[i] = r
			}
			left := map[uint64]bool{0: true, 1: true, 2: true, 3: true, 4: true}
			for _, i := range []int{1, 4, 0, 3, 2} { // inside, last, first, then down to none
				c.remove(fds[i])
				delete(left, uint64(i))
				c.exactly(left)
			}
			c.add(fds[2], read, 7)
			c.expect(7, read)
		},
	},
	{
		name: "TagsAreHandedBackUntouched",
		says: "all 64 bits of a tag are available to the caller",
		check: func(c *check) {
			r, w := c.pipe()
			c.write(w)
			c.add(r, read, 0)
			c.expect(0, read)
			for _, tag := range []uint64{^uint64(1), 1 << 63, 1<<32 - 1, 1 << 32, 1<<63 - 1, 0x0123456789abcdef} {
				c.modify(r, read, tag)
				c.expect(tag, read)
			}
			c.refused("Modify with the reserved tag", c.p.Modify(r, read, ^uint64(0)), unix.EINVAL)
		},
	},
	{
		name: "RoomMayChange",
		says: "a Wait fills at most the slice that it was given, whose length may differ from call to call",
		check: func(c *check) {
			r, w := c.pipe()
			c.write(w)
			const many = 40
			for i := range many {
				c.add(c.high(r, 0), read, uint64(i))
			}
			for _, room := range []int{16, 1, 64, 7, 39, 40, 1000, 2} {
				if n := len(c.wait(0, room)); n != min(room, many) {
					c.fatalf("room for %d and %d ready: %d reports", room, many, n)
				}
			}
		},
	},
	{
		name:  "NoneStarves",
		says:  "if more descriptors are ready than a Wait has room for, all are reported within two passes over the set",
		check: noneStarves,
	},
}

// exactly expects one Wait to report Read for the tags of left, and nothing else.
func (c *check) exactly(left map[uint64]bool) {
	c.t.Helper()
	ready := c.wait(0, 16)
	if len(ready) != len(left) {
		c.fatalf("got reports %x, want those of %v", ready, left)
	}
	for _, r := range ready {
		if !left[r.Tag] || r.What != read {
			c.fatalf("got reports %x, want those of %v", ready, left)
		}
	}
}

func noneStarves(c *check) {
	const room = 16
	r, w := c.pipe()
	c.write(w)
	var limit unix.Rlimit
	c.must("getrlimit", unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	many := min(2000, int(limit.Cur)-200)
	for i := range many {
		c.add(c.high(r, 0), read, uint64(i))
	}
	missing := map[uint64]bool{}
	for i := range many {
		missing[uint64(i)] = true
	}
	for range 2 * many / room {
		for _, r := range c.wait(-1, room) {
			delete(missing, r.Tag)
		}
	}
	if len(missing) > 0 {
		c.fatalf("%d of %d ready descriptors were not reported in %d Waits of %d", len(missing), many, 2*many/room, room)
	}
}
