//go:build linux || darwin || freebsd

package sock_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

// The end of the stream does not count.
func TestUnreadIsWhatHasArrivedAndWasNotRead(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		ln, err := net.Listen(p.network, p.address)
		testkit.Must(t, err)
		defer ln.Close()
		client, err := net.Dial(p.network, ln.Addr().String())
		testkit.Must(t, err)
		defer client.Close()
		peer, err := ln.Accept()
		testkit.Must(t, err)
		fd, err := sock.DupConn(client.(syscall.Conn))
		testkit.Must(t, err)
		defer unix.Close(fd)
		has := func(want int) {
			t.Helper()
			testkit.Until(t, "the bytes", func() bool {
				n, err := sock.Unread(fd)
				testkit.Must(t, err)
				return n == want
			})
		}
		has(0)
		_, err = peer.Write(make([]byte, 1000))
		testkit.Must(t, err)
		has(1000)
		_, err = unix.Read(fd, make([]byte, 999))
		testkit.Must(t, err)
		has(1)
		testkit.Must(t, peer.Close())
		has(1)
	})
}
