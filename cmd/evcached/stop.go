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

// stopGrace bounds a stop. Answers that a client has not taken by then are dropped, and the status is 0 all the same: a client that
// does not read must not delay a restart or make it look like a failure.
const stopGrace = 900 * time.Millisecond

// drainTimeout is how long a stop waits for a client that has its answers to close its end: a close with unread requests in the
// kernel sends a reset, which could overtake the answers. A connection that was silent for so long is closed at once.
const drainTimeout = 500 * time.Millisecond

// oneSignal is how long a further signal counts as the first one: timeout(1) and some supervisors signal the process and then its
// group.
const oneSignal = 250 * time.Millisecond

// ending is why the program ends.
type ending struct {
	why      string
	graceful bool
}

// endingBy is the ending that a signal asks for. As in memcached, SIGUSR1 is the graceful one.
func endingBy(sig os.Signal) ending {
	return ending{why: sig.String(), graceful: sig == syscall.SIGUSR1}
}

// ask has the program end, if it has not been asked already. It does not wait.
func (p *program) ask(e ending) {
	select {
	case p.asked <- e:
	default:
	}
}

// What startUnlessStopped returns after a signal.
var (
	errStopped    = errors.New("stopped by a signal before the start was complete")
	errStartHangs = errors.New("stopped by a signal while the start waited for the system")
)

// startUnlessStopped is start, until a signal asks the program to end. A start that does not end in time after that, as one that
// reads a file from a server that is down, is left behind with errStartHangs.
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
			select {
			case err := <-started:
				if err == nil { // it was faster: this is a stop like any other, and may have items to save
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
	go func() { // beside the signals: a file may be on a server that is down
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
			default: // the reload that waits sees the files as they are now
			}
		}
	}
}

// stop shuts the servers down: answers are flushed to clients that read, for stopGrace at most, and until a second signal. After a
// graceful end it saves the items, for as long as that takes; a second signal ends that, too, and the items are lost.
func (p *program) stop(e ending) error {
	p.tell("stopping", "why", e.why)
	p.announce(stateStopping)
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, stopGrace, errGraceOver)
	defer cancel()
	begun := time.Now()
	err := p.untilSecondSignal(begun, cut, func() error { return p.shutServersDown(ctx) })
	if e.graceful && p.items != nil {
		ctx, cut := context.WithCancelCause(context.Background())
		defer cut(nil)
		err = errors.Join(err, p.untilSecondSignal(begun, cut, func() error { return p.items.save(ctx, p) }))
	}
	return err
}

// untilSecondSignal calls do, and cuts it short when a second signal comes.
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

// Why a stop does not do all it could.
var (
	errGraceOver    = errors.New("the time for a stop is over")
	errSecondSignal = errors.New("there was a second signal")
)

// shutServersDown ends all servers. That connections had to be cut at ctx's end is no error; that something of ours still runs is.
func (p *program) shutServersDown(ctx context.Context) error {
	if p.gate != nil {
		p.gate.close()
	}
	return p.each(func(srv *server.Server) error { return p.exceptCuts(srv.Shutdown(ctx)) })
}

// exceptCuts is a Shutdown's error without the part that says that connections were cut off, which it logs.
func (p *program) exceptCuts(err error) error {
	switch err := err.(type) { //nolint:errorlint // the parts are looked at one by one
	case interface{ Unwrap() []error }:
		var rest []error
		for _, part := range err.Unwrap() {
			rest = append(rest, p.exceptCuts(part))
		}
		return errors.Join(rest...)
	case *server.ShutdownError:
		if err.Handlers == 0 {
			p.tell("cut connections off before all their answers were sent", "connections", err.Conns, "why", err.Cause.Error())
			return nil
		}
	}
	return err
}

// end closes what is left, after stop or after a start that failed.
func (p *program) end() error {
	if p.gate != nil {
		p.gate.close()
	}
	err := errors.Join(p.each((*server.Server).Close), p.sockets.close())
	if p.items != nil {
		if p.items.owed { // the start has failed since it removed the file
			err = errors.Join(err, p.items.save(context.Background(), p))
		}
		err = errors.Join(err, p.items.close())
	}
	if p.cache != nil {
		err = errors.Join(err, p.closeCache())
	}
	return err
}

// cacheGrace is how long the end waits for what is still done for a connection that is gone, as for a file that refresh_certs reads.
const cacheGrace = 100 * time.Millisecond

// closeCache closes the cache, or leaves that to the end of the process.
func (p *program) closeCache() error {
	closed := make(chan error, 1)
	go func() { closed <- p.cache.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(cacheGrace):
		p.tell("ended while a command was still in work")
		return nil
	}
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
