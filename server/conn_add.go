package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// ConnConfig is the configuration of a connection that is given to AddConn. With the zero value the connection has no TLS and no PROXY
// header, whatever the server's fields say.
type ConnConfig struct {
	// Handler serves the connection. Nil means Server.Handler.
	Handler Handler
	// Value is the result of Conn.Value until SetValue is called.
	Value any
	// Near, if not nil, is a connection of the same server. The new connection is put on the loop of Near. Nil means that the server
	// chooses the loop.
	Near *Conn
	// Accepted serves the connection like one that a listener of the server has accepted: it begins with a PROXY header if
	// Server.ProxyProtocol is set, and with a TLS handshake if Server.TLS or TLS is set.
	Accepted bool
	// TLS, if not nil, makes the connection use TLS with this configuration: as the server, or as the client if Client is set.
	TLS *tls.Config
	// Client makes this side the client of TLS; without TLS it is ErrInvalid. If the handshake fails, the handler's Close is called with the
	// reason, as after Dial, and not OnReject.
	Client bool
}

// AddConn makes nc a connection of the server: a stream connection of package net, or another one that has a descriptor (a method
// SyscallConn). cfg says how it is served; nil means the zero ConnConfig. cfg is copied and not written to.
//
// The descriptor is duplicated and nc is closed, so that the Go runtime's poller does not watch it as well. Bytes that were read from nc
// before the call are not given to the handler. After an error nc still belongs to the caller.
//
// Errors: ErrInvalid; ErrUnsupported, also for a *tls.Conn; ErrOverload at MaxConns; ErrNotStarted; ErrServerClosed; ErrLoopClosed; the
// system's. Any goroutine.
func (s *Server) AddConn(nc net.Conn, cfg *ConnConfig) (*Conn, error) {
	if isNil(nc) {
		return nil, fmt.Errorf("add connection: %w: connection is nil", ErrInvalid)
	}
	c, err := s.addConn(nc, valueOf(cfg), nil)
	if err != nil {
		if errors.Is(err, ErrOverload) {
			s.totals.refused.Add(1)
		}
		return nil, fmt.Errorf("add connection from %v: %w", nc.RemoteAddr(), err)
	}
	return c, nil
}

// setup returns the layers that the connection begins with.
func (cfg *ConnConfig) setup(s *Server) (connSetup, error) {
	config := cfg.TLS
	switch {
	case cfg.Near != nil && cfg.Near.loop.srv != s:
		return connSetup{}, fmt.Errorf("%w: ConnConfig.Near is a connection of another server", ErrInvalid)
	case cfg.Client && cfg.TLS == nil:
		return connSetup{}, fmt.Errorf("%w: ConnConfig.Client is set and TLS is nil", ErrInvalid)
	case cfg.Client && cfg.Accepted:
		return connSetup{}, fmt.Errorf("%w: ConnConfig.Client and Accepted are both set", ErrInvalid)
	case cfg.Client:
		if err := checkClientTLS(cfg.TLS); err != nil {
			return connSetup{}, err
		}
	case cfg.TLS != nil && !hasCertificate(cfg.TLS):
		return connSetup{}, fmt.Errorf("%w: ConnConfig.TLS has no certificate", ErrInvalid)
	case config == nil && cfg.Accepted:
		config = s.cfg.TLS
	}
	return connSetup{proxy: cfg.Accepted && s.cfg.ProxyProtocol, tls: config, client: cfg.Client}, nil
}

// addConn is AddConn. The connection begins with the layers of its listener, or with those of cfg if listener is nil.
func (s *Server) addConn(nc net.Conn, cfg ConnConfig, listener *Listener) (*Conn, error) {
	if err := s.beginAdd(cfg.Handler); err != nil {
		return nil, err
	}
	defer s.adding.Done()
	setup, err := cfg.setup(s)
	if err != nil {
		return nil, err
	}
	if listener != nil {
		setup = listener.setup
	}
	sc, err := streamOf(nc)
	if err != nil {
		return nil, err
	}
	if !s.enterConn(cfg.Client) {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrOverload, s.cfg.MaxConns)
	}
	fd, taken := -1, false
	defer func() {
		if !taken { // also when PickLoop panics or calls runtime.Goexit
			s.leaveConn(cfg.Client)
			if fd >= 0 {
				_ = s.calls.Close(fd) // a duplicate; the caller keeps the connection and gets the first error
			}
		}
	}()
	fd, err = sock.DupConn(sc)
	if err != nil {
		return nil, err
	}
	peer, err := sock.RemotePeer(fd)
	if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EINVAL) { // the errors of Linux and BSD after a reset, which a read reports
		peer, err = peerOf(nc.RemoteAddr()), nil
	}
	var c *loopConn
	if err == nil {
		c, err = s.newConn(s.loopNear(cfg.Near, peer), fd, peer, cfg.Handler, setup)
	}
	if err != nil {
		return nil, err
	}
	c.SetValue(cfg.Value)
	if cfg.Client {
		c.extra().outgoing = true
	}
	if !c.giveToLoop(cmdOpen) { // before nc is closed, since after an error it belongs to the caller
		return nil, c.loop.closedError(event.ErrClosed)
	}
	taken = true
	if err := nc.Close(); err != nil {
		s.cfg.Logger.Warn("server: close added connection", "err", err)
	}
	return &c.Conn, nil
}

// streamOf returns nc as a stream that has a descriptor.
func streamOf(nc net.Conn) (syscall.Conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		if _, ok := nc.(*tls.Conn); ok {
			return nil, fmt.Errorf("%w: a *tls.Conn; set Server.TLS or ConnConfig.TLS and pass the connection beneath it", ErrUnsupported)
		}
		return nil, fmt.Errorf("%w: %T has no descriptor", ErrUnsupported, nc)
	}
	if _, ok := nc.(net.PacketConn); ok {
		if u, ok := nc.(*net.UnixConn); !ok || u.LocalAddr().Network() != "unix" {
			return nil, fmt.Errorf("%w: %T is not a stream", ErrUnsupported, nc)
		}
	}
	return sc, nil
}

// loopNear returns the loop of near, or the one that the server chooses for peer if near is nil.
func (s *Server) loopNear(near *Conn, peer sock.Peer) *loop {
	if near != nil {
		return near.loop
	}
	return s.pick(peer)
}

// peerOf returns the peer with address a, or the zero Peer if a is neither a TCP nor a unix address.
func peerOf(a net.Addr) sock.Peer {
	switch a := a.(type) {
	case *net.TCPAddr:
		return sock.PeerOf(sock.Sockaddr("tcp", a.AddrPort()))
	case *net.UnixAddr:
		return sock.PeerOf(&unix.SockaddrUnix{})
	}
	return sock.Peer{}
}

// beginAdd registers a call that adds a connection with handler h. If it returns nil, a shutdown waits for adding.Done, which the caller
// calls when the connection was given to its loop.
func (s *Server) beginAdd(h Handler) error {
	s.mu.Lock()
	err := s.runningLocked()
	if err == nil {
		s.adding.Add(1)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err = s.checkServes(h); err != nil {
		s.adding.Done()
	}
	return err
}
