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
// the loops, and holds goroutines.
type http2Server struct {
	hs    *http.Server
	conns chan net.Conn
	mu    sync.Mutex // guards closed
	done  chan struct{}
	once  sync.Once

	h        *connHandler
	requests sync.Map // of http.ResponseWriter to *http2Slot: the requests in progress
}

// newHTTP2Server returns the server for connections of h's server. It starts when the first one comes.
func newHTTP2Server(h *connHandler) *http2Server {
	s := h.s
	hs := s.netHTTPServer()
	h2 := &http2Server{hs: hs, conns: make(chan net.Conn), done: make(chan struct{}), h: h}
	hs.Handler, hs.ConnContext, hs.ConnState = http.HandlerFunc(h2.serve), s.ConnContext, s.ConnState
	hs.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), http2Key{}, h2) }
	hs.TLSConfig = nil // the handshake is over; a configuration without "h2" would disable HTTP/2
	hs.RegisterOnShutdown(h2.beginShutdown)
	return h2
}

// take gives the connection to net/http. On its loop.
func (h2 *http2Server) take(sc *server.Conn) {
	h2.once.Do(func() { go func() { _ = h2.hs.Serve(h2) }() }) // its error is that of Accept
	err := sc.Detach(func(nc net.Conn, rest []byte, err error) {
		if err != nil {
			return // the connection has ended before
		}
		if len(rest) > 0 { // nothing is read before Open
			_ = nc.Close()
			return
		}
		go func() {
			select {
			case h2.conns <- nc:
			case <-h2.done:
				_ = nc.Close()
			}
		}()
	})
	if err != nil { // the connection has ended
		return
	}
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

// shutdown ends the connections in order.
func (h2 *http2Server) shutdown(ctx context.Context) error {
	return h2.end(h2.hs.Shutdown(ctx))
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
