//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// Socket activation: a service manager opens the sockets and starts the program with them, as sd_listen_fds(3) describes. LISTEN_FDS is their
// number, LISTEN_PID the process that they are for, and LISTEN_FDNAMES has the names from FileDescriptorName= in the socket units. The sockets
// stay open in the service manager, so no connection is refused during a restart.
const (
	firstPassed = 3
	mostPassed  = 1024 // a higher LISTEN_FDS is an error
	nameBare    = "notls"
)

// takePassed returns the sockets that were passed to this process. The name of a file is that of its socket. It removes the variables, which
// are not for child processes.
func takePassed() ([]*os.File, error) {
	pid, number, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, system("%s: %w", name, err)
		}
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > mostPassed {
		return nil, system("LISTEN_FDS: %q is not a number from 0 to %d", number, mostPassed)
	}
	files := make([]*os.File, n)
	known := strings.Split(names, ":")
	for i := range files {
		name := "unknown"
		if i < len(known) && known[i] != "" {
			name = known[i]
		}
		unix.CloseOnExec(firstPassed + i)
		files[i] = os.NewFile(uintptr(firstPassed+i), name)
	}
	return files, nil
}

// adopt makes the program listen on the passed sockets, and closes the files. With TLS all TCP sockets use TLS, except those named notls.
func (k *sockets) adopt(s *settings) error {
	for i, f := range s.passed {
		if err := k.adoptOne(s, f); err != nil {
			return fmt.Errorf("socket %d (%s) of the service manager: %w", firstPassed+i, f.Name(), err)
		}
		if err := f.Close(); err != nil { // the listener has a duplicate
			return system("close a passed socket: %w", err)
		}
	}
	if s.tls.on && len(k.streams) == 0 {
		return usage("-Z needs a TCP socket, and the service manager has passed none for TLS")
	}
	return nil
}

func (k *sockets) adoptOne(s *settings, f *os.File) error {
	fd := int(f.Fd())
	network, err := sock.Network(fd)
	if err != nil {
		return system("%w", err)
	}
	switch network {
	case "tcp", "unix":
		l, err := listenerOf(f, fd)
		if err != nil {
			return system("%w", err)
		}
		s.noteAddress(l.Addr())
		if network == "tcp" {
			k.order = append(k.order, l.Addr())
		}
		if network == "tcp" && s.tls.on && f.Name() != nameBare {
			k.streams = append(k.streams, l)
		} else {
			k.bare = append(k.bare, l)
		}
	case "udp":
		if s.authFile != "" {
			return usage("-Y cannot protect UDP")
		}
		p, err := net.FilePacketConn(f)
		if err != nil {
			return system("%w", err)
		}
		s.noteAddress(p.LocalAddr())
		k.order = append(k.order, p.LocalAddr())
		k.packets = append(k.packets, p)
	default:
		return system("%s sockets are not served", network)
	}
	return nil
}

var errNotListening = errors.New("not a listening socket: the socket unit needs Accept=no")

// listenerOf returns a listener for a duplicate of f.
func listenerOf(f *os.File, fd int) (net.Listener, error) {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if listens == 0 {
		return nil, errNotListening
	}
	return net.FileListener(f)
}

// noteAddress sets the settings that stats settings shows for the address of a socket.
func (s *settings) noteAddress(a net.Addr) {
	switch a := a.(type) {
	case *net.TCPAddr:
		s.listen = append(s.listen, a.String())
		if s.port == 0 {
			s.port = a.Port
		}
	case *net.UDPAddr:
		if s.udpPort == 0 {
			s.udpPort = a.Port
		}
	case *net.UnixAddr:
		s.socket = a.Name
	}
}
