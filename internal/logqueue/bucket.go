package logqueue

import (
	"sync"
	"time"
)

// bucket is a token bucket.
type bucket struct {
	rate, burst float64 // tokens a second, and at most
	now         func() time.Time

	mu     sync.Mutex // guards the fields below
	tokens float64
	last   time.Time // when tokens was last updated
}

// take takes a token, and reports whether there was one.
func (b *bucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// has reports whether there is a token.
func (b *bucket) has() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	return b.tokens >= 1
}

func (b *bucket) fill() {
	now := b.now()
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.last).Seconds())
	b.last = now
}
