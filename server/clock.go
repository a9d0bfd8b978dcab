package server

import (
	"context"
	"time"

	"github.com/evmq/evmq/event"
)

// systemClock is the clock of a server whose LoopConfig has none.
type systemClock struct{}

// clockOrigin is the origin of systemClock. Only its monotonic reading is used.
var clockOrigin = time.Now()

// Now implements event.Clock.
func (systemClock) Now() time.Duration { return time.Since(clockOrigin) }

// AfterFunc implements event.Clock.
func (systemClock) AfterFunc(d time.Duration, f func()) event.ClockTimer { return time.AfterFunc(d, f) }

// clock returns the clock of the server's own loops, for the deadlines that no loop times. With UseLoops it is the system's clock.
func (c *config) clock() event.Clock {
	if c.LoopConfig != nil && c.LoopConfig.Clock != nil {
		return c.LoopConfig.Clock
	}
	return systemClock{}
}

// after returns a channel that is closed when d has passed on the clock; stop releases the timer.
func after(clock event.Clock, d time.Duration) (passed <-chan struct{}, stop func() bool) {
	done := make(chan struct{})
	return done, clock.AfterFunc(d, func() { close(done) }).Stop
}

// awaitDone waits until done is closed or a value is received from it, but no longer than limit after ctx has ended. It reports whether
// done was closed or had a value.
func (s *Server) awaitDone(ctx context.Context, limit time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	passed, stop := after(s.cfg.clock(), limit)
	defer stop()
	select {
	case <-done:
		return true
	case <-passed:
		return false
	}
}

// awaitAll is awaitDone for n values.
func (s *Server) awaitAll(ctx context.Context, limit time.Duration, done <-chan struct{}, n int) {
	for range n {
		if !s.awaitDone(ctx, limit, done) {
			return
		}
	}
}
