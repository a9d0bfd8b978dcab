//go:build linux || darwin || freebsd

package pollertest

import (
	"maps"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

var ownRules = []rule{
	{
		name: "CloseReleasesItsOwnDescriptorsOnly",
		says: "Close closes every descriptor of the poller and none of the registered descriptors",
		check: func(c *check) {
			r, w := c.pipe()
			before := descriptors()
			for _, kind := range []poller.WakerKind{poller.WakerDefault, poller.WakerNone, poller.WakerSocketpair} {
				p, err := c.open(kind)
				c.must("open", err)
				c.must("Add", p.Add(r, read, 1))
				c.must("Close", p.Close())
				if after := descriptors(); !maps.Equal(before, after) {
					c.fatalf("waker %q: open before %v, after %v", kind, before, after)
				}
			}
			c.write(w)
			c.drain(r)
		},
	},
	{
		name: "FailedOpenLeavesNothing",
		says: "an open that fails leaves no descriptor open",
		check: func(c *check) {
			before := descriptors()
			if _, err := c.open("no such waker"); err == nil {
				c.fatalf("a waker of no kind was accepted")
			}
			if after := descriptors(); !maps.Equal(before, after) {
				c.fatalf("open before %v, after %v", before, after)
			}
		},
	},
	{
		name: "OwnDescriptorsCloseOnExec",
		says: "a child process inherits none of the poller's descriptors",
		check: func(c *check) {
			for _, kind := range []poller.WakerKind{poller.WakerDefault, poller.WakerSocketpair} {
				before := descriptors()
				p, err := c.open(kind)
				c.must("open", err)
				for fd := range descriptors() {
					flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
					if !before[fd] && err == nil && flags&unix.FD_CLOEXEC == 0 {
						c.fatalf("waker %q: descriptor %d stays open on exec", kind, fd)
					}
				}
				c.must("Close", p.Close())
			}
		},
	},
}
