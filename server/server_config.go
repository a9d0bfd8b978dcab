package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// config is a Server's fields as Start has found them, with the defaults filled in. The fields of the Server itself are not written to, and
// not read after Start. See there for the meaning of each.
type config struct {
	Handler                                     Handler
	PacketHandler                               PacketHandler
	NumLoops                                    int
	LoopConfig                                  *event.Config
	UseLoops                                    []*event.Loop
	Balance                                     Balance
	PickLoop                                    func(peer net.Addr, loops int) int
	ReusePort                                   bool
	Workers, Queue                              int
	WhenFull                                    FullPolicy
	BusyText                                    string
	MaxConns, AcceptBudget, MaxInput, MaxOutput int
	HighWater, LowWater                         int
	MaxBuffered                                 int64
	DrainTimeout, HandshakeTimeout              time.Duration
	TLS                                         *tls.Config
	MaxHandshakes                               int
	ProxyProtocol                               bool
	ReadLimit, WriteLimit                       RateLimit
	RateGroup                                   *RateGroup
	Socket                                      SocketOptions
	ListenConfig                                net.ListenConfig
	OnReject                                    func(c *Conn, reason error)
	OnPanic                                     func(c *Conn, v any, stack []byte)
	Logger                                      *slog.Logger

	timeouts Timeouts // event.NoTimeout for none
	maxFiles int64    // files that may wait to be sent beside the first of each connection, and the limit of attempts to connect
}

// resolve returns the configuration with its defaults. Errors: ErrInvalid, which names the field; the system's.
func (s *Server) resolve() (*config, error) {
	cfg := &config{
		Handler: s.Handler, PacketHandler: s.PacketHandler, NumLoops: s.NumLoops, LoopConfig: s.LoopConfig, UseLoops: s.UseLoops, Balance: s.Balance, PickLoop: s.PickLoop, ReusePort: s.ReusePort,
		Workers: s.Workers, Queue: s.Queue, WhenFull: s.WhenFull, BusyText: s.BusyText,
		MaxConns: s.MaxConns, AcceptBudget: s.AcceptBudget, MaxInput: s.MaxInput, MaxOutput: s.MaxOutput,
		HighWater: s.HighWater, LowWater: s.LowWater, MaxBuffered: s.MaxBuffered,
		DrainTimeout: s.DrainTimeout, HandshakeTimeout: s.HandshakeTimeout, TLS: s.TLS, MaxHandshakes: s.MaxHandshakes,
		ProxyProtocol: s.ProxyProtocol, ReadLimit: s.ReadLimit, WriteLimit: s.WriteLimit, RateGroup: s.RateGroup,
		Socket: s.Socket, ListenConfig: s.ListenConfig, OnReject: s.OnReject, OnPanic: s.OnPanic, Logger: s.Logger,
	}
	if err := cfg.checkLoops(); err != nil {
		return nil, err
	}
	if err := cfg.resolveNumbers(); err != nil {
		return nil, err
	}
	cfg.timeouts = Timeouts{Idle: DefaultIdleTimeout, Read: -1, FirstRequest: -1, Write: DefaultWriteTimeout, Close: DefaultCloseTimeout}
	cfg.timeouts = *cfg.timeoutsFrom(Timeouts{s.IdleTimeout, s.ReadTimeout, s.FirstRequestTimeout, s.WriteTimeout, s.CloseTimeout})
	if cfg.DrainTimeout <= 0 {
		cfg.DrainTimeout = event.NoTimeout
	}
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if cfg.HandshakeTimeout < 0 {
		cfg.HandshakeTimeout = event.NoTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	for _, check := range []func() error{cfg.resolveMarks, cfg.checkChoices, cfg.checkSocket, cfg.resolveConns, cfg.checkHandler, cfg.checkRates} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// resolveNumbers checks the limits and fills in those that do not depend on others.
func (cfg *config) resolveNumbers() error {
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"Workers", &cfg.Workers, DefaultWorkers},
		{"Queue", &cfg.Queue, DefaultQueue},
		{"AcceptBudget", &cfg.AcceptBudget, DefaultAcceptBudget},
		{"MaxInput", &cfg.MaxInput, DefaultMaxInput},
		{"MaxOutput", &cfg.MaxOutput, DefaultMaxOutput},
		{"MaxHandshakes", &cfg.MaxHandshakes, DefaultMaxHandshakes},
		{"NumLoops", &cfg.NumLoops, min(runtime.GOMAXPROCS(0), runtime.NumCPU())},
		{"HighWater", &cfg.HighWater, 0},
		{"LowWater", &cfg.LowWater, 0},
		{"MaxConns", &cfg.MaxConns, 0},
	} {
		if *f.value < 0 {
			return fmt.Errorf("%w: %s is %d", ErrInvalid, f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	if cfg.MaxBuffered < 0 {
		return fmt.Errorf("%w: MaxBuffered is %d", ErrInvalid, cfg.MaxBuffered)
	}
	if cfg.MaxBuffered == 0 {
		cfg.MaxBuffered = DefaultMaxBuffered
	}
	return nil
}

// resolveMarks fills in the marks, which depend on MaxOutput.
func (cfg *config) resolveMarks() error {
	if cfg.HighWater == 0 {
		cfg.HighWater = max(1, cfg.MaxOutput/4)
	}
	if cfg.LowWater == 0 {
		cfg.LowWater = cfg.HighWater / 4
	}
	switch {
	case cfg.LowWater >= cfg.HighWater:
		return fmt.Errorf("%w: LowWater is %d, not below HighWater, %d", ErrInvalid, cfg.LowWater, cfg.HighWater)
	case cfg.HighWater > cfg.MaxOutput:
		return fmt.Errorf("%w: HighWater is %d, above MaxOutput, %d", ErrInvalid, cfg.HighWater, cfg.MaxOutput)
	}
	return nil
}

// maxWorkers bounds Workers: they are goroutines and not a limit, so that Unlimited makes no sense.
const maxWorkers = 1 << 20

func (cfg *config) checkChoices() error {
	switch {
	case cfg.Workers > maxWorkers:
		return fmt.Errorf("%w: Workers is %d, above %d", ErrInvalid, cfg.Workers, maxWorkers)
	case cfg.Balance > BalanceSourceHash:
		return fmt.Errorf("%w: Balance is %d", ErrInvalid, cfg.Balance)
	case cfg.WhenFull > FullCloseConn:
		return fmt.Errorf("%w: WhenFull is %d", ErrInvalid, cfg.WhenFull)
	case cfg.WhenFull == FullRefuse && cfg.BusyText == "":
		return fmt.Errorf("%w: WhenFull is FullRefuse, and BusyText is empty", ErrInvalid)
	case cfg.TLS != nil && !hasCertificate(cfg.TLS):
		return fmt.Errorf("%w: TLS has no certificate", ErrInvalid)
	}
	return nil
}

func (cfg *config) checkSocket() error {
	if err := cfg.socket().Check("tcp"); err != nil { // which has all options
		return fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	}
	return nil
}

// resolveConns makes MaxConns fit into what the process may open.
func (cfg *config) resolveConns() error {
	limit, err := sock.OpenFiles()
	if err != nil {
		return err
	}
	room := int(min(limit, 1<<30))
	cfg.maxFiles = int64(room / 4)
	most := max(1, room-min(256, max(16, room/16)))
	switch {
	case cfg.MaxConns == 0:
		cfg.MaxConns = most
	case cfg.MaxConns == Unlimited:
	case cfg.MaxConns > room:
		return fmt.Errorf("%w: MaxConns is %d, and the process may open %d descriptors", ErrInvalid, cfg.MaxConns, room)
	}
	return nil
}

func (cfg *config) checkHandler() error {
	if cfg.Handler == nil {
		return nil // perhaps each listener brings one; listening without any is an error
	}
	return checkHandler(cfg.Handler)
}
