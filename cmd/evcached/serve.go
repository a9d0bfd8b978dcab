//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/evmq/evmq/internal/logqueue"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// program is the state of the running program.
type program struct {
	*settings
	log     *slog.Logger
	logs    *logqueue.Handler // the handler of log
	signals chan os.Signal
	asked   chan ending // the shutdown command was given
	sockets sockets
	items   *memoryFile // with -e
	cache   *memcache.Cache
	servers []*server.Server
	certs   *certificates // with TLS
	gate    *gate         // with no_maxconns_fast
	reloads []reloader
	stopAt  time.Time // when the stop began; zero: it has not
}

// A reloader reads its files again on SIGHUP.
type reloader interface{ Reload() error }

// tooMany is memcached's answer to connections above -c.
const tooMany = "ERROR Too many open connections\r\n"

// closeTimeout is the time in which a client that has sent quit must read its last answers and close its end.
const closeTimeout = 10 * time.Second

// serve runs the server until a signal or the shutdown command ends it. ready is called when it listens.
func serve(s *settings, stderr io.Writer, ready func() error) error {
	p := &program{settings: s, signals: make(chan os.Signal, 8), asked: make(chan ending, 1)}
	p.logs = logqueue.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}), logqueue.Config{}) // the cache filters by -v
	p.log = slog.New(p.logs)
	defer p.logged(p.logs.Close)
	// First of all, and until the process ends: an early signal ends the program in order, and a late one does not change its status. A
	// closed pipe on standard error does not end the program.
	signal.Notify(p.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	switch err := p.startUnlessStopped(); {
	case errors.Is(err, errStartHangs):
		return nil // start is still running; the end of the process releases what it has opened
	case errors.Is(err, errStopped):
		return p.end()
	case err != nil:
		return errors.Join(err, p.end())
	}
	err := writePID(s.pidFile)
	if err == nil {
		p.logged(p.logs.Flush) // so that a daemon's parent prints it
		if err = ready(); err == nil {
			p.logInfo("ready", "process", os.Getpid())
			if p.items != nil {
				p.items.owed = false
			}
			p.announce(stateReady)
			err = p.untilStopped()
		}
		err = errors.Join(err, removePID(s.pidFile))
	}
	return errors.Join(err, p.end())
}

// logTimeout is the time for which the program waits for log lines to be written to standard error. A stop that has used most
// of its time waits for minLogTimeout.
const (
	logTimeout    = time.Second
	minLogTimeout = 50 * time.Millisecond
)

// logTime returns the time for which to wait for the log at a moment, so that a stop stays within its time.
func (p *program) logTime(now time.Time) time.Duration {
	if p.stopAt.IsZero() {
		return logTimeout
	}
	return max(minLogTimeout, stopGrace-now.Sub(p.stopAt))
}

// logged waits, by Flush or Close, until the log is written, but at most logTimeout: standard error may be a pipe that is not read.
func (p *program) logged(wait func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.logTime(time.Now()))
	defer cancel()
	_ = wait(ctx) // an error could be reported nowhere else
}

// start opens all files and sockets, and makes the cache and the servers. Steps that need root come before the change of user: limits, private
// keys, ports below 1024. With -e the items are loaded before the sockets are opened, if -u allows it, so that clients use other servers meanwhile.
func (p *program) start(ctx context.Context) error {
	steps := []func(context.Context) error{p.raiseFiles, p.loadFiles, p.openSockets, p.writePorts, p.becomeUser, p.makeCache, p.loadItems, p.openUnix, p.takeItemsAway}
	if p.memoryFile != "" && len(p.passed) == 0 && !p.portsNeedRoot() {
		steps = []func(context.Context) error{p.raiseFiles, p.loadFiles, p.becomeUser, p.makeCache, p.loadItems, p.openSockets, p.writePorts, p.openUnix, p.takeItemsAway}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return p.startServers()
}

func (p *program) raiseFiles(context.Context) error      { return raiseFiles(p.conns, p.loops) }
func (p *program) becomeUser(context.Context) error      { return p.become() }
func (p *program) openSockets(ctx context.Context) error { return p.sockets.open(ctx, p.settings) }

// writePorts writes the file of MEMCACHED_PORT_FILENAME. As in memcached, an error does not end the start.
func (p *program) writePorts(context.Context) error {
	if err := writePorts(&p.sockets); err != nil {
		p.log.Error("cannot write the ports", "err", err)
	}
	return nil
}

func (p *program) openUnix(context.Context) error { return p.sockets.openUnix(p.settings) }

// loadFiles reads the users and the certificates, which SIGHUP has read again.
func (p *program) loadFiles(context.Context) error {
	if p.authFile != "" {
		users, err := memcache.LoadUsers(p.authFile)
		if err != nil {
			return illegal("-Y: %w", err)
		}
		p.config.Users = users
		p.reloads = append(p.reloads, users)
	}
	if p.tls.on {
		certs, err := loadCertificates(p.tls)
		if err != nil {
			return usage("-Z: %w", err)
		}
		p.certs = certs
		p.reloads = append(p.reloads, certs)
	}
	return nil
}

// makeCache makes the cache, on as many processors as -t says.
func (p *program) makeCache(context.Context) (err error) {
	limitProcessors(p.loops)
	c := p.config
	c.Logger, c.Settings = p.log, p.report()
	if p.shutdown {
		c.Shutdown = func(graceful bool) { p.ask(ending{why: "the shutdown command", graceful: graceful}) }
	}
	if p.tls.on {
		c.RefreshCerts, c.CertsRead = p.certs.Reload, p.certs.readAt
	}
	if !p.refuse {
		c.Listeners = func() []net.Listener { return slices.Concat(p.sockets.streams, p.sockets.bare) }
		c.Waits = func() (uint64, time.Duration) { return p.gate.counts() }
	}
	if p.cache, err = memcache.New(&c); err != nil {
		return usage("%w", err)
	}
	return nil
}

// loadItems fills the cache from the file of -e.
func (p *program) loadItems(ctx context.Context) (err error) {
	if p.memoryFile == "" {
		return nil
	}
	if p.items, err = openMemoryFile(p.memoryFile); err != nil {
		return err
	}
	return p.items.load(ctx, p)
}

// takeItemsAway removes the file of -e. It is the last step before the program serves.
func (p *program) takeItemsAway(context.Context) error {
	if p.items == nil {
		return nil
	}
	return p.items.takeAway()
}

// startServers makes a server for the sockets with TLS and one for those without, if there are any.
func (p *program) startServers() (err error) {
	h := p.cache.Handler()
	if !p.refuse {
		p.gate = newGate(h, p.conns, p.log)
		h = p.gate
	}
	if p.tls.on {
		srv := p.newServer(h)
		srv.TLS = p.certs.server()
		err = p.listenOn(srv, p.sockets.streams)
	}
	if err == nil && (len(p.sockets.bare) > 0 || len(p.sockets.packets) > 0) {
		srv := p.newServer(h)
		if err = p.listenOn(srv, p.sockets.bare); err == nil {
			err = p.receiveOn(srv)
		}
	}
	if err != nil {
		return system("%w", err)
	}
	return nil
}

// newServer returns a server configured by the options.
func (p *program) newServer(h server.Handler) *server.Server {
	idle := p.idle
	if idle == 0 {
		idle = -1 // none
	}
	srv := &server.Server{
		Handler: h, NumLoops: p.loops, Workers: 1, MaxConns: p.conns, BusyText: tooMany,
		IdleTimeout: idle, CloseTimeout: closeTimeout, DrainTimeout: drainTimeout, Logger: p.log,
	}
	if p.gate != nil {
		p.gate.guard(srv)
	}
	p.cache.Attach(srv)
	p.servers = append(p.servers, srv)
	return srv
}

// listenOn starts srv and makes it accept from the listeners.
func (p *program) listenOn(srv *server.Server, listeners []net.Listener) error {
	if err := srv.Start(); err != nil {
		return err
	}
	for _, l := range listeners {
		if p.gate != nil {
			p.gate.admit(srv, l)
		} else if _, err := srv.AddListener(l, nil); err != nil {
			return err
		}
		p.logInfo("listening", "network", l.Addr().Network(), "address", l.Addr().String(), "tls", srv.TLS != nil)
	}
	return nil
}

// receiveOn makes srv receive datagrams.
func (p *program) receiveOn(srv *server.Server) error {
	for _, nc := range p.sockets.packets {
		pc, err := srv.AddPacketConn(nc, &server.PacketConfig{Handler: p.cache.Packet})
		if err != nil {
			return err
		}
		p.logInfo("listening", "network", "udp", "address", pc.LocalAddr().String(), "tls", false)
	}
	return nil
}

// announce notifies the service manager of a state. An error is only logged, since clients are not affected.
func (p *program) announce(state string) {
	if err := p.notify.send(state); err != nil {
		p.log.Warn("cannot notify the service manager", "err", err)
	}
}

// logInfo logs a line if -v is given.
func (p *program) logInfo(text string, args ...any) {
	if p.config.Verbosity > 0 {
		p.log.Info(text, args...)
	}
}

// reload reads the files again. If a file cannot be read, its former content stays in force.
func (p *program) reload() {
	for _, r := range p.reloads {
		if err := r.Reload(); err != nil {
			p.log.Error("reload failed, the former content stays in force", "err", err)
		} else {
			p.logInfo("reloaded", "what", fmt.Sprintf("%T", r))
		}
	}
}
