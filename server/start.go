package server

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/workpool"
)

// Start checks the configuration and makes the loops and the workers. Serve and ListenAndServe do it too; call it to Listen, Dial
// or Adopt without them. A second Start does nothing. Errors: ErrConfig, which names the field; ErrServerClosed; the
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
	if err := s.configure(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	if err := s.start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	s.state = serverRunning
	return nil
}

// start makes what configure has found to be possible. Under mu.
func (s *Server) start() error {
	for i := range s.loopCount {
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
	s.shaking.limit, s.shaking.running = s.MaxHandshakes, map[*Conn]*list.Element{}
	s.pool = workpool.New(s.Workers, s.Queue)
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

// configure checks the fields and fills in the defaults.
func (s *Server) configure() error {
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"Workers", &s.Workers, DefaultWorkers},
		{"Queue", &s.Queue, DefaultQueue},
		{"AcceptBudget", &s.AcceptBudget, DefaultAcceptBudget},
		{"MaxInput", &s.MaxInput, DefaultMaxInput},
		{"MaxOutput", &s.MaxOutput, DefaultMaxOutput},
		{"MaxHandshakes", &s.MaxHandshakes, DefaultMaxHandshakes},
		{"Loops", &s.Loops, min(runtime.GOMAXPROCS(0), runtime.NumCPU())},
		{"HighWater", &s.HighWater, 0},
		{"LowWater", &s.LowWater, 0},
		{"MaxConns", &s.MaxConns, 0},
	} {
		if *f.value < 0 {
			return fmt.Errorf("%w: %s is %d", ErrConfig, f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	s.loopCount = s.Loops
	if s.MaxBuffered < 0 {
		return fmt.Errorf("%w: MaxBuffered is %d", ErrConfig, s.MaxBuffered)
	}
	if s.MaxBuffered == 0 {
		s.MaxBuffered = DefaultMaxBuffered
	}
	for _, check := range []func() error{s.checkMarks, s.checkChoices, s.checkSocket, s.checkConns, s.checkHandlers, s.checkRates} {
		if err := check(); err != nil {
			return err
		}
	}
	s.limits = Timeouts{Idle: DefaultIdleTimeout, Read: -1, FirstRequest: -1, Write: DefaultWriteTimeout, Close: DefaultCloseTimeout}
	s.limits = *s.timeoutsFrom(Timeouts{s.IdleTimeout, s.ReadTimeout, s.FirstRequestTimeout, s.WriteTimeout, s.CloseTimeout})
	if s.DrainTimeout <= 0 {
		s.DrainTimeout = event.NoTimeout
	}
	if s.HandshakeTimeout == 0 {
		s.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if s.HandshakeTimeout < 0 {
		s.HandshakeTimeout = event.NoTimeout
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.calls == nil {
		s.calls = &sock.Kernel{}
	}
	return nil
}

func (s *Server) checkMarks() error {
	if s.HighWater == 0 {
		s.HighWater = max(1, s.MaxOutput/4)
	}
	if s.LowWater == 0 {
		s.LowWater = s.HighWater / 4
	}
	switch {
	case s.LowWater >= s.HighWater:
		return fmt.Errorf("%w: LowWater is %d, not below HighWater, %d", ErrConfig, s.LowWater, s.HighWater)
	case s.HighWater > s.MaxOutput:
		return fmt.Errorf("%w: HighWater is %d, above MaxOutput, %d", ErrConfig, s.HighWater, s.MaxOutput)
	}
	return nil
}

// maxWorkers bounds Workers: they are goroutines and not a limit, so that Unlimited makes no sense.
const maxWorkers = 1 << 20

func (s *Server) checkChoices() error {
	switch {
	case s.Workers > maxWorkers:
		return fmt.Errorf("%w: Workers is %d, above %d", ErrConfig, s.Workers, maxWorkers)
	case s.Balance > SourceHash:
		return fmt.Errorf("%w: Balance is %d", ErrConfig, s.Balance)
	case s.WhenFull > CloseConn:
		return fmt.Errorf("%w: WhenFull is %d", ErrConfig, s.WhenFull)
	case s.WhenFull == Refuse && s.BusyText == "":
		return fmt.Errorf("%w: WhenFull is Refuse, and BusyText is empty", ErrConfig)
	case s.TLS != nil && !hasCertificate(s.TLS):
		return fmt.Errorf("%w: TLS has no certificate", ErrConfig)
	}
	return nil
}

func (s *Server) checkSocket() error {
	if err := s.socket().Check("tcp"); err != nil { // which has all options
		return fmt.Errorf("%w: Socket: %w", ErrConfig, err)
	}
	return nil
}

// checkConns makes MaxConns fit into what the process may open.
func (s *Server) checkConns() error {
	limit, err := sock.OpenFiles()
	if err != nil {
		return err
	}
	room := int(min(limit, 1<<30))
	s.maxFiles = int64(room / 4)
	most := max(1, room-min(256, max(16, room/16)))
	switch {
	case s.MaxConns == 0:
		s.MaxConns = most
	case s.MaxConns == Unlimited:
	case s.MaxConns > room:
		return fmt.Errorf("%w: MaxConns is %d, and the process may open %d descriptors", ErrConfig, s.MaxConns, room)
	}
	return nil
}

func (s *Server) checkHandlers() error {
	if s.Handler == nil {
		return nil // perhaps each listener brings one; listening without any is an error
	}
	return checkHandler(s.Handler)
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
