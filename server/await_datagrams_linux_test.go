package server_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
)

// awaitDatagrams waits until n datagrams have arrived at the socket fd, which nothing receives from meanwhile. A system with much to do
// delivers them some time after they were sent.
func awaitDatagrams(t testing.TB, fd, n int) {
	t.Helper()
	testkit.Must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)) // so that each peek sees the next datagram
	seen := 0
	testkit.Until(t, "the arrival of the datagrams", func() bool {
		for {
			if _, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_TRUNC); err != nil {
				return seen == n
			}
			seen++
		}
	})
	testkit.Must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1))
}
