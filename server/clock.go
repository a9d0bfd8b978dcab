package server

import (
	"context"
	"time"

	"github.com/evmq/evmq/event"
)

// clock returns the clock of the loops, for the deadlines that no loop times. If loops of UseLoops have different clocks, it is that of the
// first loop. After Start.
func (s *Server) clock() event.Clock { return s.loops[0].ev.Clock() }

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
	passed, stop := after(s.clock(), limit)
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
