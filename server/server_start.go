package server

import (
	"container/list"
	"context"
	"errors"
	"fmt"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/workpool"
)

// Start checks the configuration and starts the loops and the workers. Serve, ListenAndServe, Listen, AddListener, ListenPacket and
// AddPacketConn call it; a program calls it to use Dial, AddConn or Loops before these. Once the server runs, a further Start does
// nothing and returns nil. After an error the fields may be changed and Start called again.
//
// Errors: ErrInvalid, with a text that names the field; ErrLoopClosed if a loop of UseLoops is closed; ErrServerClosed after Shutdown or
// Close; the system's. Any goroutine.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case serverNew:
	case serverRunning:
		return nil
	default:
		return fmt.Errorf("start server: %w", ErrServerClosed)
	}
	if err := s.prepare(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	for _, l := range s.loops {
		l.start()
	}
	s.state = serverRunning
	return nil
}

// prepare resolves the configuration and makes the loops and the workers. Under mu.
func (s *Server) prepare() (err error) {
	if s.cfg, err = s.resolve(); err != nil {
		return err
	}
	if s.calls == nil {
		s.calls = &sock.Kernel{}
	}
	s.makeExecutors()
	if err = s.makeLoops(); err != nil {
		return err
	}
	if err = s.reserve.open(); err != nil {
		return errors.Join(err, s.discardLoops())
	}
	s.baseCtx, s.cancelBase = context.WithCancelCause(context.Background())
	s.done = make(chan struct{})
	s.listeners = map[*Listener]struct{}{}
	s.packets = map[*PacketConn]struct{}{}
	s.handshakes.limit, s.handshakes.clock, s.handshakes.running = s.cfg.MaxHandshakes, s.clock(), map[*Conn]*list.Element{}
	s.pool = workpool.New[Job](s.cfg.Workers, s.cfg.Queue)
	*s.own = Pool{pool: s.pool, workers: s.cfg.Workers}
	if len(s.cfg.UseLoops) > 0 {
		loops := s.loops
		s.programLoops.Store(&loops)
	}
	return nil
}

// runningLocked returns nil if the server is running, ErrNotStarted before Start, and ErrServerClosed afterwards. Under mu.
func (s *Server) runningLocked() error {
	switch s.state {
	case serverNew:
		return ErrNotStarted
	case serverRunning:
		return nil
	}
	return ErrServerClosed
}
