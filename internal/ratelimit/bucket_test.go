package ratelimit_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evmq/evmq/internal/ratelimit"
)

const second = time.Second

// A nil bucket, which is that of rate 0, allows everything.
func TestNoRateIsNoLimit(t *testing.T) {
	b := ratelimit.New(0, 0)
	var s ratelimit.Share
	b.Take(0, 1<<30)
	b.TakeShare(0, 1<<30, &s)
	if n, at := b.Allow(0, 1<<30); n != 1<<30 || at != 0 {
		t.Errorf("%d bytes at %v", n, at)
	}
	if n, at := b.AllowShare(0, 1<<30, &s); n != 1<<30 || at != 0 {
		t.Errorf("a share of %d bytes at %v", n, at)
	}
}

// Burst 0 is a tenth of a second, and 64 bytes at least.
func TestBurstZeroIsATenthOfASecond(t *testing.T) {
	for bytesPerSecond, burst := range map[float64]int{1: 64, 640: 64, 10_000: 1000, 1e15: 1 << 30} {
		if n, _ := ratelimit.New(bytesPerSecond, 0).Allow(0, math.MaxInt32); n != burst {
			t.Errorf("at %v bytes a second %d pass at once, want %d", bytesPerSecond, n, burst)
		}
	}
}

// An empty bucket allows bytes again when an eighth of the burst has come in, or all that is wanted if that is less.
func TestAnEmptyBucketAllowsAnEighthOfTheBurst(t *testing.T) {
	for want, wait := range map[int]time.Duration{10_000: 100 * time.Millisecond, 100: 100 * time.Millisecond, 50: 50 * time.Millisecond} {
		b := ratelimit.New(1000, 800)
		b.Take(second, 800)
		n, at := b.Allow(second, want)
		if n != 0 || at < second+wait || at > second+wait+time.Millisecond {
			t.Errorf("of %d bytes %d are allowed, or some at %v; want them %v later", want, n, at, wait)
		}
		if n, _ := b.Allow(at, want); n < min(want, 100) {
			t.Errorf("of %d bytes %d are allowed at the time that was told", want, n)
		}
	}
}

// Shares count from the latest time of all goroutines, also those of a goroutine whose clock is behind.
func TestAGoroutineThatIsBehindHasItsShareNoEarlier(t *testing.T) {
	b := ratelimit.New(1000, 800)
	const ahead, behind = 10 * second, 9 * second
	var first, other, another ratelimit.Share
	if n, _ := b.AllowShare(ahead, 1000, &first); n != 800 {
		t.Fatalf("%d bytes may pass at first, want the burst, 800", n)
	}
	b.TakeShare(ahead, 800, &first)
	for i, s := range []*ratelimit.Share{&other, &another} { // an eighth of the burst each, which comes in within 100 ms
		want := ahead + time.Duration(i+1)*100*time.Millisecond
		if n, at := b.AllowShare(behind, 1000, s); n != 0 || at < want || at > want+time.Millisecond {
			t.Errorf("share %d: %d bytes now, or at %v; want none before %v", i, n, at, want)
		}
	}
}

// Connections that share a bucket and always want more pass in turn, the burst and the rate together at most, and each proceeds.
func TestSharesPassTheRateInTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		conns := rapid.IntRange(1, 20).Draw(t, "connections")
		bytesPerSecond := rapid.Float64Range(1000, 1e6).Draw(t, "rate")
		burst := rapid.IntRange(ratelimit.MinBurst, 100_000).Draw(t, "burst")
		b := ratelimit.New(bytesPerSecond, burst)
		shares, passed := make([]ratelimit.Share, conns), make([]int, conns)
		next := make([]time.Duration, conns) // when each asks
		sum := 0
		now := time.Duration(0)
		rounds := conns * rapid.IntRange(10, 50).Draw(t, "rounds")
		for range rounds {
			i := 0
			for j := range next {
				if next[j] < next[i] {
					i = j
				}
			}
			now = max(now, next[i])
			n, at := b.AllowShare(now, 1<<20, &shares[i])
			if n == 0 {
				if at <= now {
					t.Fatalf("connection %d is told to ask at %v, and it is %v", i, at, now)
				}
				next[i] = at
				continue
			}
			b.TakeShare(now, n, &shares[i])
			passed[i] += n
			sum += n
			next[i] = now + 1
			if most := float64(burst) + bytesPerSecond*now.Seconds() + 1; float64(sum) > most {
				t.Fatalf("%d bytes have passed by %v, at most %.0f may", sum, now, most)
			}
		}
		for i, n := range passed {
			if n == 0 && rounds >= 10*conns {
				t.Errorf("connection %d of %d has not passed a byte in %d rounds", i, conns, rounds)
			}
		}
	})
}

// A caller that knows what it will use reserves no more.
func TestAShareThatWouldBeReservedIsAnnounced(t *testing.T) {
	b := ratelimit.New(1000, 800)
	var s ratelimit.Share
	if b.Reserves(0, 800, &s) {
		t.Error("a full bucket reserves")
	}
	b.Take(0, 800)
	if !b.Reserves(0, 800, &s) {
		t.Error("an empty bucket does not reserve")
	}
	if _, at := b.AllowShare(0, 10, &s); at > second/100+1 {
		t.Errorf("10 bytes wait until %v", at)
	}
	if b.Reserves(0, 800, &s) {
		t.Error("a second share is reserved")
	}
	var none *ratelimit.Bucket
	if none.Reserves(0, 800, new(ratelimit.Share)) {
		t.Error("no bucket reserves")
	}
}
