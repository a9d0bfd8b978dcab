package server

import (
	"context"
	"time"
)

// How long the end of a server waits for goroutines that run callbacks.

// grace is the time for which each step of a shutdown whose context has ended waits for callbacks to return, before it counts them as
// blocked. stuckTimeout is the time for which the caller waits for all steps, and again after each end of a connection. Both are times of the
// system's clock: they are for goroutines, which do not run faster or slower on another clock.
const (
	grace        = 250 * time.Millisecond
	stuckTimeout = 2 * time.Second // long enough for a busy machine
)

// awaitEnd waits for the end of a shutdown whose context has ended, as long as connections end.
func (s *Server) awaitEnd(ctx context.Context, ended <-chan error) error {
	for before := s.open.len(); ; {
		passed := time.NewTimer(stuckTimeout)
		select {
		case err := <-ended:
			passed.Stop()
			return err
		case <-passed.C:
		}
		now := s.open.len()
		if now >= before {
			return s.unfinished(ctx)
		}
		before = now
	}
}

// awaitDone waits until done is closed or a value is received from it, but no longer than limit after ctx has ended. It reports whether
// done was closed or had a value. The limit is one of the system's clock, as the deadline of ctx is.
func (s *Server) awaitDone(ctx context.Context, limit time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	passed := time.NewTimer(limit)
	defer passed.Stop()
	select {
	case <-done:
		return true
	case <-passed.C:
	}
	select { // both may have happened
	case <-done:
		return true
	default:
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

// waited returns a channel that is closed when wait returns.
func waited(wait func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	return done
}
