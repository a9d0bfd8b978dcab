package event

import "time"

// Clock tells a loop the time and wakes it when some has passed. Both methods may be called from any goroutine.
type Clock interface {
	// Now is the time since some fixed moment. It never goes back.
	Now() time.Duration
	// AfterFunc calls f once, from a goroutine of the clock's choice, when d has passed, never earlier and never from
	// within AfterFunc or Reset themselves.
	AfterFunc(d time.Duration, f func()) ClockTimer
}

// ClockTimer is one call that a Clock has pending. *time.Timer is one.
type ClockTimer interface {
	// Reset makes the call happen when d has passed from now, pending or not. A call already under way goes on.
	Reset(d time.Duration) bool
	// Stop cancels a pending call.
	Stop() bool
}

// epoch is what the system's clock counts from; the reading of its monotonic part is what matters.
var epoch = time.Now()

type systemClock struct{}

func (systemClock) Now() time.Duration { return time.Since(epoch) }

func (systemClock) AfterFunc(d time.Duration, f func()) ClockTimer { return time.AfterFunc(d, f) }
