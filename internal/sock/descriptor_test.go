//go:build linux || darwin || freebsd

package sock_test

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

func TestADuplicateIsOfTheSameSocketAndLeavesItAlone(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		l, err := net.Listen(p.network, p.address)
		testkit.Must(t, err)
		defer l.Close()
		c, err := net.Dial(p.network, l.Addr().String())
		testkit.Must(t, err)
		defer c.Close()
		server, err := l.Accept()
		testkit.Must(t, err)
		defer server.Close()
		fd, err := sock.DupConn(c.(syscall.Conn))
		testkit.Must(t, err)
		isOurs(t, closeLater(t, fd))
		_, err = kernel.Write(fd, []byte("dup"))
		testkit.Must(t, err)
		buf := make([]byte, 8)
		n, err := server.Read(buf)
		testkit.Must(t, err)
		equal(t, "read", string(buf[:n]), "dup")

		// c still does not block: a deadline ends its read.
		testkit.Must(t, c.SetReadDeadline(time.Unix(1, 0)))
		_, err = c.Read(buf)
		equal(t, "the original's deadline", errors.Is(err, os.ErrDeadlineExceeded), true)

		testkit.Must(t, c.Close())
		_, err = kernel.Write(fd, []byte("!"))
		testkit.Must(t, err) // the socket is open until both are closed
		_, err = sock.DupConn(c.(syscall.Conn))
		equal(t, "of a closed one", errors.Is(err, net.ErrClosed), true)
	})
}

func TestANetworkIsKnownByItsDescriptor(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		want := map[string]string{"tcp4": "tcp", "tcp6": "tcp", "unix": "unix"}[p.network]
		for _, fd := range []int{client, server} {
			got, err := sock.Network(fd)
			testkit.Must(t, err)
			equal(t, "Network", got, want)
		}
	})
	for want, p := range map[string]place{
		"udp":      {network: "udp4", address: "127.0.0.1:0"},
		"unixgram": {network: "unixgram", address: socketPath(t)},
	} {
		fd, _, unlink, err := sock.ListenPacket(context.Background(), nil, p.network, p.address, nil)
		testkit.Must(t, err)
		closeLater(t, fd)
		got, err := sock.Network(fd)
		testkit.Must(t, err)
		equal(t, "Network", got, want)
		if unlink != "" {
			testkit.Must(t, os.Remove(unlink))
		}
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	testkit.Must(t, err)
	closeLater(t, null)
	for fd, want := range map[int]error{null: unix.ENOTSOCK, 1 << 20: unix.EBADF} {
		if _, err := sock.Network(fd); !errors.Is(err, want) {
			t.Errorf("descriptor %d: %v, want %v", fd, err, want)
		}
	}
}

func TestFileConnTakesADescriptorOver(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := openPair(t, p)
		closeLater(t, client)
		c, err := sock.FileConn(server)
		testkit.Must(t, err)
		defer c.Close()
		_, err = unix.FcntlInt(uintptr(server), unix.F_GETFD, 0)
		equal(t, "the old number", err, error(unix.EBADF))
		raw, err := c.(syscall.Conn).SyscallConn()
		testkit.Must(t, err)
		testkit.Must(t, raw.Control(func(fd uintptr) { isOurs(t, int(fd)) }))

		_, err = kernel.Write(client, []byte("hello"))
		testkit.Must(t, err)
		buf := make([]byte, 8)
		n, err := c.Read(buf)
		testkit.Must(t, err)
		equal(t, "read", string(buf[:n]), "hello")
		testkit.Must(t, c.SetReadDeadline(time.Unix(1, 0)))
		_, err = c.Read(buf)
		equal(t, "its deadline", errors.Is(err, os.ErrDeadlineExceeded), true)
		_, err = c.Write([]byte("world"))
		testkit.Must(t, err)
		wait(t, client, unix.POLLIN)
		equal(t, "answer", string(drain(t, client)), "world")
	})
}

func TestFileConnClosesWhatItRefuses(t *testing.T) {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	testkit.Must(t, err)
	if c, err := sock.FileConn(fd); err == nil {
		c.Close()
		t.Error("a file is a connection")
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	equal(t, "its number", err, error(unix.EBADF))
	_, err = sock.FileConn(-1)
	equal(t, "of none", errors.Is(err, unix.EBADF), true)
}

func TestASocketIsOfTheAddressItShallConnectTo(t *testing.T) {
	inet4, inet6, file := &unix.SockaddrInet4{}, &unix.SockaddrInet6{}, &unix.SockaddrUnix{Name: "/s"}
	for _, c := range []struct {
		network string
		sa      unix.Sockaddr
		fits    bool
	}{
		{"tcp", inet4, true}, {"tcp4", inet4, true}, {"tcp6", inet4, false}, {"unix", inet4, false},
		{"tcp4", inet6, false}, {"unix", inet6, false},
		{"tcp", file, false}, {"unix", file, true},
		{"tcp", nil, false},
	} {
		fd, err := sock.Socket(c.network, c.sa)
		if c.fits {
			testkit.Must(t, err)
			isOurs(t, closeLater(t, fd))
		} else if !errors.Is(err, unix.EAFNOSUPPORT) {
			t.Errorf("%s to %T: %v", c.network, c.sa, err)
		}
	}
	_, err := sock.Socket("udp", inet4)
	equal(t, "of datagrams", errors.Is(err, net.UnknownNetworkError("udp")), true)
}
