package server

import (
	"fmt"

	"github.com/evmq/evmq/internal/ratelimit"
)

// A RateLimit is a token bucket of bytes: BytesPerSecond on average, and at most Burst at once. The zero value means no limit. A
// connection that has used up its tokens continues when an eighth of the burst, and at least 64 bytes, has been refilled.
type RateLimit struct {
	BytesPerSecond float64 // 0 means no limit; a negative value, or one above 1e15, is an error
	Burst          int     // in bytes; 0 means a tenth of BytesPerSecond, at least 64; any other value below 64 is an error
}

// A RateGroup limits the connections of one or more servers together. A connection that finds the bucket empty is assigned the bytes that
// it has to read or write, up to an eighth of the burst or 64 bytes, whichever is more. It is served after the connections that came
// before it, so that each of them makes progress. The servers of a group must have the same clock; see event.Config.
type RateGroup struct {
	read, write *ratelimit.Bucket
}

// NewRateGroup makes a group with a limit for reading and one for writing. Errors: ErrInvalid. Any goroutine.
func NewRateGroup(read, write RateLimit) (*RateGroup, error) {
	if err := read.check("read limit"); err != nil {
		return nil, fmt.Errorf("new rate group: %w", err)
	}
	if err := write.check("write limit"); err != nil {
		return nil, fmt.Errorf("new rate group: %w", err)
	}
	return &RateGroup{read.bucket(), write.bucket()}, nil
}

// check returns an error that begins with the name if the limit is invalid.
func (r RateLimit) check(name string) error {
	switch {
	case !(r.BytesPerSecond >= 0) || r.BytesPerSecond > 1e15: // NaN too
		return fmt.Errorf("%w: %s is %v bytes per second", ErrInvalid, name, r.BytesPerSecond)
	case r.Burst < 0 || r.Burst > 0 && r.Burst < ratelimit.MinBurst:
		return fmt.Errorf("%w: %s has a burst of %d bytes, the least is %d", ErrInvalid, name, r.Burst, ratelimit.MinBurst)
	case r.Burst > 0 && r.BytesPerSecond == 0:
		return fmt.Errorf("%w: %s has a burst and no rate", ErrInvalid, name)
	}
	return nil
}

// bucket returns a full bucket, or nil if there is no limit.
func (r RateLimit) bucket() *ratelimit.Bucket { return ratelimit.New(r.BytesPerSecond, r.Burst) }

// checkRates checks the fields that limit rates.
func (cfg *config) checkRates() error {
	if err := cfg.ReadLimit.check("ReadLimit"); err != nil {
		return err
	}
	return cfg.WriteLimit.check("WriteLimit")
}

// limited reports whether any rate is limited.
func (cfg *config) limited() bool {
	return cfg.ReadLimit.BytesPerSecond > 0 || cfg.WriteLimit.BytesPerSecond > 0 || cfg.RateGroup != nil
}
