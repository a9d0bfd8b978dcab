package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"runtime"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// A config is the copy of the fields of a Server that Start makes, with the defaults filled in. No limit is stored as the largest integer.
// The fields of the Server are not written to, and not read after Start. See Server for the meaning of each.
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
	Executors                                   map[string]Executor
	QueueTimeout                                time.Duration
	WhenFull                                    FullPolicy
	BusyText                                    string
	MaxConns, AcceptBudget, MaxInput, MaxOutput int
	HighWater, LowWater                         int
	MaxBuffered                                 int64
	DrainTimeout, HandshakeTimeout              time.Duration
	ReplyTimeout                                time.Duration
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

	timeouts Timeouts // event.NoTimeout means no deadline
	maxFiles int64    // limits the files that wait to be sent, and the attempts to connect, except the first of each connection
}

// resolve returns the configuration with its defaults. Errors: ErrInvalid, which names the field; the system's.
func (s *Server) resolve() (*config, error) {
	cfg := &config{
		Handler: s.Handler, PacketHandler: s.PacketHandler, NumLoops: s.NumLoops, LoopConfig: s.LoopConfig, UseLoops: s.UseLoops,
		Balance: s.Balance, PickLoop: s.PickLoop, ReusePort: s.ReusePort,
		Workers: s.Workers, Queue: s.Queue, Executors: maps.Clone(s.Executors), QueueTimeout: s.QueueTimeout, WhenFull: s.WhenFull, BusyText: s.BusyText,
		MaxConns: s.MaxConns, AcceptBudget: s.AcceptBudget, MaxInput: s.MaxInput, MaxOutput: s.MaxOutput,
		HighWater: s.HighWater, LowWater: s.LowWater, MaxBuffered: s.MaxBuffered,
		DrainTimeout: s.DrainTimeout, HandshakeTimeout: s.HandshakeTimeout, ReplyTimeout: s.ReplyTimeout, TLS: s.TLS, MaxHandshakes: s.MaxHandshakes,
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
	cfg.timeouts = cfg.timeoutsFrom(Timeouts{s.IdleTimeout, s.ReadTimeout, s.FirstRequestTimeout, s.WriteTimeout, s.CloseTimeout})
	if cfg.DrainTimeout <= 0 {
		cfg.DrainTimeout = event.NoTimeout
	}
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if cfg.HandshakeTimeout < 0 {
		cfg.HandshakeTimeout = event.NoTimeout
	}
	if cfg.ReplyTimeout == 0 {
		cfg.ReplyTimeout = DefaultReplyTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	for _, check := range []func() error{cfg.resolveMarks, cfg.checkChoices, cfg.checkSocket, cfg.resolveConns, cfg.checkExecutors, cfg.checkHandler, cfg.checkRates} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// resolveNumbers checks the numbers and fills in the defaults that do not depend on other fields.
func (cfg *config) resolveNumbers() error {
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
		limits   bool // a negative value means no limit
	}{
		{"Workers", &cfg.Workers, DefaultWorkers, false},
		{"NumLoops", &cfg.NumLoops, min(runtime.GOMAXPROCS(0), runtime.NumCPU()), false},
		{"LowWater", &cfg.LowWater, 0, false},
		{"Queue", &cfg.Queue, DefaultQueue, true},
		{"AcceptBudget", &cfg.AcceptBudget, DefaultAcceptBudget, true},
		{"MaxInput", &cfg.MaxInput, DefaultMaxInput, true},
		{"MaxOutput", &cfg.MaxOutput, DefaultMaxOutput, true},
		{"MaxHandshakes", &cfg.MaxHandshakes, DefaultMaxHandshakes, true},
		{"MaxConns", &cfg.MaxConns, 0, true},
	} {
		switch {
		case *f.value == 0:
			*f.value = f.fallback
		case *f.value < 0 && f.limits:
			*f.value = math.MaxInt
		case *f.value < 0:
			return fmt.Errorf("%w: %s is %d", ErrInvalid, f.name, *f.value)
		}
	}
	switch {
	case cfg.MaxBuffered == 0:
		cfg.MaxBuffered = DefaultMaxBuffered
	case cfg.MaxBuffered < 0:
		cfg.MaxBuffered = math.MaxInt64
	}
	return nil
}

// resolveMarks fills in HighWater and LowWater, which depend on MaxOutput.
func (cfg *config) resolveMarks() error {
	switch {
	case cfg.HighWater == 0:
		cfg.HighWater = max(1, cfg.MaxOutput/4)
	case cfg.HighWater < 0:
		cfg.HighWater = cfg.MaxOutput
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

// maxWorkers is the largest value of Workers.
const maxWorkers = 1 << 20

// checkChoices checks the fields that have a fixed set of values or depend on each other, and the largest value of Workers.
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
	if err := cfg.socket().Check("tcp"); err != nil { // TCP has all options
		return fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	}
	return nil
}

// resolveConns sets or checks MaxConns, and checks NumLoops, against the number of descriptors that the process may open.
func (cfg *config) resolveConns() error {
	limit, err := sock.OpenFiles()
	if err != nil {
		return err
	}
	room := int(min(limit, 1<<30))
	cfg.maxFiles = int64(room / 4)
	most := max(1, room-min(256, max(16, room/16)))
	switch {
	case cfg.NumLoops > room: // before the loops are made, which would use all descriptors of the process
		return fmt.Errorf("%w: NumLoops is %d, and the process may open %d descriptors", ErrInvalid, cfg.NumLoops, room)
	case cfg.MaxConns == 0:
		cfg.MaxConns = most
	case cfg.MaxConns == math.MaxInt: // no limit
	case cfg.MaxConns > room:
		return fmt.Errorf("%w: MaxConns is %d, and the process may open %d descriptors", ErrInvalid, cfg.MaxConns, room)
	}
	return nil
}

// checkHandler checks the Handler of the server.
func (cfg *config) checkHandler() error {
	if cfg.Handler == nil {
		return nil // each ListenerConfig may have one
	}
	return cfg.checkChain(cfg.Handler)
}

// timeoutsFrom returns t with the server's values for fields that are 0, and event.NoTimeout for negative ones.
func (cfg *config) timeoutsFrom(t Timeouts) Timeouts {
	or := func(d, fallback time.Duration) time.Duration {
		if d == 0 {
			d = fallback
		}
		if d < 0 {
			return event.NoTimeout
		}
		return d
	}
	return Timeouts{
		Idle: or(t.Idle, cfg.timeouts.Idle), Read: or(t.Read, cfg.timeouts.Read), FirstRequest: or(t.FirstRequest, cfg.timeouts.FirstRequest),
		Write: or(t.Write, cfg.timeouts.Write), Close: or(t.Close, cfg.timeouts.Close),
	}
}
