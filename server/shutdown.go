package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Shutdown ends the server in order: it stops accepting, lets the requests in work and those already read end, flushes, closes the
// connections (with ErrServerClosed; one whose client does not close in turn is waited for until DrainTimeout or CloseTimeout) and returns when
// every goroutine and descriptor of the server is gone. When ctx ends first, it aborts the connections that are left, and returns a
// *ShutdownError with ctx's cause and the number of handlers that still run, for which nobody can wait. Further calls wait for the
// first; a Close ends the waiting. On one of the loops it is event.ErrOnLoop, and nothing is done; in a handler on a worker it
// would wait for itself until ctx ends. May block; not in a callback.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.offLoops(); err != nil {
		return fmt.Errorf("shut server down: %w", err)
	}
	s.mu.Lock()
	switch s.state {
	case serverNew:
		s.state = serverClosed
		s.done = make(chan struct{})
		close(s.done)
		s.mu.Unlock()
		return nil
	case serverDraining, serverClosed:
		s.mu.Unlock()
		select {
		case <-s.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	ctx, hurry := context.WithCancelCause(ctx)
	defer hurry(nil)
	s.hurry = hurry
	s.state = serverDraining
	s.draining.Store(true)
	listeners, packets := maps.Clone(s.listeners), maps.Clone(s.packets) // others may close some of them meanwhile
	s.mu.Unlock()
	defer close(s.done)

	for ln := range listeners {
		ln.stop()
	}
	for pc := range packets {
		pc.stop()
	}
	s.arriving.Wait()
	drained := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		_ = l.ev.Post(func() { // refused only by a loop that is closed, and these are ours to close
			l.drain()
			drained <- struct{}{}
		})
	}
	for range s.loops { // or one that is accepting just now would not be counted
		select {
		case <-drained:
		case <-ctx.Done():
		}
	}
	return s.finish(s.await(ctx))
}

// Close ends the server at once: connections are aborted, and so is what is not written. Like a Shutdown whose context has
// ended, but the error is nil unless handlers still run; a Shutdown that is under way ends like that, too. May block; not in a callback.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.mu.Lock()
	hurry, done := s.hurry, s.done
	s.mu.Unlock()
	if hurry != nil && s.offLoops() == nil { // a Shutdown is under way, or over
		hurry(ErrServerClosed)
		<-done
		return nil
	}
	err := s.Shutdown(ctx)
	var late *ShutdownError
	switch {
	case errors.As(err, &late):
		if late.Handlers == 0 {
			return nil
		}
	case errors.Is(err, context.Canceled): // another one has begun meanwhile
		s.mu.Lock()
		hurry, done = s.hurry, s.done
		s.mu.Unlock()
		if hurry != nil {
			hurry(ErrServerClosed)
		}
		<-done
		return nil
	}
	return err
}

// offLoops refuses to wait on one of the loops that would be waited for.
func (s *Server) offLoops() error {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		if l.ev.OnLoop() {
			return errOnLoop
		}
	}
	return nil
}

// grace is how long a shutdown whose time is up waits for handlers and handshakes that have seen it, or are just returning, before it
// counts them as stuck.
const grace = 250 * time.Millisecond

// await waits until no connection is left and no datagram in work, or aborts them when ctx ends.
func (s *Server) await(ctx context.Context) error {
	if ctx.Err() == nil && s.open.awaitEmpty(ctx) && s.jobs.awaitEmpty(ctx) {
		return nil
	}
	late := &ShutdownError{Cause: context.Cause(ctx), Conns: s.open.len()}
	s.cut(ErrServerClosed)
	// Each loop aborts its own, in a turn; that waits for nobody.
	aborted := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		var abort func()
		abort = func() {
			all := false
			defer func() {
				if all {
					aborted <- struct{}{}
				} else { // a handler has called runtime.Goexit: the rest in another turn
					_ = l.ev.Post(abort)
				}
			}()
			l.abortAll()
			all = true
		}
		_ = l.ev.Post(abort)
	}
	for range s.loops {
		<-aborted
	}
	_, _, late.Handlers = s.pool.counts()
	return late
}

// finish takes the server down, when no connection is left but those of stuck handlers.
func (s *Server) finish(err error) error {
	s.cut(ErrServerClosed)
	s.shaking.stop()
	s.pool.close()
	var late *ShutdownError
	if !errors.As(err, &late) || late.Handlers == 0 {
		s.pool.workers.Wait()
	} else {
		late.Handlers = s.pool.await(grace)
	}
	err = errors.Join(err, s.closePackets())
	for _, l := range s.loops {
		_ = l.ev.Post(l.end) // refused only by a loop that is closed, and these are ours to close
		err = errors.Join(err, l.ev.Close())
		for r := range l.refusals {
			r.close()
		}
	}
	s.down.Wait()
	if late == nil {
		s.shaking.await(0)
	} else {
		late.Handlers += s.shaking.await(grace)
	}
	_, e := s.reserve.release()
	err = errors.Join(err, e)
	s.mu.Lock()
	s.state = serverClosed
	s.mu.Unlock()
	if late != nil && late.Handlers == 0 && late.Conns == 0 {
		return nil // the context had ended, and there was nothing to wait for
	}
	return err
}

// end is the last thing that the loop does: it ends the connections that had not arrived yet.
func (l *loop) end() {
	l.cut = true
	for _, c := range l.queue.Close() {
		c.mu.Lock()
		commands := c.commands
		c.commands, c.place = 0, visited
		c.mu.Unlock()
		c.obey(commands)
	}
}

// awaitEmpty reports whether there was none before ctx ended.
func (o *openCount) awaitEmpty(ctx context.Context) bool {
	select {
	case <-o.empty():
		return true
	case <-ctx.Done():
		return false
	}
}

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

// drain lets the loop's connections end.
func (l *loop) drain() {
	for c := range l.srv.conns.all() {
		if c.loop == l {
			c.flags |= flagDrain
			c.poke()
		}
	}
	for c := range l.dialing {
		c.closeWith(ErrServerClosed)
	}
}

// abortAll ends the loop's connections now. Their handlers are told even if a request is still in work.
func (l *loop) abortAll() {
	for c := range l.srv.conns.all() {
		if c.loop == l {
			c.fail(ErrServerClosed)
		}
	}
	for c := range l.dialing {
		c.fail(ErrServerClosed)
	}
	l.cut = true // those that are on their way here
	for _, in := range append(l.starved, l.handover...) {
		in.end() // no worker will
	}
	l.starved, l.handover = nil, nil
	for c := range l.ending {
		c.tellEnd() // for its handler nobody can wait
	}
}
