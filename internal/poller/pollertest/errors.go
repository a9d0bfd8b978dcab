//go:build linux || darwin || freebsd

package pollertest

import (
	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

var errorRules = []rule{
	{
		name: "AddTwiceIsEEXIST",
		says: "Add of a watched descriptor fails with EEXIST and changes nothing",
		check: func(c *check) {
			a, b := c.pair()
			c.add(a, read, 1)
			c.refused("Add", c.p.Add(a, write, 2), unix.EEXIST)
			c.silence("the first Add wanted Read alone")
			c.write(b)
			c.expect(1, read)
		},
	},
	{
		name: "UnknownIsENOENT",
		says: "Modify and Remove of a descriptor that is not watched fail with ENOENT",
		check: func(c *check) {
			r, _ := c.pipe()
			c.refused("Modify", c.p.Modify(r, read, 1), unix.ENOENT)
			c.refused("Remove", c.p.Remove(r), unix.ENOENT)
			c.add(r, read, 1)
			c.remove(r)
			c.refused("Modify after Remove", c.p.Modify(r, read, 1), unix.ENOENT)
			c.refused("Remove after Remove", c.p.Remove(r), unix.ENOENT)
		},
	},
	{
		name: "ClosedIsEBADF",
		says: "a call with a number that is not open fails with EBADF",
		check: func(c *check) {
			r, _ := c.pipe()
			gone := c.high(r, 600)
			c.close(gone)
			for _, fd := range []int{gone, -1} {
				c.refused("Add", c.p.Add(fd, read, 1), unix.EBADF)
				c.refused("Modify", c.p.Modify(fd, read, 1), unix.EBADF)
				c.refused("Remove", c.p.Remove(fd), unix.EBADF)
			}
		},
	},
	{
		name: "RegularFileIsEPERMOrAlwaysReady",
		says: "a regular file is refused with EPERM; with FeatureAnyFile it is accepted and always ready",
		check: func(c *check) {
			fd := c.file()
			err := c.p.Add(fd, read|write, 1)
			if !c.has(poller.FeatureAnyFile) {
				c.refused("Add", err, unix.EPERM)
				c.silence("it was refused")
				return
			}
			c.must("Add", err)
			for range 3 {
				c.expect(1, read|write)
				_, err := unix.Seek(fd, 0, 2) // at the end, too
				c.must("seek", err)
			}
		},
	},
	{
		name: "MissingFeaturesAreRefused",
		says: "Edge and Closed fail with EOPNOTSUPP if the feature is missing, and are never ignored",
		check: func(c *check) {
			a, _ := c.pair()
			for flag, feature := range map[poller.Flags]poller.Features{edge: poller.FeatureEdge, closed: poller.FeatureClosed} {
				if c.has(feature) {
					c.add(a, read|flag, 1)
					c.remove(a)
					continue
				}
				c.refused("Add", c.p.Add(a, read|flag, 1), unix.EOPNOTSUPP)
				c.add(a, read, 1)
				c.refused("Modify", c.p.Modify(a, read|flag, 1), unix.EOPNOTSUPP)
				c.remove(a)
			}
		},
	},
	{
		name: "ReservedTagIsEINVAL",
		says: "the tag that is reserved for the poller is refused",
		check: func(c *check) {
			r, _ := c.pipe()
			c.refused("Add", c.p.Add(r, read, ^uint64(0)), unix.EINVAL)
			c.add(r, read, 1) // the number is not registered
		},
	},
	{
		name: "ClosedBehindIsGone",
		says: "a descriptor that was closed without Remove is reported only as Invalid; Remove fails with EBADF and removes it",
		check: func(c *check) {
			r, w := c.pipe()
			behind := c.high(r, 600)
			c.add(behind, read, 1)
			c.write(w)
			c.expect(1, read)
			c.close(behind, r) // both, for a kernel that registers the open file
			for _, got := range c.wait(0, 16) {
				if got != (poller.Ready{Tag: 1, What: poller.Invalid}) {
					c.fatalf("got report %x", got)
				}
			}
			c.refused("Modify", c.p.Modify(behind, read, 1), unix.EBADF)
			c.refused("Remove", c.p.Remove(behind), unix.EBADF)
			c.silence("it was removed")
		},
	},
	{
		name: "ReopenedBehind",
		says: "with FeatureStale a number that belongs to another file now is distinguished from the old one: Modify fails with ENOENT, " +
			"Add succeeds; without it, Remove and Add register the new file",
		check: reopenedBehind,
	},
}

func reopenedBehind(c *check) {
	for _, duplicated := range []bool{false, true} {
		old, oldWriter := c.pipe()
		r, w := c.pipe()
		number := c.high(old, 600)
		c.add(number, read, 1)
		c.close(number)
		if !duplicated {
			c.close(old)
		}
		if again := c.high(r, 600); again != number {
			c.fatalf("the number %d was taken again as %d", number, again)
		}
		if c.has(poller.FeatureStale) {
			c.refused("Modify", c.p.Modify(number, read, 2), unix.ENOENT)
			c.refused("Remove", c.p.Remove(number), unix.ENOENT)
		} else {
			c.refused("Add", c.p.Add(number, read, 2), unix.EEXIST)
			c.remove(number)
		}
		c.add(number, read, 2)
		c.silence("nothing was written")
		if duplicated {
			c.write(oldWriter)
			for _, got := range c.wait(0, 16) { // the kernel may have registered the open file, which still exists
				if got.Tag != 1 {
					c.fatalf("the old file was reported as the new one: %x", got)
				}
			}
			c.drain(old)
		}
		c.write(w)
		c.expect(2, read)
		c.remove(number)
		c.close(number)
	}
}
