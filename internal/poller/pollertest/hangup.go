//go:build linux || darwin || freebsd

package pollertest

import (
	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

var hangupRules = []rule{
	{
		name:  "HalfCloseIsClosedAndReadable",
		says:  "when the peer has closed its sending half, Closed is reported, and also Read, since a read returns the end of the stream",
		needs: poller.FeatureClosed,
		check: func(c *check) {
			a, b := c.pair()
			c.add(a, read|closed, 1)
			c.silence("the peer is there")
			c.must("shutdown", unix.Shutdown(b, unix.SHUT_WR))
			c.expect(1, read|closed)
			c.expect(1, read|closed)
		},
	},
	{
		name:  "ClosedNeedsNoRead",
		says:  "a registration for Closed alone does not report data, and reports in each Wait that the peer has closed",
		needs: poller.FeatureClosed,
		check: func(c *check) {
			a, b := c.pair()
			c.add(a, closed, 1)
			c.write(b)
			c.silence("data is not what was asked for")
			c.must("shutdown", unix.Shutdown(b, unix.SHUT_WR))
			c.expect(1, closed)
			c.expect(1, closed)
			c.modify(a, 0, 1)
			c.silence("the end of the peer's sending half is not requested")
		},
	},
	{
		name: "EndOfFileIsReadable",
		says: "Read is reported at the end of the file",
		check: func(c *check) {
			a, b := c.pair()
			c.add(a, read, 1)
			c.must("shutdown", unix.Shutdown(b, unix.SHUT_WR))
			c.expect(1, read)
		},
	},
	{
		name: "HangUpIsReportedUnasked",
		says: "the close of a pipe's writing end is reported for every registration, as readable and closed",
		check: func(c *check) {
			for i, want := range []poller.Flags{0, write, read} {
				r, w := c.pipe()
				c.add(r, want, uint64(i))
				c.close(w)
				c.expect(uint64(i), read|closed)
				c.expect(uint64(i), read|closed)
				c.remove(r)
			}
		},
	},
	{
		name: "BrokenPipeIsReportedUnasked",
		says: "the close of a pipe's reading end is reported for every registration, as an error",
		check: func(c *check) {
			for i, want := range []poller.Flags{0, write} {
				r, w := c.pipe()
				c.add(w, want, uint64(i))
				c.close(r)
				c.expect(uint64(i), poller.Error|write)
				c.remove(w)
			}
		},
	},
	{
		name: "ResetIsReportedUnasked",
		says: "a reset is reported for every registration: as readable, writable and closed, or as an error",
		check: func(c *check) {
			for i, want := range []poller.Flags{read, read | write, 0} {
				a, b := c.tcp()
				c.add(a, want, uint64(i))
				c.must("linger", unix.SetsockoptLinger(b, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
				c.close(b)
				// A socket that can be written to is reported before the reset has arrived, too.
				what := c.expect(uint64(i), 0)
				for what == write {
					what = c.expect(uint64(i), 0)
				}
				if what&poller.Error == 0 && what&(read|write|closed) != read|write|closed {
					c.fatalf("wanted %x: got %x", want, what)
				}
				c.remove(a)
			}
		},
	},
}
