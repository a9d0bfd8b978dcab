package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
)

// The defaults of the fields of a Server.
const (
	DefaultReadHeaderTimeout = 10 * time.Second
	DefaultIdleTimeout       = 3 * time.Minute
	DefaultWorkers           = 10_000 // more than server.DefaultWorkers, since handlers that are written for package net/http often wait
)

// ErrInvalid reports a field of a Server, or an argument of a method, that is not valid. The text names it. Errors of fields that are passed on
// to package server match server.ErrInvalid instead.
var ErrInvalid = errors.New("httpd: invalid argument or configuration")

// A Server serves HTTP. A field that http.Server also has means the same as there, except for what the documentation of the package lists. The
// zero value of each field is its default. The program must not change the fields after its first call of a method; the server does not
// write to them.
type Server struct {
	// Addr is the TCP address of ListenAndServe and ListenAndServeTLS, as in "host:port". "" means ":http" and ":https".
	Addr string
	// Handler serves the requests. Nil means http.DefaultServeMux.
	Handler http.Handler
	// TLSConfig is the configuration of ListenAndServeTLS and ServeTLS. It is cloned. HTTP/2 is offered unless NextProtos is set without
	// "h2", or Protocols does not contain it.
	TLSConfig *tls.Config
	// Protocols is the set of protocols that are served. Nil means HTTP/1 and, with TLS, HTTP/2. HTTP/2 without TLS is not supported.
	Protocols *http.Protocols
	// HTTP2 configures the connections with HTTP/2. Nil means the defaults of package net/http.
	HTTP2 *http.HTTP2Config

	// ReadHeaderTimeout limits the time from the first byte of a request to the end of its head; for the first request of a connection it
	// counts from accept, with TLS from the end of the handshake. Without ReadTimeout, it also limits the time in which the server reads
	// the rest of a body that the handler has not read; it reads up to 256 KB of it. 0 means DefaultReadHeaderTimeout; a negative value
	// means no limit.
	ReadHeaderTimeout time.Duration
	// ReadTimeout limits the time from the end of a request's head until all of its body was read. 0 or a negative value means no limit.
	// In package net/http, ReadTimeout includes the head.
	ReadTimeout time.Duration
	// WriteTimeout limits the time from the end of a request's head until the kernel has taken all of the response. 0 or a negative value
	// means no limit.
	WriteTimeout time.Duration
	// IdleTimeout limits the time for which a connection waits for the next request. 0 means DefaultIdleTimeout; a negative value means no
	// limit.
	IdleTimeout time.Duration
	// MaxHeaderBytes limits the head of a request, in bytes. As in package net/http, 4096 more are accepted. 0 means
	// http.DefaultMaxHeaderBytes, which is 1 MB; a negative value is an error.
	MaxHeaderBytes int
	// DisableGeneralOptionsHandler passes "OPTIONS *" requests to the Handler; otherwise the server responds with 200 and no body.
	DisableGeneralOptionsHandler bool

	// BaseContext returns the context that the contexts of the requests of a listener derive from. Nil means context.Background().
	BaseContext func(net.Listener) context.Context
	// ConnContext returns the context that the contexts of the requests of a connection derive from. ctx is that of the listener. The net.Conn
	// describes the connection: its addresses, and in its method ConnectionState the state of TLS. Its Close ends the connection; its other
	// methods fail.
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	// ConnState is called when the state of a connection changes, on its loop or on the goroutine of a request. It must not block.
	ConnState func(net.Conn, http.ConnState)
	// ErrorLog logs panics of handlers, mistakes of handlers in the use of the ResponseWriter, and errors of connections. Nil means
	// the log package's standard logger.
	ErrorLog *log.Logger

	// NumLoops, Workers, Queue, MaxConns, MaxBuffered, ReusePort, Socket and ProxyProtocol are the fields of server.Server. Workers limits
	// the number of handlers that block at the same time; 0 means DefaultWorkers. A goroutine exists for each handler that blocks, and for at
	// most 64 workers that wait for one. Queue limits the number of requests that wait for a worker; a connection whose request finds it full is
	// not read until there is room. A connection above MaxConns is sent a response with 503, and closed.
	NumLoops      int
	Workers       int
	Queue         int
	MaxConns      int
	MaxBuffered   int64
	ReusePort     bool
	Socket        server.SocketOptions
	ProxyProtocol bool
	// ReadLimit and WriteLimit limit the bytes that each connection may receive and send in a second, and RateGroup those of all connections together,
	// as the fields of server.Server do: a connection above a limit is read from, or written to, more slowly. They apply to WebSockets and parked
	// responses, too, but not to HTTP/2. The zero values mean no limit.
	ReadLimit, WriteLimit server.RateLimit
	RateGroup             *server.RateGroup
	// LoopConfig is the configuration of each loop. Nil means the defaults.
	LoopConfig *event.Config
	// Placement says where handlers run. 0 means server.Adaptive: on the loop while they are quick, and otherwise on workers.
	Placement server.Placement
	// Route appends the key of a request's route to buf and returns the result. The server measures for each route how long its handlers run.
	// Route is called on the loop, must not block, and must not keep method and path, which are those of the request. Nil means the method and
	// the first two segments of the path.
	Route func(buf, method, path []byte) []byte

	hijacked     atomic.Int64  // connections that handlers have hijacked and not closed
	hasTLS       atomic.Bool   // ServeTLS was called
	parked       atomic.Int64  // requests that wait after Park
	noKeepAlives atomic.Bool   // of SetKeepAlivesEnabled
	state        atomic.Uint32 // a serverState. It changes under mu; requests read it, which must not wait for each other

	mu         sync.Mutex // guards what follows
	srv        *server.Server
	handler    *connHandler
	http2      *http2Server
	onShutdown []func()
}

// serverState is the state of a Server.
type serverState uint32

const (
	serverNew     serverState = iota // not started
	serverStarted                    // started
	serverClosed                     // Shutdown or Close was called
)

var serverStates = [...]string{serverNew: "new", serverStarted: "started", serverClosed: "closed"}

// String returns the state's name.
func (s serverState) String() string { return serverStates[s] }

// ListenAndServe listens on Addr and serves HTTP until Shutdown or Close is called. It always returns an error, which is
// http.ErrServerClosed after Shutdown or Close. May block; not in a callback.
func (s *Server) ListenAndServe() error {
	l, err := s.listen("http")
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// ListenAndServeTLS is ListenAndServe for HTTPS. certFile has the server's certificate, followed by those of its chain, and keyFile the key,
// both in PEM. Both names may be "" if TLSConfig has a certificate, or a function that returns one. May block; not in a callback.
func (s *Server) ListenAndServeTLS(certFile, keyFile string) error {
	l, err := s.listen("https")
	if err != nil {
		return err
	}
	return s.ServeTLS(l, certFile, keyFile)
}

// listen opens the listener of Addr.
func (s *Server) listen(service string) (net.Listener, error) {
	if s.isClosed() {
		return nil, http.ErrServerClosed
	}
	addr := s.Addr
	if addr == "" {
		addr = ":" + service
	}
	return net.Listen("tcp", addr)
}

// Serve serves HTTP on the connections of l until Shutdown or Close is called, and closes l. It may be called for several listeners. It always
// returns an error.
//
// Errors: http.ErrServerClosed after Shutdown or Close; ErrInvalid and server.ErrInvalid for a field; server.ErrUnsupported for a listener
// of package crypto/tls, in place of which ServeTLS is called with the listener beneath it, and for one whose connections have no
// descriptor; the system's. May block; not in a callback.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, nil) }

// ServeTLS is Serve for HTTPS. The files are those of ListenAndServeTLS. May block; not in a callback.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	config, err := s.tlsConfig(certFile, keyFile)
	if err != nil {
		_ = l.Close() // the error before is returned
		return err
	}
	return s.serve(l, config)
}

// serve serves the connections of l, with TLS if config is not nil.
func (s *Server) serve(l net.Listener, config *tls.Config) error {
	srv, err := s.start()
	if err != nil {
		_ = l.Close() // the error before is returned
		return err
	}
	if config != nil {
		s.hasTLS.Store(true)
	}
	cfg := &server.ListenerConfig{TLS: config, Plain: config == nil}
	if config != nil {
		cfg.NotTLS = plainResponse
	}
	if s.BaseContext != nil { // otherwise the connections have the server's handler, which takes no memory of theirs
		base := s.BaseContext(l)
		if base == nil {
			panic("httpd: BaseContext has returned a nil context")
		}
		cfg.Handler = s.handler.forListener(base)
	}
	sl, err := srv.AddListener(l, cfg)
	if err != nil {
		_ = l.Close() // the error before is returned
		if errors.Is(err, server.ErrServerClosed) {
			return http.ErrServerClosed
		}
		return fmt.Errorf("httpd: serve: %w", err)
	}
	if err := sl.Wait(); s.isClosed() || errors.Is(err, server.ErrServerClosed) {
		return http.ErrServerClosed
	} else if err != nil {
		return fmt.Errorf("httpd: serve: %w", err)
	}
	return http.ErrServerClosed
}

// start starts the loops and the workers, once.
func (s *Server) start() (*server.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch serverState(s.state.Load()) {
	case serverClosed:
		return nil, http.ErrServerClosed
	case serverStarted:
		return s.srv, nil
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	h := newConnHandler(s)
	srv := s.config(h)
	if err := srv.Start(); err != nil {
		return nil, fmt.Errorf("httpd: start: %w", err)
	}
	s.srv, s.handler, s.http2 = srv, h, newHTTP2Server(h)
	s.http2.hs.SetKeepAlivesEnabled(!s.noKeepAlives.Load())
	s.state.Store(uint32(serverStarted))
	return srv, nil
}

// isClosed reports whether Shutdown or Close was called.
func (s *Server) isClosed() bool { return serverState(s.state.Load()) == serverClosed }

// keepsAlive reports whether a connection may be used for another request.
func (s *Server) keepsAlive() bool { return !s.noKeepAlives.Load() && !s.isClosed() }

// SetKeepAlivesEnabled says whether connections are used for more than one request, which is the default. SetKeepAlivesEnabled(false) makes
// each connection end after its next response, and closes connections that wait for another request at once. It does not close those that have
// not served a request, those with HTTP/2, and those that were upgraded. A program may call it while it is short of resources, or before
// Shutdown. Any goroutine.
func (s *Server) SetKeepAlivesEnabled(v bool) {
	s.noKeepAlives.Store(!v)
	s.mu.Lock()
	srv, h2 := s.srv, s.http2
	s.mu.Unlock()
	if srv == nil {
		return
	}
	h2.hs.SetKeepAlivesEnabled(v)
	if !v {
		srv.CloseIdle(isHTTP)
	}
}

// isHTTP reports whether the connection has not been upgraded to another protocol.
func isHTTP(c *server.Conn) bool {
	_, ok := server.FindHandler[*connHandler](c.Handler())
	return ok
}

// RegisterOnShutdown registers a function that Shutdown calls on a new goroutine and does not wait for, for example to end connections that were
// hijacked. Any goroutine.
func (s *Server) RegisterOnShutdown(f func()) {
	s.mu.Lock()
	s.onShutdown = append(s.onShutdown, f)
	s.mu.Unlock()
}

// Shutdown ends the server in order: it stops accepting, closes idle connections at once, and waits until the requests in progress are
// complete. If ctx ends first, it closes the connections that are left, and returns an error that matches that of ctx. It does not wait for
// connections that were hijacked: it closes them when there are no others. A program that wants to end them in order does that in a function of
// RegisterOnShutdown. May block; not in a callback.
func (s *Server) Shutdown(ctx context.Context) error {
	srv, h2, fns := s.close()
	for _, f := range fns {
		go f()
	}
	if srv == nil {
		return nil
	}
	other := make(chan error, 1)
	go func() { other <- h2.shutdown(ctx) }()
	err := s.shutdown(ctx, srv)
	if err2 := <-other; err == nil {
		err = err2
	}
	return err
}

// errOnlyHijacked ends a Shutdown that waits for nothing but connections that were hijacked.
var errOnlyHijacked = errors.New("httpd: only hijacked connections are left")

// hijackedPause is the time between two checks whether only hijacked connections are left.
const hijackedPause = 5 * time.Millisecond

// shutdown is Shutdown for the connections on the loops.
func (s *Server) shutdown(ctx context.Context, srv *server.Server) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() { ended <- srv.Shutdown(ctx) }()
	ticker := time.NewTicker(hijackedPause)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if context.Cause(ctx) == errOnlyHijacked { //nolint:errorlint // this very value
				return nil
			}
			return err
		case <-ticker.C:
			if n := s.hijacked.Load(); n > 0 && int64(srv.Stats().OpenConns) == n {
				cancel(errOnlyHijacked)
			}
		}
	}
}

// Close ends the server at once: it closes the listeners and all connections, also those with requests in progress. May block; not in a
// callback.
func (s *Server) Close() error {
	srv, h2, _ := s.close()
	if srv == nil {
		return nil
	}
	err := h2.close()
	if err2 := srv.Close(); err == nil && !errors.As(err2, new(*server.ShutdownError)) {
		err = err2
	}
	return err
}

// close makes the server closed, and returns what is to be ended: a nil srv if it was never started.
func (s *Server) close() (srv *server.Server, h2 *http2Server, onShutdown []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Store(uint32(serverClosed))
	fns := s.onShutdown
	s.onShutdown = nil
	return s.srv, s.http2, fns
}

// logf logs a line to ErrorLog.
func (s *Server) logf(format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// slogger returns the logger for package server.
func (s *Server) slogger() *slog.Logger {
	if s.ErrorLog == nil {
		return slog.Default()
	}
	return slog.New(slog.NewTextHandler(s.ErrorLog.Writer(), nil))
}
