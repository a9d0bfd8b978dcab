package server_test

import (
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

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
