package server

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/evmq/evmq/internal/sock"
)

// A RateLimit is a token bucket of bytes: so many a second on the average, and at most Burst at once. The zero value is no
// limit. Burst 0 means what comes in a tenth of a second, 64 bytes at least. A connection that has used up its allowance goes on
// when an eighth of the burst, and 64 bytes at least, have come in again.
type RateLimit struct {
	BytesPerSecond float64 // at most 1e15; 0 for no limit
	Burst          int     // bytes, 64 at least
}

// A Group limits the connections of one or more servers together. Who finds the bucket empty is given a turn behind those who
// came before, of an eighth of the burst and 64 bytes at least, so that nobody starves. Servers that share a group have to have
// the same clock: see event.WithClock.
type Group struct {
	read, write *bucket
}

// NewGroup makes a group with limits for reading and writing. Errors: ErrConfig. Any goroutine.
func NewGroup(read, write RateLimit) (*Group, error) {
	if err := read.check("Group read"); err != nil {
		return nil, fmt.Errorf("new group: %w", err)
	}
	if err := write.check("Group write"); err != nil {
		return nil, fmt.Errorf("new group: %w", err)
	}
	return &Group{read.bucket(), write.bucket()}, nil
}

// minShare is the least share, so that a small rate is not spent on system calls of a byte.
const minShare = 64

func (r RateLimit) check(name string) error {
	switch {
	case !(r.BytesPerSecond >= 0) || r.BytesPerSecond > 1e15: // NaN too
		return fmt.Errorf("%w: %s is %v bytes per second", ErrConfig, name, r.BytesPerSecond)
	case r.Burst < 0 || r.Burst > 0 && r.Burst < minShare:
		return fmt.Errorf("%w: %s has a burst of %d bytes, the least is %d", ErrConfig, name, r.Burst, minShare)
	case r.Burst > 0 && r.BytesPerSecond == 0:
		return fmt.Errorf("%w: %s has a burst and no rate", ErrConfig, name)
	}
	return nil
}

// bucket makes the bucket, nil for no limit.
func (r RateLimit) bucket() *bucket {
	if r.BytesPerSecond == 0 {
		return nil
	}
	burst := r.Burst
	if burst == 0 {
		burst = max(minShare, int(min(r.BytesPerSecond/10, 1<<30)))
	}
	return &bucket{lim: rate.NewLimiter(rate.Limit(r.BytesPerSecond), burst)}
}

// bucket is one token bucket. It counts in the loop's time.
type bucket struct {
	lim    *rate.Limiter
	latest atomic.Int64 // the loop's time that the limiter has seen
}

func (s *Server) checkRates() error {
	if err := s.ReadLimit.check("ReadLimit"); err != nil {
		return err
	}
	return s.WriteLimit.check("WriteLimit")
}

func (s *Server) limited() bool {
	return s.ReadLimit.BytesPerSecond > 0 || s.WriteLimit.BytesPerSecond > 0 || s.Group != nil
}

// at is now as the limiter knows it. It never goes back: a loop that is a little behind another one would otherwise have
// the time between them counted twice.
func (b *bucket) at(now time.Duration) time.Time { return time.Unix(0, int64(b.clock(now))) }

// clock is the latest time of the loops, one of which is at now. What the limiter says of the future counts from it.
func (b *bucket) clock(now time.Duration) time.Duration {
	for {
		latest := b.latest.Load()
		if int64(now) <= latest {
			return time.Duration(latest)
		}
		if b.latest.CompareAndSwap(latest, int64(now)) {
			return now
		}
	}
}

// share is the least that passes at once, where want is not less: passing less would wake the loop thousands of times a second.
func (b *bucket) share(want int) int { return min(want, max(minShare, b.lim.Burst()/8)) }

// allow returns how much of want may pass now, and if that is nothing, when a share may.
func (b *bucket) allow(now time.Duration, want int) (n int, at time.Duration) {
	if b == nil || want == 0 {
		return want, 0
	}
	now = b.clock(now)
	tokens := b.lim.TokensAt(b.at(now))
	least := float64(b.share(want))
	if tokens >= least {
		return int(min(float64(want), tokens)), 0
	}
	return 0, now + time.Duration((least-tokens)/float64(b.lim.Limit())*float64(time.Second)) + 1
}

// take counts n bytes that have passed. Connections on different loops may together take more than there was; then the next
// wait is longer.
func (b *bucket) take(now time.Duration, n int) {
	for b != nil && n > 0 {
		k := min(n, b.lim.Burst())
		b.lim.ReserveN(b.at(now), k)
		n -= k
	}
}

// turn is a connection's place among those that wait for a group's bucket: n bytes have been taken out of it for this
// connection, which may use them from at on.
type turn struct {
	n  int
	at time.Duration
}

// claim is allow for a bucket that many share: who finds too little is given a turn behind those who came before, and nobody
// passes them meanwhile, since what is set aside is missing in the bucket.
func (b *bucket) claim(now time.Duration, want int, t *turn) (n int, at time.Duration) {
	if b == nil || want == 0 {
		return want, 0
	}
	if t.n == 0 {
		if n, _ = b.allow(now, want); n > 0 {
			return n, 0
		}
		t.n = b.share(want)
		clock := b.clock(now) // not now: a loop that is behind would have its turn by so much too early
		when := b.at(clock)
		t.at = clock + b.lim.ReserveN(when, t.n).DelayFrom(when) + 1
	}
	if now < t.at {
		return 0, t.at
	}
	return min(want, t.n), 0
}

// settle counts n bytes that have passed by claim.
func (b *bucket) settle(now time.Duration, n int, t *turn) {
	set := min(n, t.n)
	t.n -= set
	b.take(now, n-set)
}

// allowance asks both buckets, the connection's and the group's.
func (c *Conn) allowance(own, group *bucket, want int, t *turn) (n int, at time.Duration) {
	now := c.loop.now()
	n, at = own.allow(now, want)
	if n > 0 {
		n, at = group.claim(now, n, t)
	}
	return n, at
}

// readAllowance is how much may be read now. When that is nothing, reading rests until something may be. On the loop.
func (c *Conn) readAllowance(want int) int {
	x := c.ext
	own, group := x.readRate, c.loop.srv.Group.reads()
	if own == nil && group == nil {
		return want
	}
	n, at := c.allowance(own, group, want, &x.readTurn)
	if n == 0 {
		c.flags |= flagThrottled
		x.readAt = at
		c.stopReading()
		c.armAt(at)
	}
	return n
}

// writeAllowance is readAllowance for output. Under mu, on the loop.
func (c *Conn) writeAllowance(want int) int {
	x := c.ext
	own, group := x.writeRate, c.loop.srv.Group.writes()
	if own == nil && group == nil {
		return want
	}
	n, at := c.allowance(own, group, min(want, sock.MaxRaw), &x.writeTurn)
	if n == 0 {
		c.flags |= flagSlowed
		x.writeAt = at
		c.armAt(at)
	}
	return n
}

func (c *Conn) spendRead(n int) {
	c.ext.readRate.take(c.loop.now(), n)
	c.loop.srv.Group.reads().settle(c.loop.now(), n, &c.ext.readTurn)
}

// spend counts n bytes of output. Under mu.
func (c *Conn) spend(n int) {
	c.ext.writeRate.take(c.loop.now(), n)
	c.loop.srv.Group.writes().settle(c.loop.now(), n, &c.ext.writeTurn)
}

func (g *Group) reads() *bucket {
	if g == nil {
		return nil
	}
	return g.read
}

func (g *Group) writes() *bucket {
	if g == nil {
		return nil
	}
	return g.write
}

// release is when what the rate limits hold back may go on.
func (c *Conn) release() time.Duration {
	x := c.ext
	switch {
	case c.flags&flagThrottled == 0:
		return x.writeAt
	case c.flags&flagSlowed == 0:
		return x.readAt
	}
	return min(x.readAt, x.writeAt)
}

// unthrottle lets go on whose time has come.
func (c *Conn) unthrottle() {
	x, now := c.ext, c.loop.now()
	if x.readAt <= now {
		c.flags &^= flagThrottled
	}
	if x.writeAt <= now {
		c.flags &^= flagSlowed
	}
	c.mu.Lock()
	c.place |= visited
	c.flush()
}
