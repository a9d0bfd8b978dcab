package httpd

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/evmq/evmq/server"
)

// An http2Server serves the connections whose TLS handshake has chosen HTTP/2, with package net/http. Such a connection is detached from
// the loops, and holds goroutines. It still counts as a connection of the server.
type http2Server struct {
	hs    *http.Server
	conns chan net.Conn
	mu    sync.Mutex          // guards leave, and the close of done
	leave map[net.Conn]func() // the functions that end the counting of the connections in MaxConns
	done  chan struct{}
	once  sync.Once

	h        *connHandler
	requests sync.Map // of http.ResponseWriter to *http2Slot: the requests in progress
}

// newHTTP2Server returns the server for the connections of h's server that choose HTTP/2.
func newHTTP2Server(h *connHandler) *http2Server {
	s := h.s
	hs := s.netHTTPServer()
	h2 := &http2Server{hs: hs, conns: make(chan net.Conn), leave: make(map[net.Conn]func()), done: make(chan struct{}), h: h}
	hs.Handler, hs.ConnContext, hs.IdleTimeout = http.HandlerFunc(h2.serve), s.ConnContext, s.idleTimeout()
	hs.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), http2Key{}, h2) }
	hs.TLSConfig = nil // the handshake is over; a configuration without "h2" would disable HTTP/2
	hs.RegisterOnShutdown(h2.beginShutdown)
	hs.ConnState = func(nc net.Conn, state http.ConnState) {
		if s.ConnState != nil {
			s.ConnState(nc, state)
		}
		if state == http.StateClosed || state == http.StateHijacked {
			h2.connClosed(nc)
		}
	}
	return h2
}

// take gives the connection to net/http. On its loop. It starts the server of net/http with the first connection.
func (h2 *http2Server) take(sc *server.Conn) {
	h2.once.Do(func() { go func() { _ = h2.hs.Serve(h2) }() })                     // its error is that of Accept
	_ = sc.DetachCounted(func(nc net.Conn, rest []byte, leave func(), err error) { // fails if the connection has ended
		if err != nil {
			return // the connection has ended before
		}
		h2.mu.Lock()
		h2.leave[nc] = leave
		h2.mu.Unlock()
		if len(rest) > 0 { // it cannot happen: nothing is read before Open
			h2.drop(nc)
			return
		}
		go func() {
			select {
			case h2.conns <- nc:
			case <-h2.done:
				h2.drop(nc)
			}
		}()
	})
}

// connClosed ends the counting of a connection that was closed.
func (h2 *http2Server) connClosed(nc net.Conn) {
	h2.mu.Lock()
	leave := h2.leave[nc]
	delete(h2.leave, nc)
	h2.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// drop closes a connection that is not served.
func (h2 *http2Server) drop(nc net.Conn) {
	_ = nc.Close() // an error concerns a client that is not served
	h2.connClosed(nc)
}

// Accept implements net.Listener.
func (h2 *http2Server) Accept() (net.Conn, error) {
	select {
	case nc := <-h2.conns:
		return nc, nil
	case <-h2.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h2 *http2Server) Close() error {
	h2.mu.Lock()
	defer h2.mu.Unlock()
	select {
	case <-h2.done:
	default:
		close(h2.done)
	}
	return nil
}

// Addr implements net.Listener.
func (h2 *http2Server) Addr() net.Addr { return &net.TCPAddr{} }

// shutdown closes each connection when its requests are complete, and all that are left when ctx ends.
func (h2 *http2Server) shutdown(ctx context.Context) error {
	err := h2.hs.Shutdown(ctx)
	if err != nil {
		_ = h2.hs.Close() // the first error is returned
	}
	return h2.end(err)
}

// close ends the connections at once.
func (h2 *http2Server) close() error { return h2.end(h2.hs.Close()) }

// end closes the listener, also if no connection has started the server.
func (h2 *http2Server) end(err error) error {
	_ = h2.Close() // has no error
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
