package server

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/evmq/evmq/event"
)

// Loops returns the event loops of the server, in the order of their numbers. Before Start it returns nil. The slice is the caller's.
// Users may add timers, posts and events to the loops. Unless the loops are those of UseLoops, the server alone runs and ends them: a
// call of Run, Break, Exit or Close is refused with event.ErrOwned. Any goroutine.
func (s *Server) Loops() []*event.Loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	var loops []*event.Loop
	for _, l := range s.loops {
		loops = append(loops, l.ev)
	}
	return loops
}

// Loop returns the event loop with the number i, counted from 0. It returns nil before Start, and if there is no such loop. See Loops.
// Any goroutine.
func (s *Server) Loop(i int) *event.Loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < 0 || i >= len(s.loops) {
		return nil
	}
	return s.loops[i].ev
}

// checkLoops checks UseLoops and replaces it with a copy.
func (cfg *config) checkLoops() error {
	if len(cfg.UseLoops) == 0 {
		return nil
	}
	switch {
	case cfg.NumLoops != 0 && cfg.NumLoops != len(cfg.UseLoops):
		return fmt.Errorf("%w: NumLoops is %d, and UseLoops has %d loops", ErrInvalid, cfg.NumLoops, len(cfg.UseLoops))
	case cfg.LoopConfig != nil:
		return fmt.Errorf("%w: LoopConfig is set, and so is UseLoops", ErrInvalid)
	}
	for i, ev := range cfg.UseLoops {
		if ev == nil {
			return fmt.Errorf("%w: UseLoops[%d] is nil", ErrInvalid, i)
		}
		if first := slices.Index(cfg.UseLoops, ev); first != i {
			return fmt.Errorf("%w: UseLoops[%d] is the same loop as UseLoops[%d]", ErrInvalid, i, first)
		}
	}
	cfg.UseLoops = slices.Clone(cfg.UseLoops)
	cfg.NumLoops = len(cfg.UseLoops)
	return nil
}

// makeLoops makes all loops. If one fails, it discards the others.
func (s *Server) makeLoops() error {
	for i := range s.cfg.NumLoops {
		l, err := s.newLoop(i)
		if err != nil {
			return errors.Join(err, s.discardLoops())
		}
		s.loops = append(s.loops, l)
	}
	return nil
}

// discardLoops discards loops that have not run: it closes the server's own, and removes the server from those of UseLoops.
func (s *Server) discardLoops() (err error) {
	for _, l := range s.loops {
		err = errors.Join(err, l.discard())
	}
	s.loops = nil
	return err
}

// loopLogger returns the Logger of the server's own loops.
func (s *Server) loopLogger() *slog.Logger {
	if c := s.cfg.LoopConfig; c != nil && c.Logger != nil {
		return c.Logger
	}
	return s.cfg.Logger
}

// nextLoop returns the next loop in turn that has not ended.
func (s *Server) nextLoop() *loop {
	n := len(s.loops)
	first := int(s.next.Add(1)-1) % n
	for i := range n {
		if l := s.loops[(first+i)%n]; !l.ended.Load() {
			return l
		}
	}
	return s.loops[first] // all have ended; calls on it fail
}

// listenerLoop returns the loop that accepts for a listener with one socket: the first one that has not ended.
func (s *Server) listenerLoop() *loop {
	for _, l := range s.loops {
		if !l.ended.Load() {
			return l
		}
	}
	return s.loops[0]
}

// offLoops returns event.ErrOnLoop if it is called on one of the loops, where a call that waits for the loop would not return.
func (s *Server) offLoops() error {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		if l.ev.OnLoop() {
			return event.ErrOnLoop
		}
	}
	return nil
}
