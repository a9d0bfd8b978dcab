//go:build linux || darwin || freebsd

package sock_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

var kernel sock.Calls = &sock.Kernel{}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// place is where a network's sockets are opened in tests.
type place struct{ name, network, address string }

// streams are the places that this machine has.
func streams(t testing.TB) []place {
	all := []place{
		{"tcp4", "tcp4", "127.0.0.1:0"},
		{"unix", "unix", socketPath(t)},
	}
	if hasIPv6(t) {
		all = append(all, place{"tcp6", "tcp6", "[::1]:0"})
	}
	return all
}

// socketPath is shorter than t.TempDir may be: an address has room for some 100 bytes.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	testkit.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func onStreams(t *testing.T, test func(t *testing.T, p place)) {
	for _, p := range streams(t) {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

func hasIPv6(t testing.TB) bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("left out, as this machine has no IPv6: %v", err)
		return false
	}
	l.Close()
	return true
}

// closeLater closes fd, once.
func closeLater(t testing.TB, fd int) int {
	t.Helper()
	t.Cleanup(func() {
		if err := kernel.Close(fd); err != nil {
			t.Errorf("closing %d: %v", fd, err)
		}
	})
	return fd
}

func listen(t testing.TB, p place, o *sock.Options) (fd int, addr net.Addr) {
	t.Helper()
	fd, addr, unlink, err := sock.Listen(context.Background(), nil, p.network, p.address, o)
	testkit.Must(t, err)
	closeLater(t, fd)
	if unlink != "" {
		t.Cleanup(func() { testkit.Must(t, unix.Unlink(unlink)) })
	}
	return fd, addr
}

// wait waits until fd is ready for poll's events.
func wait(t testing.TB, fd int, events int16) {
	t.Helper()
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, 30_000)
		if err == unix.EINTR {
			continue
		}
		testkit.Must(t, err)
		if n == 0 {
			t.Fatalf("descriptor %d was not ready for %#x in 30 s", fd, events)
		}
		return
	}
}

// connect begins to connect to a listener; the descriptor is the caller's.
func connect(t testing.TB, network string, listener int) int {
	t.Helper()
	sa, err := unix.Getsockname(listener)
	testkit.Must(t, err)
	fd, err := sock.Socket(network, sa)
	testkit.Must(t, err)
	if err := kernel.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	return fd
}

// accept waits for a connection; the descriptor is the caller's.
func accept(t testing.TB, listener int) (int, sock.Peer) {
	t.Helper()
	wait(t, listener, unix.POLLIN)
	fd, peer, err := kernel.Accept(listener)
	testkit.Must(t, err)
	return fd, peer
}

// openPair connects; both descriptors are the caller's.
func openPair(t testing.TB, p place) (client, server int) {
	t.Helper()
	l, _ := listen(t, p, nil)
	client = connect(t, p.network, l)
	server, _ = accept(t, l)
	wait(t, client, unix.POLLOUT)
	testkit.Must(t, kernel.SockError(client))
	return client, server
}

func pair(t testing.TB, p place) (client, server int) {
	t.Helper()
	client, server = openPair(t, p)
	return closeLater(t, client), closeLater(t, server)
}

// isOurs checks what holds for every descriptor of this package.
func isOurs(t testing.TB, fd int) {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	testkit.Must(t, err)
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	testkit.Must(t, err)
	equal(t, "close-on-exec", flags&unix.FD_CLOEXEC != 0, true)
	equal(t, "non-blocking", mode&unix.O_NONBLOCK != 0, true)
	equal(t, "above 2", fd > 2, true)
}

func option(t testing.TB, fd, level, name int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, level, name)
	testkit.Must(t, err)
	return v
}

// drain reads until fd says that there is no more, or its end.
func drain(t testing.TB, fd int) (all []byte) {
	t.Helper()
	buf := make([]byte, sock.MaxRaw)
	for {
		n, err := kernel.Read(fd, buf)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return all
		}
		testkit.Must(t, err)
		all = append(all, buf[:n]...)
	}
}
