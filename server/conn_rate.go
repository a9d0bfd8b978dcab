package server

import (
	"time"

	"github.com/evmq/evmq/internal/ratelimit"
	"github.com/evmq/evmq/internal/sock"
)

// rates is the state of the rate limits of a connection. Loop only.
type rates struct {
	read, write           *ratelimit.Bucket // nil if the connection has no limit of its own
	readAt, writeAt       time.Duration     // when reading and writing may continue after the limits have stopped them
	readShare, writeShare ratelimit.Share   // of the group's buckets
}

// allowance returns how many of want bytes both the connection's bucket and the group's allow now. If n is 0, at is when to try again.
func (c *loopConn) allowance(own, group *ratelimit.Bucket, want int, share *ratelimit.Share) (n int, at time.Duration) {
	now := c.loop.now()
	n, at = own.Allow(now, want)
	if n > 0 {
		n, at = group.AllowShare(now, n, share)
	}
	return n, at
}

// readAllowance returns how many of want bytes may be read now. If it returns 0, reading has stopped until the limits allow more. In a
// shutdown the limits do not apply, because the requests that have arrived are answered and EOF has to be read. On the loop.
func (c *loopConn) readAllowance(want int) int {
	r := c.ext.rates
	if r == nil || c.draining.isDraining() {
		return want
	}
	own, group := r.read, c.loop.srv.cfg.RateGroup.reads()
	if own == nil && group == nil {
		return want
	}
	if group.Reserves(c.loop.now(), want, &r.readShare) {
		want = c.arrived(want)
	}
	n, at := c.allowance(own, group, want, &r.readShare)
	if n == 0 {
		c.holds.add(holdRate)
		r.readAt = at
		c.stopReading()
		c.armAt(at)
	}
	return n
}

// arrived returns the number of bytes that a read of want bytes would return, or 1 if it would return the end of the stream or an error. A
// connection that has received little must not reserve more of the group's bucket: what it leaves is lost to the other connections.
func (c *loopConn) arrived(want int) int {
	n, err := sock.Unread(c.ev.FD())
	if err != nil {
		return want
	}
	return min(want, max(n, 1))
}

// writeAllowance returns how many bytes, at most limit, may be written now. If it returns 0, writing has stopped until the limits allow more.
// The limits are asked for no more than the output that waits: the rest of a large burst would delay its last bytes, and with them the end
// of the stream. Completions without bytes are not delayed. Under mu, on the loop.
func (c *loopConn) writeAllowance(limit int) int {
	r := c.ext.rates
	if r == nil {
		return limit
	}
	own, group := r.write, c.loop.srv.cfg.RateGroup.writes()
	if own == nil && group == nil {
		return limit
	}
	want := int(min(int64(limit), c.unwritten(), sock.MaxRaw))
	if want == 0 {
		return limit
	}
	n, at := c.allowance(own, group, want, &r.writeShare)
	if n == 0 {
		c.writing = c.writing.to(writeThrottled)
		r.writeAt = at
		c.armAt(at)
	}
	return n
}

// unwritten returns the number of bytes of output that the kernel does not have, those of files included. With TLS it counts the records that
// wait, and output that is not encrypted. Under mu, on the loop.
func (c *loopConn) unwritten() (n int64) {
	if c.out != nil {
		n = c.out.Len()
	}
	if t := c.ext.tls; t != nil {
		n += int64(t.pipe.Output()) - int64(t.encrypted)
	}
	return n
}

// spendRead takes n bytes of input from the buckets.
func (c *loopConn) spendRead(n int) {
	if r := c.ext.rates; r != nil {
		r.read.Take(c.loop.now(), n)
		c.loop.srv.cfg.RateGroup.reads().TakeShare(c.loop.now(), n, &r.readShare)
	}
}

// spend takes n bytes of output from the buckets. Under mu.
func (c *loopConn) spend(n int) {
	if r := c.ext.rates; r != nil {
		r.write.Take(c.loop.now(), n)
		c.loop.srv.cfg.RateGroup.writes().TakeShare(c.loop.now(), n, &r.writeShare)
	}
}

func (g *RateGroup) reads() *ratelimit.Bucket {
	if g == nil {
		return nil
	}
	return g.read
}

func (g *RateGroup) writes() *ratelimit.Bucket {
	if g == nil {
		return nil
	}
	return g.write
}

// nextRefill returns the time at which reads or writes that the rate limits have stopped may continue.
func (c *loopConn) nextRefill() time.Duration {
	r := c.ext.rates
	switch {
	case !c.holds.has(holdRate):
		return r.writeAt
	case c.writing != writeThrottled:
		return r.readAt
	}
	return min(r.readAt, r.writeAt)
}

// isThrottled reports whether the rate limits hold reading or writing.
func (c *loopConn) isThrottled() bool { return c.holds.has(holdRate) || c.writing == writeThrottled }
