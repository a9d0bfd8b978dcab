package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// ListenAndServe opens a listening socket and serves it until the server is shut down: it is Listen with a nil configuration, and
// Listener.Wait. It starts the server if it has not been started. The networks are those of Listen.
//
// The error is never nil: ErrServerClosed after Shutdown or Close of the server, which return its outcome; ErrListenerClosed after
// Listener.Close; otherwise the error of Listen or of Listener.Wait. May block; not in a callback.
func (s *Server) ListenAndServe(network, address string) error {
	if err := s.offLoops(); err != nil { // before there is a listener
		return fmt.Errorf("listen on %s %s and serve: %w", network, address, err)
	}
	ln, err := s.Listen(context.Background(), network, address, nil)
	if err != nil {
		return err
	}
	return ln.serve()
}

// serve is Wait with an error that is never nil.
func (ln *Listener) serve() error {
	if err := ln.Wait(); err != nil {
		return err
	}
	return ErrListenerClosed
}

// Serve accepts connections from l until the server is shut down: it is AddListener with a nil configuration, and Listener.Wait.
// It starts the server if it has not been started. Once Serve has begun to accept, the server owns l and closes it. If AddListener
// fails, l still belongs to the caller.
//
// The error is never nil: ErrServerClosed after Shutdown or Close of the server; ErrListenerClosed after Listener.Close; otherwise the error
// of AddListener or of Listener.Wait. May block; not in a callback.
func (s *Server) Serve(l net.Listener) error {
	if err := s.offLoops(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	ln, err := s.AddListener(l, nil)
	if err != nil {
		return err
	}
	return ln.serve()
}

// Listen opens a listening socket and begins to accept connections from it. It starts the server if it has not been started. The networks
// are "tcp", "tcp4", "tcp6" and "unix"; the form of the address is that of net.Listen. cfg says how the connections are served; with nil,
// the fields of the Server apply. cfg is copied and not written to.
//
// ctx bounds the lookup of a name in the address. When Listen has returned, the end of ctx has no effect on the listener.
//
// Errors: ErrInvalid, ErrServerClosed, ErrLoopClosed; the cause of ctx if it has ended; the errors of package net and of the system. May
// block; not in a callback.
func (s *Server) Listen(ctx context.Context, network, address string, cfg *ListenerConfig) (*Listener, error) {
	err := s.Start()
	var ln *Listener
	if err == nil {
		ln, err = s.listen(ctx, network, address, valueOf(cfg))
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s %s: %w", network, address, err)
	}
	return ln, nil
}

// errNilContext is the error of calls whose context is nil.
var errNilContext = fmt.Errorf("%w: context is nil", ErrInvalid)

// isNil reports whether v is nil or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// checkContext returns an error if ctx is nil or has ended.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// openError returns err, the error of opening a socket. It wraps ErrInvalid if an option of Socket or the form of the address is the
// reason.
func openError(err error) error {
	var form *net.AddrError
	var option *sock.OptionError
	switch {
	case errors.As(err, &option):
		return fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	case errors.As(err, &form):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

func (s *Server) listen(ctx context.Context, network, address string, cfg ListenerConfig) (*Listener, error) {
	if !isStream(network) {
		return nil, unknownNetwork(network)
	}
	if err := s.checkServes(cfg.Handler); err != nil {
		return nil, err
	}
	if err := cfg.check(network); err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	options := *s.cfg.socket()
	loops := []*loop{s.listenerLoop()}
	if s.cfg.ReusePort && network != "unix" {
		options.ReusePort = true
		loops = s.loops
	}
	if err := options.Check(network); err != nil {
		return nil, fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	}
	ln := s.newListener(&cfg)
	for _, l := range loops {
		fd, addr, err := s.openListener(ctx, network, address, &cfg, &options)
		if err != nil {
			err = openError(err)
			for _, a := range ln.accepts {
				err = errors.Join(err, unix.Close(a.fd))
			}
			return nil, err
		}
		ln.addr, ln.file = addr, sock.FileOf(addr)
		ln.accepts = append(ln.accepts, &acceptor{ln: ln, loop: l, fd: fd, balance: len(loops) == 1})
		if _, port, err := net.SplitHostPort(addr.String()); err == nil { // the other sockets use the port that the first one was given
			host, _, _ := net.SplitHostPort(address)
			address = net.JoinHostPort(host, port)
		}
	}
	if err := s.register(ln); err != nil {
		return nil, err
	}
	return ln, nil
}

// AddListener begins to accept connections from l, which is open already. It starts the server if it has not been started. After success l
// belongs to the server, which closes it; after an error l still belongs to the caller. cfg says how the connections are served; with nil,
// the fields of the Server apply. cfg is copied and not written to; Mode must be 0.
//
// If l is a *net.TCPListener or a *net.UnixListener, a loop accepts from a duplicate of its descriptor. l.Close does not stop that;
// Listener.Close does. For any other listener, also one that embeds one of these, Accept is called on a goroutine. If it fails with a temporary error, for example because
// descriptors are short, the error is logged and Accept is called again after a pause; any other error ends the listener, and Wait returns
// it. Each accepted connection must have a descriptor (a method SyscallConn). If the first one has none, the listener ends with
// ErrUnsupported; later ones are closed.
//
// Errors: ErrInvalid; ErrUnsupported, also for a listener of package tls (set ListenerConfig.TLS and pass the listener beneath it);
// ErrServerClosed; ErrLoopClosed; the system's. Any goroutine.
func (s *Server) AddListener(l net.Listener, cfg *ListenerConfig) (*Listener, error) {
	if isNil(l) {
		return nil, fmt.Errorf("add listener: %w: listener is nil", ErrInvalid)
	}
	err := s.Start()
	var ln *Listener
	if err == nil {
		ln, err = s.addListener(l, valueOf(cfg))
	}
	if err != nil {
		return nil, fmt.Errorf("add listener on %v: %w", l.Addr(), err)
	}
	return ln, nil
}

// tlsListener is the type of the listeners of package tls.
var tlsListener = reflect.TypeOf(tls.NewListener(nil, nil))

// systemListener returns l if its Accept does nothing but accept from its descriptor, and otherwise nil. A type that embeds such a listener has
// its methods, but may have an Accept of its own, which must be called.
func systemListener(l net.Listener) syscall.Conn {
	switch l := l.(type) {
	case *net.TCPListener:
		return l
	case *net.UnixListener:
		return l
	}
	return nil
}

func (s *Server) addListener(l net.Listener, cfg ListenerConfig) (*Listener, error) {
	if err := s.checkServes(cfg.Handler); err != nil {
		return nil, err
	}
	if err := cfg.check(l.Addr().Network()); err != nil {
		return nil, err
	}
	if cfg.Mode != 0 {
		return nil, fmt.Errorf("%w: ListenerConfig.Mode is %v, and the socket is bound already", ErrInvalid, cfg.Mode)
	}
	if reflect.TypeOf(l) == tlsListener {
		return nil, fmt.Errorf("%w: a listener of package tls; set Server.TLS or ListenerConfig.TLS and pass the listener beneath it", ErrUnsupported)
	}
	ln := s.newListener(&cfg)
	ln.addr, ln.original, ln.file = l.Addr(), l, sock.FileOf(l.Addr())
	if sc := systemListener(l); sc != nil {
		fd, err := sock.DupConn(sc)
		if err != nil {
			return nil, err
		}
		err = sock.CheckStream(fd)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrUnsupported, err)
		} else { // on most systems, accepted connections inherit the options of the listener
			err = s.cfg.socket().ApplyConn(l.Addr().Network(), fd)
		}
		if err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
		ln.accepts = []*acceptor{{ln: ln, loop: s.listenerLoop(), fd: fd, balance: true, perConn: sock.IsMultipath(fd), earlier: true}}
	}
	if err := s.register(ln); err != nil {
		return nil, err
	}
	return ln, nil
}

// checkServes returns an error if neither h nor the server's Handler can serve connections.
func (s *Server) checkServes(h Handler) error {
	if h == nil {
		h = s.cfg.Handler
	}
	if h == nil {
		return fmt.Errorf("%w: Handler is nil", ErrInvalid)
	}
	return s.cfg.checkChain(h)
}

// register adds a listener to the server, and its descriptors to their loops. If it fails, it closes the descriptors.
func (s *Server) register(ln *Listener) error {
	s.mu.Lock()
	err := s.runningLocked()
	if err == nil {
		s.listeners[ln] = struct{}{}
		if len(ln.accepts) == 0 {
			s.goroutines.Go(ln.acceptBlocking)
		}
	}
	for _, a := range ln.accepts { // under mu, so that Shutdown finds either no listener or one with its events
		if err == nil {
			if err = a.loop.ev.InitEvent(&a.e, a.fd, event.Read|event.Persist, a.accept); err == nil {
				a.hasEvent = true
				err = a.e.Add(event.NoTimeout)
			}
			err = a.loop.closedError(err)
		}
	}
	s.mu.Unlock()
	if err != nil {
		ln.original = nil // it belongs to the caller
		ln.stop()
	}
	return err
}

// unknownNetwork returns the error of Listen for a network that it does not support.
func unknownNetwork(network string) error {
	if isDatagram(network) {
		return fmt.Errorf("%w: network %q has no connections; use ListenPacket", ErrInvalid, network)
	}
	return fmt.Errorf("%w: network %q is none of tcp, tcp4, tcp6 and unix", ErrInvalid, network)
}

// isDatagram reports whether ListenPacket supports the network.
func isDatagram(network string) bool {
	return network == "udp" || network == "udp4" || network == "udp6"
}

// isStream reports whether Listen and Dial support the network.
func isStream(network string) bool {
	return network == "tcp" || network == "tcp4" || network == "tcp6" || network == "unix"
}
