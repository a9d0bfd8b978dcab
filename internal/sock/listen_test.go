//go:build linux || darwin || freebsd

package sock_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

func TestTheSocketFileOutlivesTheStandardLibrarysListener(t *testing.T) {
	path := socketPath(t)
	fd, addr, unlink, err := sock.Listen(context.Background(), nil, "unix", path, nil)
	testkit.Must(t, err)
	closeLater(t, fd)
	equal(t, "unlink", unlink, path)
	equal(t, "addr", addr.String(), path)
	c, err := net.Dial("unix", path)
	testkit.Must(t, err)
	c.Close()
	_, _, _, err = sock.Listen(context.Background(), nil, "unix", path, nil)
	equal(t, "a second listener", errors.Is(err, unix.EADDRINUSE), true)
	testkit.Must(t, os.Remove(unlink)) // and the refused one left it alone
}

func TestIPListenersHaveNothingToUnlink(t *testing.T) {
	fd, _, unlink, err := sock.Listen(context.Background(), nil, "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	closeLater(t, fd)
	equal(t, "unlink", unlink, "")
}

func TestDatagramsGoBothWays(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	all := []place{
		{"udp4", "udp4", "127.0.0.1:0"},
		{"udp", "udp", "127.0.0.1:0"},
		{"unixgram", "unixgram", ""},
	}
	if hasIPv6(t) {
		all = append(all, place{"udp6", "udp6", "[::1]:0"})
	}
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			open := func(file string) (int, unix.Sockaddr) {
				if p.network == "unixgram" {
					p.address = filepath.Join(dir, file)
				}
				fd, addr, unlink, err := sock.ListenPacket(context.Background(), nil, p.network, p.address, &sock.Options{ReadBuffer: 1 << 16})
				testkit.Must(t, err)
				isOurs(t, closeLater(t, fd))
				if p.network == "unixgram" {
					equal(t, "unlink", unlink, addr.String())
					t.Cleanup(func() { testkit.Must(t, os.Remove(unlink)) })
				}
				sa, err := unix.Getsockname(fd)
				testkit.Must(t, err)
				return fd, sa
			}
			a, aName := open("a")
			b, bName := open("b")
			testkit.Must(t, kernel.SendTo(a, []byte("ping"), bName))
			testkit.Must(t, kernel.SendTo(a, nil, bName)) // an empty one is one
			wait(t, b, unix.POLLIN)
			buf := make([]byte, 3)
			n, from, err := kernel.RecvFrom(b, buf)
			testkit.Must(t, err)
			equal(t, "cut to the buffer", string(buf[:n]), "pin")
			equal(t, "from", from, sock.PeerOf(aName))
			n, _, err = kernel.RecvFrom(b, buf)
			testkit.Must(t, err)
			equal(t, "the empty one", n, 0)
			_, _, err = kernel.RecvFrom(b, buf)
			equal(t, "no more", err, error(unix.EAGAIN))
			testkit.Must(t, kernel.SendTo(b, []byte("pong"), aName))
			wait(t, a, unix.POLLIN)
			_, from, err = kernel.RecvFrom(a, buf)
			testkit.Must(t, err)
			equal(t, "from", from, sock.PeerOf(bName))
		})
	}
}

// The user's Control comes after the options and before the address is bound.
func TestControlHasTheLastWord(t *testing.T) {
	var called int
	lc := &net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		called++
		return c.Control(func(fd uintptr) {
			sa, err := unix.Getsockname(int(fd))
			testkit.Must(t, err)
			equal(t, "port", sock.PeerOf(sa).AddrPort().Port(), 0)
			equal(t, "network", network[3:], "4")
			equal(t, "no-delay", option(t, int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0, true)
			testkit.Must(t, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 0))
		})
	}}
	fd, _, _, err := sock.Listen(context.Background(), lc, "tcp4", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	closeLater(t, fd)
	equal(t, "calls", called, 1)
	equal(t, "no-delay", option(t, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY), 0)

	refused := errors.New("refused by the user")
	lc.Control = func(string, string, syscall.RawConn) error { return refused }
	_, _, _, err = sock.Listen(context.Background(), lc, "tcp4", "127.0.0.1:0", nil)
	equal(t, "its error", errors.Is(err, refused), true)
	_, _, _, err = sock.ListenPacket(context.Background(), lc, "udp4", "127.0.0.1:0", nil)
	equal(t, "its error", errors.Is(err, refused), true)
}

func TestNamesAreLookedUpAsInTheStandardLibrary(t *testing.T) {
	fd, addr, _, err := sock.Listen(context.Background(), nil, "tcp4", "localhost:0", nil)
	testkit.Must(t, err)
	closeLater(t, fd)
	equal(t, "localhost", addr.(*net.TCPAddr).IP.IsLoopback(), true)
	_, _, _, err = sock.Listen(context.Background(), nil, "tcp4", "127.0.0.1:no-such-service", nil)
	var dns *net.DNSError
	equal(t, "an unknown service", errors.As(err, &dns), true)
}
