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

// gate implements no_maxconns_fast: a connection above -c waits until another one ends. One such connection waits in the gate and the others in the
// kernel's queue. A server that accepts by itself would refuse them.
type gate struct {
	server.Handler
	places    chan struct{} // one for each connection
	closed    chan struct{}
	log       *slog.Logger
	waits     atomic.Uint64 // number of connections that had to wait for a place,
	waited    atomic.Int64  // and the total time
	waiting   sync.WaitGroup
	once      sync.Once
	listeners []net.Listener
}

func newGate(h server.Handler, places int, log *slog.Logger) *gate {
	return &gate{Handler: h, places: make(chan struct{}, places), closed: make(chan struct{}), log: log}
}

// guard makes the gate, and not srv, limit the number of connections.
func (g *gate) guard(srv *server.Server) {
	srv.MaxConns = server.Unlimited
	srv.OnReject = func(*server.Conn, error) { <-g.places }
}

// Close implements server.Handler: it frees a place.
func (g *gate) Close(c *server.Conn, reason error) {
	g.Handler.Close(c, reason)
	<-g.places
}

// Unwrap lets the server find what else the cache's handler implements.
func (g *gate) Unwrap() server.Handler { return g.Handler }

// admit accepts connections from l and passes them to srv when there is room, until close.
func (g *gate) admit(srv *server.Server, l net.Listener) {
	g.listeners = append(g.listeners, l)
	g.waiting.Go(func() {
		for {
			nc, err := l.Accept()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil: // out of descriptors, or the client has closed the connection
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
		_ = nc.Close() // it was not served
		return false
	}
	if _, err := srv.AddConn(nc, &server.ConnConfig{Accepted: true}); err != nil {
		<-g.places
		_ = nc.Close() // the error of AddConn is reported
		if !errors.Is(err, server.ErrServerClosed) {
			g.log.Warn("accept", "err", err)
		}
	}
	return true
}

// take waits for a place, and reports whether the gate is still open.
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

// counts implements memcache.Config.Waits. The time is the sum for all listeners.
func (g *gate) counts() (times uint64, total time.Duration) {
	return g.waits.Load(), time.Duration(g.waited.Load())
}

// rest waits for d, and reports whether the gate is still open.
func (g *gate) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-g.closed:
		return false
	}
}

// close ends admit.
func (g *gate) close() {
	g.once.Do(func() {
		close(g.closed)
		for _, l := range g.listeners {
			_ = l.Close() // it has no other descriptor and no output, so nothing can be lost
		}
		g.waiting.Wait()
	})
}
