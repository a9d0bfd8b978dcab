package server

import (
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
)

// nextLoop returns the loops in turn.
func (s *Server) nextLoop() *loop { return s.loops[int(s.next.Add(1)-1)%len(s.loops)] }

// listenerLoop returns the loop that accepts for a listener that has one socket.
func (s *Server) listenerLoop() *loop { return s.loops[0] }

// closedError returns err, and ErrServerClosed in place of an error that says that the loop is closed.
func (l *loop) closedError(err error) error {
	if errors.Is(err, event.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrServerClosed, err)
	}
	return err
}
