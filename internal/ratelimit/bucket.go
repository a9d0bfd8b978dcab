// Package ratelimit limits rates of bytes with token buckets. Its methods do not block: they return the time at which the caller should ask
// again.
//
// A [Bucket] may be used by one connection, or shared by many. Each connection that shares a bucket has a [Share]. If the bucket has too few
// tokens, the connection reserves some for a later time, and connections that ask after it reserve theirs for times after that. So each of
// them makes progress.
package ratelimit

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// MinBurst is the smallest burst in bytes, and the smallest number of bytes that pass at once if more are wanted. With less, system calls would take
// most of the time.
const MinBurst = 64

// Bucket is a token bucket. A nil Bucket does not limit. Its methods may be called from any goroutine. The times that they take and return are
// durations since a fixed time, which is the same for all goroutines.
type Bucket struct {
	limiter *rate.Limiter
	latest  atomic.Int64 // the latest time that was given to a method
}

// New returns a bucket, which is full. If bytesPerSecond is 0, the bucket is nil and does not limit. burst 0 means the bytes of a tenth of a second.
func New(bytesPerSecond float64, burst int) *Bucket {
	if bytesPerSecond == 0 {
		return nil
	}
	if burst == 0 {
		burst = max(MinBurst, int(min(bytesPerSecond/10, 1<<30)))
	}
	return &Bucket{limiter: rate.NewLimiter(rate.Limit(bytesPerSecond), burst)}
}

// Allow returns the number of bytes, at most want, that may pass now. If it is 0, at is the time at which some may pass.
func (b *Bucket) Allow(now time.Duration, want int) (n int, at time.Duration) {
	if b == nil || want == 0 {
		return want, 0
	}
	now = b.clock(now)
	tokens := b.limiter.TokensAt(instant(now))
	least := float64(b.least(want))
	if tokens >= least {
		return int(min(float64(want), tokens)), 0
	}
	return 0, now + time.Duration((least-tokens)/float64(b.limiter.Limit())*float64(time.Second)) + 1
}

// Take counts n bytes that have passed. Several goroutines together may take more than Allow has returned to each; then the next wait is longer.
func (b *Bucket) Take(now time.Duration, n int) {
	for b != nil && n > 0 {
		k := min(n, b.limiter.Burst())
		b.limiter.ReserveN(instant(b.clock(now)), k)
		n -= k
	}
}

// A Share is the part of a shared bucket that is reserved for a connection. One goroutine at a time may use it.
type Share struct {
	n  int           // bytes that were taken out of the bucket for the connection
	at time.Duration // the time from which the connection may use them
}

// AllowShare is Allow for a bucket that is shared. If the bucket has too few tokens, some are reserved in s. Other connections do not get them, since
// they have been taken out of the bucket.
func (b *Bucket) AllowShare(now time.Duration, want int, s *Share) (n int, at time.Duration) {
	if b == nil || want == 0 {
		return want, 0
	}
	if s.n == 0 {
		if n, _ = b.Allow(now, want); n > 0 {
			return n, 0
		}
		s.n = b.least(want)
		latest := b.clock(now) // not now: a goroutine whose clock is behind would get its share earlier by the difference
		when := instant(latest)
		s.at = latest + b.limiter.ReserveN(when, s.n).DelayFrom(when) + 1
	}
	if now < s.at {
		return 0, s.at
	}
	return min(want, s.n), 0
}

// Reserves reports whether AllowShare would reserve tokens in s, as many as are wanted at most. So the caller can find out then how many it
// will use.
func (b *Bucket) Reserves(now time.Duration, want int, s *Share) bool {
	if b == nil || want == 0 || s.n > 0 {
		return false
	}
	n, _ := b.Allow(now, want)
	return n == 0
}

// TakeShare counts n bytes that have passed after AllowShare.
func (b *Bucket) TakeShare(now time.Duration, n int, s *Share) {
	promised := min(n, s.n)
	s.n -= promised
	b.Take(now, n-promised)
}

// least returns the smallest number of bytes that pass at once if want bytes are wanted. With less, a goroutine would be woken thousands of times a
// second.
func (b *Bucket) least(want int) int { return min(want, max(MinBurst, b.limiter.Burst()/8)) }

// clock returns the latest time of all goroutines, one of which is at now. It never goes back: otherwise the time by which a goroutine is
// behind another one would count twice.
func (b *Bucket) clock(now time.Duration) time.Duration {
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

// instant converts a time to the type that the limiter uses.
func instant(t time.Duration) time.Time { return time.Unix(0, int64(t)) }
