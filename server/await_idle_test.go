package server_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// awaitIdle waits until all that the clients have sent has arrived, and the loops have handled it. A system with much to do delivers it some
// time after it was sent.
func (a *attack) awaitIdle(t testing.TB) {
	t.Helper()
	for _, nc := range a.clients {
		testkit.Until(t, "the arrival of what a client has sent", func() bool { return hasArrived(t, nc) })
	}
	a.running.awaitIdle(t)
}

// hasArrived reports whether the server's system has acknowledged all that a client has sent, or the connection has ended.
func hasArrived(t testing.TB, nc net.Conn) (arrived bool) {
	t.Helper()
	rc, err := raw(nc).(syscall.Conn).SyscallConn()
	testkit.Must(t, err)
	testkit.Must(t, rc.Control(func(fd uintptr) {
		ends := []unix.PollFd{{Fd: int32(fd)}} // reports an end without being asked for it
		n, err := sock.Unsent(int(fd))
		if _, e := unix.Poll(ends, 0); e == nil && ends[0].Revents != 0 {
			n = 0
		}
		arrived = n == 0 && err == nil
	}))
	return arrived
}

// awaitIdle waits until the loops have handled all events of the kernel: a few successive turns, in each of which they poll, have called no
// callback.
func (s *running) awaitIdle(t testing.TB) {
	t.Helper()
	const turns = 4
	for _, l := range server.EventLoops(s.Server) {
		for quiet, before := 0, uint64(0); quiet < turns; {
			now := make(chan uint64, 1)
			testkit.Must(t, l.Post(func() { now <- l.Stats().Callbacks }))
			if n := testkit.Await(t, now, "a Post"); n == before {
				quiet++
			} else {
				quiet, before = 0, n
			}
		}
	}
}
