package server

import (
	"time"

	"github.com/evmq/evmq/event"
)

// clock returns the clock of the loops, for the deadlines of peers that no loop times, and for the pauses of listeners. If loops of UseLoops
// have different clocks, it is that of the first loop. At its end the server waits for callbacks by the system's clock, since a clock of
// the program may stand still; see shutdown_wait.go. After Start.
func (s *Server) clock() event.Clock { return s.loops[0].ev.Clock() }

// after returns a channel that is closed when d has passed on the clock; stop releases the timer.
func after(clock event.Clock, d time.Duration) (passed <-chan struct{}, stop func() bool) {
	done := make(chan struct{})
	return done, clock.AfterFunc(d, func() { close(done) }).Stop
}
