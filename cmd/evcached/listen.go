//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockets are the open sockets before servers use them.
type sockets struct {
	streams []net.Listener // with TLS, if -Z is on
	bare    []net.Listener // without
	packets []net.PacketConn
	order   []net.Addr // addresses of network sockets in the order in which they were opened
}

// portsNeedRoot reports whether a port has to be opened before the change of user, since it is below 1024.
func (s *settings) portsNeedRoot() bool {
	if s.user == "" || s.socket != "" {
		return false
	}
	ports := []int{s.port, s.udpPort}
	for _, text := range s.listen {
		if e, err := parseEndpoint(text); err == nil && e.own {
			ports = append(ports, e.port)
		}
	}
	return slices.ContainsFunc(ports, func(port int) bool { return 0 < port && port < 1024 })
}

// close closes the sockets that no server has closed.
func (k *sockets) close() (err error) {
	var all []io.Closer
	for _, l := range slices.Concat(k.streams, k.bare) {
		all = append(all, l)
	}
	for _, p := range k.packets {
		all = append(all, p)
	}
	for _, c := range all {
		if e := c.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// open binds the addresses of -l. A port below 1024 may need root, so this comes before -u.
func (k *sockets) open(ctx context.Context, s *settings) error {
	if len(s.passed) > 0 {
		return k.adopt(s)
	}
	if s.socket != "" {
		return nil
	}
	listen := s.listen
	if len(listen) == 0 {
		listen = []string{defaultAddress}
	}
	for _, text := range listen {
		e, err := parseEndpoint(text)
		switch {
		case err != nil:
			return system("%w", err)
		case e.bare && !s.tls.on:
			return system("-l %s: notls: needs -Z", text)
		}
		if err := k.bind(ctx, s, e); err != nil {
			return system("%w", err)
		}
	}
	return nil
}

// bind opens the sockets of one endpoint. If a name has several addresses, it ignores those that this machine does not have.
func (k *sockets) bind(ctx context.Context, s *settings, e endpoint) error {
	hosts, err := e.hosts(ctx)
	if err != nil {
		return err
	}
	bound := 0
	var missing error
	for _, host := range hosts {
		err := k.bindHost(s, e, host)
		switch {
		case err == nil:
			bound++
		case len(hosts) > 1 && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)):
			missing = err
		default:
			return err
		}
	}
	if bound == 0 {
		return missing
	}
	return nil
}

func (k *sockets) bindHost(s *settings, e endpoint, host string) error {
	if s.port != 0 {
		l, err := listenStream("tcp", net.JoinHostPort(host, strconv.Itoa(e.at(s.port))), s.backlog)
		if err != nil {
			return err
		}
		if e.bare || !s.tls.on {
			k.bare = append(k.bare, l)
		} else {
			k.streams = append(k.streams, l)
		}
		k.order = append(k.order, l.Addr())
	}
	if s.udpPort != 0 {
		p, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(e.at(s.udpPort))))
		if err != nil {
			return err
		}
		k.packets = append(k.packets, p)
		k.order = append(k.order, p.LocalAddr())
	}
	return nil
}

// listenStream is net.Listen with a backlog. It does not use multipath TCP, unlike package net, since a cache is near its clients.
func listenStream(network, address string, backlog int) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err == nil {
		if e := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }); e != nil {
			err = e
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s with a backlog of %d: %w", address, backlog, err), l.Close())
	}
	return l, nil
}
