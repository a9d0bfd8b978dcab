package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Shutdown ends the server in order: it stops accepting, after the connections that the kernel has already established, answers the
// requests that are in progress or have arrived, flushes the output, and closes the connections with ErrServerClosed. An idle connection
// without unsent output is closed at once. For the client of any other connection Shutdown closes the write side and waits until the client
// closes its half, for DrainTimeout or CloseTimeout at most. Connections that were dialled, or added as clients of TLS, stay open until no
// other connection is left, since requests may need them, and are then ended in the same way. Until then Dial works. Shutdown returns nil
// when all goroutines of the server have ended and its descriptors are closed. A ShutdownHandler ends its connections itself.
//
// When ctx ends first, Shutdown aborts the connections that are left, and returns an error in which errors.As finds a *ShutdownError, with
// the cause of ctx and the numbers of handlers and loops that it has not waited for; their resources are released when they end. Even if
// callbacks do not return, Shutdown returns after the end of ctx when no connection has ended for two seconds. These are seconds of the
// system's clock, also if the loops have another one.
//
// Further calls, also after Close, wait for the end of the first and return its outcome; if their context ends first, they return its
// cause, and the shutdown continues. A Close ends the context of a Shutdown that is under way. Before Start, Shutdown returns nil, and the
// server cannot be started any more. On one of the loops it returns event.ErrOnLoop and does nothing. In a handler on a worker it waits
// until ctx ends, since it waits for that handler, too.
//
// Errors: *ShutdownError; the cause of a context; event.ErrOnLoop; ErrInvalid if ctx is nil; errors of the system in closing the server's
// descriptors. May block; not in a callback.
func (s *Server) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("shut server down: %w", errNilContext)
	}
	if err := s.offLoops(); err != nil {
		return fmt.Errorf("shut server down: %w", err)
	}
	if first, err := s.shutDownOnce(ctx, func(outcome error) error { return outcome }); first {
		return err
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		select {
		case <-s.done:
		default:
			return fmt.Errorf("shut server down: %w", context.Cause(ctx))
		}
	}
	return s.outcome
}

// Close ends the server at once: connections are aborted, and output that is not written fails. It is a Shutdown whose context has ended,
// except that aborted connections alone are no error. A Shutdown that is under way ends in the same way. After the end of the server,
// Close returns nil.
//
// Errors: one in which errors.As finds a *ShutdownError if handlers or loops still run; event.ErrOnLoop on one of the loops, where Close
// does nothing; errors of the system in closing the server's descriptors, unless a Shutdown that was under way returns them. May block; not
// in a callback.
func (s *Server) Close() error {
	if err := s.offLoops(); err != nil {
		return fmt.Errorf("close server: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if first, err := s.shutDownOnce(ctx, exceptAborted); first {
		return err
	}
	s.mu.Lock()
	over, stopWaiting := s.state == serverClosed, s.stopWaiting
	s.mu.Unlock()
	if over {
		return nil
	}
	stopWaiting(ErrServerClosed)
	<-s.done
	var late *ShutdownError
	if errors.As(s.outcome, &late) && late.Handlers+late.Loops > 0 {
		return s.outcome
	}
	return nil
}

// exceptAborted returns the outcome of a Close from that of the shutdown: aborted connections alone are no error.
func exceptAborted(outcome error) error {
	var late *ShutdownError
	if errors.As(outcome, &late) && late.Handlers+late.Loops > 0 {
		return outcome
	}
	return withoutShutdownError(outcome)
}

// withoutShutdownError returns the outcome of a shutdown without its ShutdownError.
func withoutShutdownError(outcome error) error {
	if _, ok := outcome.(*ShutdownError); ok { //nolint:errorlint // joined errors follow
		return nil
	}
	joined, ok := outcome.(interface{ Unwrap() []error })
	if !ok {
		return outcome
	}
	var rest error
	for _, part := range joined.Unwrap() {
		rest = errors.Join(rest, withoutShutdownError(part))
	}
	return rest
}

// shutDownOnce shuts the server down, unless another call did so before. outcomeOf converts the error of the shutdown into the outcome that
// all calls return.
func (s *Server) shutDownOnce(ctx context.Context, outcomeOf func(error) error) (first bool, err error) {
	s.mu.Lock()
	switch s.state {
	case serverNew:
		s.state = serverClosed
		s.done = make(chan struct{})
		close(s.done)
		s.mu.Unlock()
		return true, nil
	case serverDraining, serverClosed:
		s.mu.Unlock()
		return false, nil
	}
	ctx, stopWaiting := context.WithCancelCause(ctx)
	defer stopWaiting(nil)
	s.stopWaiting = stopWaiting
	s.state = serverDraining
	s.ending.Store(true)
	s.phase.Store(uint32(phaseRequests))
	s.mu.Unlock()

	// On another goroutine: a callback that never returns blocks that goroutine, and not the caller.
	ended := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { ended <- err }()
		err = s.shutDown(ctx)
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = s.awaitEnd(ctx, ended)
	}
	err = outcomeOf(err)
	s.mu.Lock()
	s.state, s.outcome = serverClosed, err
	s.mu.Unlock()
	close(s.done)
	return true, err
}

// errGoexit is the outcome of a shutdown whose goroutine was ended by runtime.Goexit in the Close of a user's listener.
var errGoexit = errors.New("server: a listener's Close called runtime.Goexit")

// unfinished returns the outcome of a shutdown that does not end because of a callback or a loop.
func (s *Server) unfinished(ctx context.Context) error {
	late := &ShutdownError{Cause: context.Cause(ctx), Conns: int(s.aborted.Load()), Deferred: int(s.abandoned.Load())}
	late.Handlers = s.runningJobs() + s.handshakes.len()
	for _, l := range s.loops {
		select {
		case <-l.gone:
		default:
			late.Loops++
		}
	}
	return late
}

// shutDown carries out a Shutdown. After the end of ctx, only its last steps, from the end of the loops on, may wait for longer than grace.
func (s *Server) shutDown(ctx context.Context) error {
	if ctx.Err() != nil {
		s.endContexts() // no connection is accepted any more
	}
	s.stopListening(ctx)
	s.awaitDone(ctx, grace, waited(s.adding.Wait)) // these calls end soon, unless PickLoop blocks
	if ctx.Err() != nil {
		s.awaitDone(ctx, grace, s.dials.empty())
	}
	if ctx.Err() == nil {
		s.drainAll(ctx)
	}
	return s.finish(ctx, s.awaitOrAbort(ctx))
}

// endContexts ends the contexts of all connections, also of loops that are blocked.
func (s *Server) endContexts() {
	s.cancelBase(ErrServerClosed)
	for _, l := range s.loops {
		l.cancels.endAll(ErrServerClosed)
	}
}

// stopListening closes the listeners and stops receiving datagrams, each on its loop, and waits for that.
func (s *Server) stopListening(ctx context.Context) {
	s.mu.Lock()
	listeners, packets := maps.Clone(s.listeners), maps.Clone(s.packets) // the program may close some of them meanwhile
	s.mu.Unlock()
	received := make(chan struct{}, len(packets))
	for ln := range listeners {
		if ln.original != nil {
			go ln.stop() // the Close of the user's listener may not return
		} else {
			ln.stop()
		}
	}
	for pc := range packets {
		pc.finish(func() { received <- struct{}{} })
	}
	for ln := range listeners {
		s.awaitDone(ctx, grace, ln.done)
	}
	s.awaitAll(ctx, 0, received, len(packets))
	for pc := range packets {
		pc.stop() // if ctx has ended before finish
	}
}

// awaitOrAbort waits until no connection is left and no datagram is in progress. When ctx ends first, it aborts the connections and returns
// a ShutdownError.
func (s *Server) awaitOrAbort(ctx context.Context) *ShutdownError {
	if ctx.Err() == nil && s.awaitDone(ctx, 0, s.open.empty()) && s.awaitDone(ctx, 0, s.jobs.empty()) {
		return nil
	}
	late := &ShutdownError{Cause: context.Cause(ctx), Conns: s.open.len(), Deferred: int(s.deferrals.Load())}
	s.aborted.Store(int64(late.Conns))
	s.abandoned.Store(int64(late.Deferred))
	s.endContexts()
	// Each loop aborts its own connections. A blocked loop does so when it continues, and delays no other loop.
	aborted := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		l.doFully(l.abortAll, func() { aborted <- struct{}{} })
	}
	s.awaitAll(ctx, grace, aborted, len(s.loops))
	return late
}

// finish ends the loops and workers. The only connections that are left are those of blocked handlers.
func (s *Server) finish(ctx context.Context, late *ShutdownError) error {
	s.endContexts()
	s.handshakes.stop()
	s.pool.Close()
	s.awaitJobs(ctx)
	err := s.closePackets()
	closed := make(chan error, len(s.loops))
	for _, l := range s.loops {
		go l.close(closed)
	}
	for range s.loops {
		err = errors.Join(err, <-closed)
	}
	s.goroutines.Wait()
	blocked := 0
	if !s.awaitJobs(ctx) { // again, for handlers that have lost the leadership of their loops
		blocked = s.runningJobs()
	}
	if !s.awaitDone(ctx, grace, s.handshakes.ended()) {
		blocked += s.handshakes.len()
	}
	_, e := s.reserve.release()
	err = errors.Join(err, e)
	if late == nil && blocked > 0 {
		late = &ShutdownError{Cause: context.Cause(ctx)}
	}
	if late == nil {
		return err
	}
	if late.Handlers = blocked; late.Handlers == 0 && late.Conns == 0 {
		return err // the context had ended, and no handler or loop was left
	}
	return errors.Join(late, err)
}

// awaitJobs waits, as awaitDone does, until the workers have ended and no other Executor runs a request of the server.
func (s *Server) awaitJobs(ctx context.Context) bool {
	own := s.awaitDone(ctx, grace, waited(s.pool.Wait))
	return s.awaitDone(ctx, grace, s.running.empty()) && own
}

// runningJobs returns the number of handlers that run.
func (s *Server) runningJobs() int { return s.pool.Counts().Running + s.running.len() }

// closePackets closes the packet sockets, which were kept for the last answers.
func (s *Server) closePackets() (err error) {
	s.mu.Lock()
	packets := maps.Clone(s.packets)
	s.mu.Unlock()
	for pc := range packets {
		err = errors.Join(err, pc.Close())
	}
	return err
}

// abortAll ends the loop's connections now. Their handlers' Close is called even if a request is still in progress.
func (l *loop) abortAll() {
	l.abortConns(ErrServerClosed)
	for c := range l.closedBusy {
		l.setCurrent(c)
		c.notifyClosed() // the shutdown does not wait for its requests
		l.clearCurrent()
	}
}

// abortConns ends the loop's connections now. If a request is in progress, the handler's Close is called when it has ended.
func (l *loop) abortConns(reason error) {
	abort := func(c *loopConn) {
		l.setCurrent(c)
		c.fail(reason)
		l.clearCurrent()
	}
	for c := range l.srv.conns.all() {
		if c.loop == l {
			abort(c)
		}
	}
	for c := range l.dialing {
		abort(c)
	}
	l.aborting = true // for connections that are still in the queue
	for _, in := range slices.Concat(l.turnRequests, l.lead.inline.takeAll()) {
		in.end() // no worker will end it
	}
	l.turnRequests = nil
	for i := range l.queues {
		l.queues[i].endAll()
	}
}
