//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

// drain is how long a shutdown may take. Connections are cut before, at closeTimeout.
const drain = closeTimeout + 3*time.Second

// oneSignal is how long what comes behind the first signal is still the same one: timeout(1) and some supervisors signal the
// process and then its group.
const oneSignal = 250 * time.Millisecond

// errTwice is the end by a second signal.
var errTwice = errors.New("stopped by a second signal: not every answer was flushed")

// untilStopped waits for a signal or the shutdown command, and shuts the servers down.
func (p *program) untilStopped() error {
	for {
		select {
		case <-p.asked:
			p.tell("stopping", "why", "the shutdown command")
			return p.stop()
		case sig := <-p.signals:
			if sig == syscall.SIGHUP {
				p.reload()
				continue
			}
			p.tell("stopping", "why", sig.String())
			return p.stop()
		}
	}
}

// stop lets answers be flushed, until a second signal.
func (p *program) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	begun := time.Now()
	if p.gate != nil {
		p.gate.close()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- p.each(func(srv *server.Server) error { return srv.Shutdown(ctx) }) }()
	for {
		select {
		case err := <-stopped:
			return err
		case sig := <-p.signals:
			if sig != syscall.SIGHUP && time.Since(begun) > oneSignal {
				_, _ = p.each((*server.Server).Close), <-stopped // what they could say is that it was cut short
				return errTwice
			}
		}
	}
}

// end closes what is left, be it after stop or in the middle of start.
func (p *program) end() error {
	if p.gate != nil {
		p.gate.close()
	}
	err := errors.Join(p.each((*server.Server).Close), p.sockets.close())
	if p.cache != nil {
		err = errors.Join(err, p.cache.Close())
	}
	return err
}

// each calls do for all servers at once.
func (p *program) each(do func(*server.Server) error) error {
	errs := make([]error, len(p.servers))
	var all sync.WaitGroup
	for i, srv := range p.servers {
		all.Go(func() { errs[i] = do(srv) })
	}
	all.Wait()
	return errors.Join(errs...)
}
