// Package ratelimit limits rates of bytes by token buckets, for goroutines that do not wait but ask again at a time that they are told.
//
// A [Bucket] may be used by one connection, or shared by many. Connections that share one use a [Share] each: a connection that finds too
// little is promised a share at a later time, and those that come afterwards are promised theirs behind it. So each of them
// proceeds.
package ratelimit

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// MinBurst is the least burst, and the least that passes at once while more is wanted: with less, most of the work would be system calls.
const MinBurst = 64

// Bucket is a token bucket. A nil Bucket is no limit. Its methods may be called from any goroutine. The times that they take and return are
// durations since any moment, the same for all goroutines.
type Bucket struct {
	limiter *rate.Limiter
	latest  atomic.Int64 // the latest time that a goroutine has come with
}

// New makes a bucket, which is full. bytesPerSecond 0 is no limit: the bucket is nil. burst 0 is what comes in a tenth of a second.
func New(bytesPerSecond float64, burst int) *Bucket {
	if bytesPerSecond == 0 {
		return nil
	}
	if burst == 0 {
		burst = max(MinBurst, int(min(bytesPerSecond/10, 1<<30)))
	}
	return &Bucket{limiter: rate.NewLimiter(rate.Limit(bytesPerSecond), burst)}
}

// Allow returns how many of want bytes may pass now; if that is none, at is the time at which some may.
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

// Take counts n bytes that have passed. Several goroutines may together take more than was allowed to each; then the next wait is longer.
func (b *Bucket) Take(now time.Duration, n int) {
	for b != nil && n > 0 {
		k := min(n, b.limiter.Burst())
		b.limiter.ReserveN(instant(b.clock(now)), k)
		n -= k
	}
}

// A Share is the part of a shared bucket that a connection has been promised. It belongs to the goroutine that uses it with the bucket.
type Share struct {
	n  int           // bytes that were taken out of the bucket for the connection,
	at time.Duration // which may use them from this time on
}

// AllowShare is Allow for a bucket that is shared. If there is too little, s is promised a share. Those that come meanwhile do not get it, since it
// was taken out of the bucket.
func (b *Bucket) AllowShare(now time.Duration, want int, s *Share) (n int, at time.Duration) {
	if b == nil || want == 0 {
		return want, 0
	}
	if s.n == 0 {
		if n, _ = b.Allow(now, want); n > 0 {
			return n, 0
		}
		s.n = b.least(want)
		latest := b.clock(now) // not now: a goroutine whose clock is behind would have its share earlier by the difference
		when := instant(latest)
		s.at = latest + b.limiter.ReserveN(when, s.n).DelayFrom(when) + 1
	}
	if now < s.at {
		return 0, s.at
	}
	return min(want, s.n), 0
}

// TakeShare counts n bytes that have passed after AllowShare.
func (b *Bucket) TakeShare(now time.Duration, n int, s *Share) {
	promised := min(n, s.n)
	s.n -= promised
	b.Take(now, n-promised)
}

// least is the least number of bytes that pass at once if so many are wanted. With less, a goroutine would be woken thousands of times a second.
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

// instant is a time in the form that the limiter wants.
func instant(t time.Duration) time.Time { return time.Unix(0, int64(t)) }
