//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

// stopGrace bounds the time of a stop. Answers that a client has not read by then are dropped, and the exit status is 0 nevertheless: a client that
// does not read must not delay a restart or make it appear as a failure.
var stopGrace = 900 * time.Millisecond // longer in a test

// drainTimeout is the time for which a stop waits for a client with all its answers to close its end: a close with unread requests in the kernel
// sends a reset, which could overtake the answers. A connection that has been silent for that time is closed at once.
var drainTimeout = 500 * time.Millisecond // longer in a test

// oneSignal is the time in which further signals count as one with the first: timeout(1) and some supervisors signal the process and then its
// group.
const oneSignal = 250 * time.Millisecond

// ending is the reason for which the program ends.
type ending struct {
	why      string
	graceful bool
}

// endingBy returns the ending for a signal. As in memcached, SIGUSR1 is graceful.
func endingBy(sig os.Signal) ending {
	return ending{why: sig.String(), graceful: sig == syscall.SIGUSR1}
}

// ask makes the program end. It does not block; a second call has no effect.
func (p *program) ask(e ending) {
	select {
	case p.asked <- e:
	default:
	}
}

// Errors of startUnlessStopped after a signal.
var (
	errStopped    = errors.New("stopped by a signal before the start was complete")
	errStartHangs = errors.New("stopped by a signal while the start waited for the system")
)

// startUnlessStopped calls start, and cancels it when a signal asks the program to end. If start does not return within stopGrace then, for example
// because it reads a file from a file server that is down, it is abandoned and the error is errStartHangs.
func (p *program) startUnlessStopped() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- p.start(ctx) }()
	for {
		select {
		case err := <-started:
			return err
		case sig := <-p.signals:
			if sig == syscall.SIGHUP {
				continue // the start reads the files anyway
			}
			cancel()
			p.stopAt = time.Now()
			select {
			case err := <-started:
				if err == nil { // the start was complete: stop in order, and save the items if the end is graceful
					p.ask(endingBy(sig))
					return nil
				}
				return errStopped
			case <-time.After(stopGrace):
				return errStartHangs
			}
		}
	}
}

// untilStopped serves until a signal or the shutdown command, and shuts the servers down.
func (p *program) untilStopped() error {
	reloads := make(chan struct{}, 1)
	defer close(reloads)
	go func() { // so that signals are handled while a file server does not answer
		for range reloads {
			p.reload()
		}
	}()
	for {
		select {
		case e := <-p.asked:
			return p.stop(e)
		case sig := <-p.signals:
			if sig != syscall.SIGHUP {
				return p.stop(endingBy(sig))
			}
			select {
			case reloads <- struct{}{}:
			default: // a reload is pending
			}
		}
	}
}

// stop shuts the servers down. Answers are flushed to clients that read, until stopGrace is over or a second signal comes. If the end is graceful,
// it then saves the items without a time limit; a second signal cancels that, and the items are lost.
func (p *program) stop(e ending) error {
	p.logInfo("stopping", "why", e.why)
	p.announce(stateStopping)
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, stopGrace, errGraceOver)
	defer cancel()
	if p.stopAt.IsZero() { // not by a signal during the start
		p.stopAt = time.Now()
	}
	begun := p.stopAt
	err := p.untilSecondSignal(begun, cut, func() error { return p.shutServersDown(ctx) })
	if e.graceful && p.items != nil {
		ctx, cut := context.WithCancelCause(context.Background())
		defer cut(nil)
		err = errors.Join(err, p.untilSecondSignal(begun, cut, func() error { return p.items.save(ctx, p) }))
	}
	return err
}

// untilSecondSignal calls do, and calls cut when a second signal comes.
func (p *program) untilSecondSignal(begun time.Time, cut context.CancelCauseFunc, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	for {
		select {
		case err := <-done:
			return err
		case sig := <-p.signals:
			if sig != syscall.SIGHUP && time.Since(begun) > oneSignal {
				cut(errSecondSignal)
			}
		}
	}
}

// Reasons for which a stop is cut short.
var (
	errGraceOver    = errors.New("the time for a stop is over")
	errSecondSignal = errors.New("second signal")
)

// shutServersDown shuts all servers down. Connections cut off at the end of ctx are not an error; callbacks that are still running are.
func (p *program) shutServersDown(ctx context.Context) error {
	if p.gate != nil {
		p.gate.close()
	}
	return p.each(func(srv *server.Server) error { return p.exceptCuts(srv.Shutdown(ctx)) })
}

// exceptCuts returns an error of Shutdown without the part about connections that were cut off, which it logs.
func (p *program) exceptCuts(err error) error {
	switch err := err.(type) { //nolint:errorlint // the parts are examined one by one
	case interface{ Unwrap() []error }:
		var rest []error
		for _, part := range err.Unwrap() {
			rest = append(rest, p.exceptCuts(part))
		}
		return errors.Join(rest...)
	case *server.ShutdownError:
		if err.Handlers == 0 {
			p.logInfo("cut connections off before all their answers were sent", "connections", err.Conns, "why", err.Cause.Error())
			return nil
		}
	}
	return err
}

// end releases all resources, after stop or after a failed start.
func (p *program) end() error {
	if p.gate != nil {
		p.gate.close()
	}
	err := errors.Join(p.each((*server.Server).Close), p.sockets.close())
	if p.items != nil {
		if p.items.owed { // the start has failed after it removed the file
			err = errors.Join(err, p.items.save(context.Background(), p))
		}
		err = errors.Join(err, p.items.close())
	}
	if p.cache != nil {
		err = errors.Join(err, p.closeCache())
	}
	return err
}

// cacheGrace is the time for which the end waits for commands that are still running, such as refresh_certs.
const cacheGrace = 100 * time.Millisecond

// closeCache closes the cache, but waits for that at most cacheGrace.
func (p *program) closeCache() error {
	closed := make(chan error, 1)
	go func() { closed <- p.cache.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(cacheGrace):
		p.logInfo("ended while a command was still running")
		return nil
	}
}

// each calls do for all servers concurrently.
func (p *program) each(do func(*server.Server) error) error {
	errs := make([]error, len(p.servers))
	var all sync.WaitGroup
	for i, srv := range p.servers {
		all.Go(func() { errs[i] = do(srv) })
	}
	all.Wait()
	return errors.Join(errs...)
}
