package server

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// A Listener is a listening socket of a server, opened by Listen or added by AddListener. With Server.ReusePort it is one socket for
// each loop.
type Listener struct {
	srv      *Server
	addr     net.Addr
	handler  Handler
	setup    connSetup // of its connections
	accepts  []*acceptor
	original net.Listener  // given to AddListener; closed with the Listener
	file     sock.File     // the file of a unix socket
	stopping chan struct{} // closed when Close, or another end of the listener, begins
	done     chan struct{} // closed when it has ended
	once     sync.Once
	err      error // the result of Wait; set before done is closed

	accepted atomic.Uint64
}

// An acceptor is a listening descriptor on a loop. Its fields belong to the loop.
type acceptor struct {
	ln       *Listener
	loop     *loop
	fd       int
	e        event.Event
	balance  bool // connections are distributed over all loops
	perConn  bool // accepted connections do not inherit all options
	earlier  bool // the kernel's queue may hold connections that were established before the options were set
	backoff  time.Duration
	retry    *event.Event
	hasEvent bool // e was added to the loop
	closed   bool

	finished int // connections that finish has accepted, or tried to accept
}

// newListener makes a Listener without descriptors.
func (s *Server) newListener(cfg *ListenerConfig) *Listener {
	return &Listener{srv: s, handler: cfg.Handler, setup: cfg.setup(s), stopping: make(chan struct{}), done: make(chan struct{})}
}

// Addr returns the address of the socket, with the port that the system has chosen if none was given. Any goroutine.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Accepted returns the number of connections that were accepted, including those that were refused at a limit. It only grows. Any
// goroutine.
func (ln *Listener) Accepted() uint64 { return ln.accepted.Load() }

// FD returns the number of the listener's descriptor, of the first one with ReusePort, or -1 if the listener has none. It is meant for logs
// and reports, as Conn.FD is. Any goroutine.
func (ln *Listener) FD() int {
	if len(ln.accepts) == 0 {
		return -1
	}
	return ln.accepts[0].fd
}

// Close stops accepting, after the connections that the kernel has already established. It closes no connection. The loops close the
// descriptors in their next turns, and Wait waits for that; until then the address is in use. The file of a unix socket that Listen has
// made is removed at once, unless its path refers to another file by now. Close always returns nil. Any goroutine.
func (ln *Listener) Close() error {
	ln.stop()
	return nil
}

// Wait waits until the listener has ended and its descriptors are closed. It returns the first reason of its end: ErrServerClosed for a
// shutdown of the server, nil for Close, an error that matches ErrLoopClosed if the loop of the listener was closed, and otherwise the error
// of the Accept method of a listener given to AddListener. On one of the server's loops it is event.ErrOnLoop, unless the listener has
// ended. May block; not in a callback.
func (ln *Listener) Wait() error {
	select {
	case <-ln.done:
	default:
		if err := ln.srv.offLoops(); err != nil {
			return fmt.Errorf("wait for the listener on %v: %w", ln.addr, err)
		}
	}
	<-ln.done
	return ln.err
}

// stop ends the listener. The loops close its descriptors.
func (ln *Listener) stop() { ln.stopWith(nil) }

// stopWith is stop with the error that Wait returns, if this is the first call and the server is not being shut down.
func (ln *Listener) stopWith(reason error) {
	ln.once.Do(func() {
		s := ln.srv
		s.mu.Lock()
		if ln.err = reason; s.runningLocked() != nil {
			ln.err = ErrServerClosed
		}
		delete(s.listeners, ln)
		s.mu.Unlock()
		close(ln.stopping)
		ln.closeFile() // first, so that no client can connect while the kernel's queue is emptied
		var open atomic.Int32
		open.Store(1)
		closed := func() {
			if open.Add(-1) == 0 {
				close(ln.done)
			}
		}
		defer closed()
		for _, a := range ln.accepts {
			open.Add(1)
			a.loop.doFully(a.finish, closed)
		}
		if ln.original != nil {
			if err := ln.original.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.cfg.Logger.Warn("server: close listener", "addr", ln.addr.String(), "err", err)
			}
		}
	})
}

// closeFile removes the file of a unix socket, if it is still this listener's. A listener of package net removes its path whatever it
// refers to, unless SetUnlinkOnClose is called.
func (ln *Listener) closeFile() {
	if u, ok := ln.original.(*net.UnixListener); ok {
		if !ln.file.InPlace() {
			u.SetUnlinkOnClose(false)
		}
		return
	}
	if err := ln.file.Remove(); err != nil {
		ln.srv.cfg.Logger.Warn("server: remove socket", "addr", ln.addr.String(), "err", err)
	}
}

// count counts an accepted connection, for the listener and for the server.
func (ln *Listener) count() {
	ln.accepted.Add(1)
	ln.srv.totals.accepted.Add(1)
}
