package server

import (
	"container/list"
	"context"
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/workpool"
)

// Start checks the configuration and makes the loops and the workers. Serve and ListenAndServe do it too; call it to Listen, Dial
// or AddConn without them. A second Start does nothing. Errors: ErrInvalid, which names the field; ErrServerClosed; the
// system's. Any goroutine.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case serverNew:
	case serverRunning:
		return nil
	default:
		return ErrServerClosed
	}
	cfg, err := s.resolve()
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	s.cfg = cfg
	if s.calls == nil {
		s.calls = &sock.Kernel{}
	}
	if err := s.start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	s.state = serverRunning
	return nil
}

// start makes the loops and the workers. Under mu.
func (s *Server) start() error {
	for i := range s.cfg.NumLoops {
		l, err := s.newLoop(i)
		if err != nil {
			for _, l := range s.loops {
				err = errors.Join(err, l.owner.Close())
			}
			s.loops = nil
			return err
		}
		s.loops = append(s.loops, l)
	}
	if err := s.reserve.open(); err != nil {
		for _, l := range s.loops {
			err = errors.Join(err, l.owner.Close())
		}
		s.loops = nil
		return err
	}
	s.cutCtx, s.cut = context.WithCancelCause(context.Background())
	s.done = make(chan struct{})
	s.listeners = map[*Listener]struct{}{}
	s.packets = map[*PacketConn]struct{}{}
	s.shaking.limit, s.shaking.running = s.cfg.MaxHandshakes, map[*Conn]*list.Element{}
	s.pool = workpool.New(s.cfg.Workers, s.cfg.Queue)
	for _, l := range s.loops {
		s.down.Add(1)
		go l.run()
	}
	return nil
}

// run runs the loop until it is closed.
func (l *loop) run() {
	over := false
	defer func() {
		if v := recover(); v != nil {
			panic(v)
		}
		if over {
			l.srv.down.Done()
			return
		}
		go l.run() // a callback has called runtime.Goexit; the next turn begins with mending what that has cut short
	}()
	err := l.owner.RunForever(context.Background())
	over = true
	if err != nil && !errors.Is(err, event.ErrClosed) {
		// The poller has failed, which it does not do. What depends on this loop cannot go on.
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err))
	}
}

// running says whether the server takes something new.
func (s *Server) running() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runningLocked()
}

func (s *Server) runningLocked() error {
	switch s.state {
	case serverNew:
		return ErrNotStarted
	case serverRunning:
		return nil
	}
	return ErrServerClosed
}
