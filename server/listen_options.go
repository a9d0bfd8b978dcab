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

// ListenOptions are how a listener serves its connections, where that differs from the server. The zero value is as the server's fields
// say.
type ListenOptions struct {
	// Handler serves the connections. Nil means Server.Handler.
	Handler Handler
	// TLS makes the listener's connections speak TLS with this configuration. Nil means Server.TLS.
	TLS *tls.Config
	// Plain makes connections speak no TLS although Server.TLS is set. It is ErrInvalid beside TLS.
	Plain bool
	// ProxyProtocol makes connections begin with a PROXY header, as Server.ProxyProtocol does for those of all listeners.
	ProxyProtocol bool
	// NoProxyProtocol makes connections begin without a PROXY header although Server.ProxyProtocol is set. It is ErrInvalid beside ProxyProtocol.
	NoProxyProtocol bool
	// Mode is the permission bits of the file of a unix socket, whatever the umask is. On Linux the file has more permissions at no time. 0 means
	// 0777 less the umask, as with package net; other networks have no mode.
	Mode fs.FileMode
}

// check checks the options for a network.
func (o *ListenOptions) check(network string) error {
	switch {
	case o.TLS != nil && o.Plain:
		return fmt.Errorf("%w: TLS and Plain are set", ErrInvalid)
	case o.TLS != nil && !hasCertificate(o.TLS):
		return fmt.Errorf("%w: TLS has no certificate", ErrInvalid)
	case o.ProxyProtocol && o.NoProxyProtocol:
		return fmt.Errorf("%w: ProxyProtocol and NoProxyProtocol are set", ErrInvalid)
	case o.Mode&^fs.ModePerm != 0:
		return fmt.Errorf("%w: Mode is %v, not permission bits", ErrInvalid, o.Mode)
	case o.Mode != 0 && network != "unix":
		return fmt.Errorf("%w: Mode is %v, and a socket of network %q has no file", ErrInvalid, o.Mode, network)
	}
	return nil
}

// start is what the listener's connections begin with.
func (o *ListenOptions) start(s *Server) start {
	begins := s.accepted()
	if o.TLS != nil {
		begins.tls = o.TLS
	}
	if o.Plain {
		begins.tls = nil
	}
	begins.proxy = (begins.proxy || o.ProxyProtocol) && !o.NoProxyProtocol
	return begins
}

// openListener opens a listening descriptor. On Linux the file of a unix socket is made with no more permissions than Mode has, and then gets
// those that the umask has removed.
func (s *Server) openListener(ctx context.Context, network, address string, o *ListenOptions, options *sock.Options) (int, net.Addr, error) {
	lc := s.cfg.ListenConfig
	if o.Mode != 0 && runtime.GOOS == "linux" { // bind takes the mode of the descriptor
		users := lc.Control
		lc.Control = func(network, address string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), uint32(o.Mode)) })
			if err = errors.Join(err, failed); err != nil || users == nil {
				return err
			}
			return users(network, address, c)
		}
	}
	fd, addr, unlink, err := sock.Listen(ctx, &lc, network, address, options)
	if err != nil || o.Mode == 0 || unlink == "" {
		return fd, addr, err
	}
	if err := os.Chmod(unlink, o.Mode); err != nil {
		return -1, nil, errors.Join(err, os.Remove(unlink), unix.Close(fd))
	}
	return fd, addr, nil
}
