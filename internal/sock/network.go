//go:build linux || darwin || freebsd

package sock

import (
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The networks of streams and of datagrams.
var (
	streams   = []string{"tcp", "tcp4", "tcp6", "unix"}
	datagrams = []string{"udp", "udp4", "udp6", "unixgram"}
)

func isTCP(network string) bool { return network == "tcp" || network == "tcp4" || network == "tcp6" }

func isUDP(network string) bool { return network == "udp" || network == "udp4" || network == "udp6" }

func isUnix(network string) bool { return network == "unix" || network == "unixgram" }

// checkNetwork wraps net.UnknownNetworkError.
func checkNetwork(network string, known ...string) error {
	if slices.Contains(known, network) {
		return nil
	}
	return fmt.Errorf("sock: %w; it is one of %v", net.UnknownNetworkError(network), known)
}

// Network returns the network of fd: "tcp", "udp", "unix" or "unixgram".
func Network(fd int) (string, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	sa, err := unix.Getsockname(fd) // not every system has SO_DOMAIN
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	peer := PeerOf(sa)
	switch {
	case peer == Peer{}:
	case kind == unix.SOCK_STREAM && peer.IsUnix():
		return "unix", nil
	case kind == unix.SOCK_STREAM:
		return "tcp", nil
	case kind == unix.SOCK_DGRAM && peer.IsUnix():
		return "unixgram", nil
	case kind == unix.SOCK_DGRAM:
		return "udp", nil
	}
	return "", fmt.Errorf("sock: descriptor %d is a socket of type %d and address %T: %w", fd, kind, sa, unix.EPROTONOSUPPORT)
}

// CheckStream returns an error for a socket that is not a stream, such as one of network unixpacket. Errors wrap unix.EPROTONOSUPPORT.
func CheckStream(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM {
		return fmt.Errorf("sock: a socket of type %d is not a stream: %w", kind, unix.EPROTONOSUPPORT)
	}
	return nil
}

// Socket makes a stream socket that can be connected to sa.
func Socket(network string, sa unix.Sockaddr) (fd int, err error) {
	if err := checkNetwork(network, streams...); err != nil {
		return -1, err
	}
	domain := 0
	switch sa.(type) {
	case *unix.SockaddrInet4:
		domain = unix.AF_INET
	case *unix.SockaddrInet6:
		domain = unix.AF_INET6
	case *unix.SockaddrUnix:
		domain = unix.AF_UNIX
	}
	fits := map[string]bool{
		"tcp":  domain == unix.AF_INET || domain == unix.AF_INET6,
		"tcp4": domain == unix.AF_INET,
		"tcp6": domain == unix.AF_INET6,
		"unix": domain == unix.AF_UNIX,
	}
	if !fits[network] {
		return -1, fmt.Errorf("sock: an address of %T is not of %s: %w", sa, network, unix.EAFNOSUPPORT)
	}
	fd, err = socket(domain, unix.SOCK_STREAM)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}
