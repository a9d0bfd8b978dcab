//go:build linux || darwin || freebsd

package sock

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
)

// Listen opens a listener as net.ListenConfig does, with its names of hosts, services and sockets, and returns a descriptor that the Go
// runtime does not watch. The caller owns fd. network is tcp, tcp4, tcp6 or unix. If unlink is not empty, it is the file of a unix socket, which
// the caller removes when it closes fd.
//
// ctx bounds the look-up of a name. lc and o may be nil. The Control function of lc is called after o was applied, so that it can change the options.
// The keep-alive of lc is ignored in favour of o's. Multipath TCP, which package net uses by default, is not used, because many kernels support few
// options on its sockets. May block, for names.
func Listen(ctx context.Context, lc *net.ListenConfig, network, address string, o *Options) (fd int, addr net.Addr, unlink string, err error) {
	lc, err = prepare(lc, network, streams, o)
	if err != nil {
		return -1, nil, "", err
	}
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return -1, nil, "", err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	fd, unlink, err = takeOut(l.(source), l.Addr())
	return fd, l.Addr(), unlink, err
}

// ListenPacket is Listen for datagrams: network is udp, udp4, udp6 or unixgram. May block, for names.
func ListenPacket(ctx context.Context, lc *net.ListenConfig, network, address string, o *Options) (fd int, addr net.Addr, unlink string, err error) {
	lc, err = prepare(lc, network, datagrams, o)
	if err != nil {
		return -1, nil, "", err
	}
	c, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return -1, nil, "", err
	}
	fd, unlink, err = takeOut(c.(source), c.LocalAddr())
	return fd, c.LocalAddr(), unlink, err
}

// prepare returns a ListenConfig that applies o and then calls lc's Control.
func prepare(lc *net.ListenConfig, network string, known []string, o *Options) (*net.ListenConfig, error) {
	if err := checkNetwork(network, known...); err != nil {
		return nil, err
	}
	if o == nil {
		o = &Options{}
	}
	if err := o.Check(network); err != nil {
		return nil, err
	}
	var mine net.ListenConfig
	if lc != nil {
		mine = *lc
	}
	users := mine.Control
	mine.SetMultipathTCP(false)
	mine.Control = func(network, address string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = o.ApplyListener(network, int(fd)) }); err != nil {
			return fmt.Errorf("sock: options of %s: %w", address, err)
		}
		if failed == nil && users != nil {
			failed = users(network, address, c)
		}
		return failed
	}
	return &mine, nil
}

// source is every listener and packet socket of package net.
type source interface {
	syscall.Conn
	io.Closer
}

// takeOut duplicates the descriptor of s and closes s. The close removes s from the runtime's poller, which would otherwise
// be woken for each connection, too.
func takeOut(s source, addr net.Addr) (fd int, unlink string, err error) {
	unlink = socketFile(addr)
	fd, err = DupConn(s)
	if e := s.Close(); e != nil && err == nil {
		_ = kernel.Close(fd) // the first error is returned
		err = e
	}
	if err != nil {
		remove(unlink)
		return -1, "", err
	}
	return fd, unlink, nil
}
