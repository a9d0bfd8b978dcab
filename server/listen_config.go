package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// ListenerConfig says how the connections of a listener are served, where that differs from the fields of the Server.
type ListenerConfig struct {
	// Handler serves the connections. Nil means Server.Handler.
	Handler Handler
	// TLS makes the listener's connections use TLS with this configuration. Nil means Server.TLS.
	TLS *tls.Config
	// Plain makes the connections use no TLS although Server.TLS is set. Together with TLS it is ErrInvalid.
	Plain bool
	// NotTLS is called with the first five bytes of a connection if they do not begin a TLS handshake, for example those of an HTTP request. It
	// returns the bytes that are sent to the client before the connection is rejected with ErrHandshake; nil means none, as does a nil NotTLS.
	// It must not keep the argument, and the server does not change the result. It is called on the connection's loop, and must not block.
	// Without TLS it is ErrInvalid.
	NotTLS func(first []byte) []byte
	// ProxyProtocol makes the connections begin with a PROXY header, as Server.ProxyProtocol does for all listeners.
	ProxyProtocol bool
	// NoProxyProtocol makes the connections begin without a PROXY header although Server.ProxyProtocol is set. Together with ProxyProtocol
	// it is ErrInvalid.
	NoProxyProtocol bool
	// Mode has the permission bits of the file of a unix socket. The umask does not change them. On Linux the file never has more
	// permissions, not even for a short time. 0 means 0777 without the umask's bits, as in package net. With another network, or with
	// AddListener, a Mode other than 0 is ErrInvalid.
	Mode fs.FileMode
}

// check checks the configuration for a network.
func (cfg *ListenerConfig) check(network string) error {
	switch {
	case cfg.TLS != nil && cfg.Plain:
		return fmt.Errorf("%w: ListenerConfig.TLS and Plain are both set", ErrInvalid)
	case cfg.TLS != nil && !hasCertificate(cfg.TLS):
		return fmt.Errorf("%w: ListenerConfig.TLS has no certificate", ErrInvalid)
	case cfg.NotTLS != nil && cfg.TLS == nil:
		return fmt.Errorf("%w: ListenerConfig.NotTLS is set without TLS", ErrInvalid)
	case cfg.ProxyProtocol && cfg.NoProxyProtocol:
		return fmt.Errorf("%w: ListenerConfig.ProxyProtocol and NoProxyProtocol are both set", ErrInvalid)
	case cfg.Mode&^fs.ModePerm != 0:
		return fmt.Errorf("%w: ListenerConfig.Mode is %v, not permission bits", ErrInvalid, cfg.Mode)
	case cfg.Mode != 0 && network != "unix":
		return fmt.Errorf("%w: ListenerConfig.Mode is %v, and a socket of network %q has no file", ErrInvalid, cfg.Mode, network)
	}
	return nil
}

// setup returns the layers that the listener's connections begin with.
func (cfg *ListenerConfig) setup(s *Server) connSetup {
	setup := s.defaultSetup()
	if cfg.TLS != nil {
		setup.tls, setup.notTLS = cfg.TLS, cfg.NotTLS
	}
	if cfg.Plain {
		setup.tls = nil
	}
	setup.proxy = (setup.proxy || cfg.ProxyProtocol) && !cfg.NoProxyProtocol
	return setup
}

// openListener opens a listening descriptor. On Linux the file of a unix socket is created with the permissions of Mode that the umask
// permits, and is given the others afterwards.
func (s *Server) openListener(ctx context.Context, network, address string, cfg *ListenerConfig, options *sock.Options) (int, net.Addr, error) {
	lc := s.cfg.ListenConfig
	if cfg.Mode != 0 && runtime.GOOS == "linux" { // bind gives the file the mode of the descriptor
		users := lc.Control
		lc.Control = func(network, address string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), uint32(cfg.Mode)) })
			if err = errors.Join(err, failed); err != nil || users == nil {
				return err
			}
			return users(network, address, c)
		}
	}
	fd, addr, unlink, err := sock.Listen(ctx, &lc, network, address, options)
	if err != nil || cfg.Mode == 0 || unlink == "" {
		return fd, addr, err
	}
	if err := os.Chmod(unlink, cfg.Mode); err != nil {
		return -1, nil, errors.Join(err, os.Remove(unlink), unix.Close(fd))
	}
	return fd, addr, nil
}

// defaultSetup returns the setup of the connections of a listener without options.
func (s *Server) defaultSetup() connSetup {
	return connSetup{proxy: s.cfg.ProxyProtocol, tls: s.cfg.TLS}
}

// hasCertificate reports whether a server's configuration has a certificate, or a function that returns one.
func hasCertificate(config *tls.Config) bool {
	return len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil
}
