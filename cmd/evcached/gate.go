//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/server"
)

// gate is no_maxconns_fast: who comes above -c waits until a connection ends, one in the gate and the others in the kernel's queue. A
// server that accepts for itself would turn them away.
type gate struct {
	server.Handler
	places  chan struct{} // one for each connection that is in
	closed  chan struct{}
	log     *slog.Logger
	waits   atomic.Uint64 // how often somebody had to wait for a place,
	waited  atomic.Int64  // and for how long
	waiting sync.WaitGroup
	once    sync.Once
	doors   []net.Listener
}

func newGate(h server.Handler, places int, log *slog.Logger) *gate {
	return &gate{Handler: h, places: make(chan struct{}, places), closed: make(chan struct{}), log: log}
}

// guard makes the gate count srv's connections, instead of srv.
func (g *gate) guard(srv *server.Server) {
	srv.MaxConns = server.Unlimited
	srv.OnReject = func(*server.Conn, error) { <-g.places }
}

// Close implements server.Handler: a place is free.
func (g *gate) Close(c *server.Conn, reason error) {
	g.Handler.Close(c, reason)
	<-g.places
}

// Unwrap lets the server find what else the cache's handler implements.
func (g *gate) Unwrap() server.Handler { return g.Handler }

// admit lets connections from l in to srv, as far as there is room, until close.
func (g *gate) admit(srv *server.Server, l net.Listener) {
	g.doors = append(g.doors, l)
	g.waiting.Go(func() {
		for {
			nc, err := l.Accept()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil: // out of descriptors, or a client that is gone already
				g.log.Warn("accept", "address", l.Addr().String(), "err", err)
				if !g.rest(100 * time.Millisecond) {
					return
				}
			case !g.enter(srv, nc):
				return
			}
		}
	})
}

// enter waits for a place for nc, and reports whether the gate is still open.
func (g *gate) enter(srv *server.Server, nc net.Conn) bool {
	if !g.take() {
		_ = nc.Close() // it was never served
		return false
	}
	if _, err := srv.AdoptWith(nc, server.AdoptOptions{Accepted: true}); err != nil {
		<-g.places
		_ = nc.Close() // the error before is the one to tell
		if !errors.Is(err, server.ErrServerClosed) {
			g.log.Warn("accept", "err", err)
		}
	}
	return true
}

// take takes a place, when there is one, and reports whether the gate is still open.
func (g *gate) take() bool {
	select {
	case g.places <- struct{}{}:
		return true
	default:
	}
	g.waits.Add(1)
	began := time.Now()
	defer func() { g.waited.Add(int64(time.Since(began))) }()
	select {
	case g.places <- struct{}{}:
		return true
	case <-g.closed:
		return false
	}
}

// counts is memcache.Config's Waits. With several listeners the time is that of all of them.
func (g *gate) counts() (times uint64, total time.Duration) {
	return g.waits.Load(), time.Duration(g.waited.Load())
}

// rest waits a while, and reports whether the gate is still open.
func (g *gate) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-g.closed:
		return false
	}
}

// close lets nobody in any more.
func (g *gate) close() {
	g.once.Do(func() {
		close(g.closed)
		for _, l := range g.doors {
			_ = l.Close() // it has no descriptor but this, and no output
		}
		g.waiting.Wait()
	})
}
