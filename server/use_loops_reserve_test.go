package server_test

import (
	"context"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A loop of the program is closed while the process has no descriptor left, with a client in the queue of its listener. The reserve is
// there afterwards for the listeners of other loops.
func TestALoopThatIsClosedInAShortageLeavesTheReserve(t *testing.T) {
	first, err := event.NewLoop(nil) // not run: its clients wait in the kernel
	testkit.Must(t, err)
	second := programLoops(t, 1, "")[0]
	var short atomic.Bool
	srv := &server.Server{Handler: calls{}, UseLoops: []*event.Loop{first, second}, BusyText: "busy\n"}
	srv.SetCalls(socktest.New(&sock.Kernel{}, func(c socktest.Call) socktest.Fault {
		if c.Name == socktest.Accept && c.Number%2 == 1 && short.Load() { // the accept after it has the reserve
			return socktest.Fault{Err: unix.EMFILE}
		}
		return socktest.Fault{}
	}))
	s := start(t, rig{"tcp", false, 0}, srv)
	short.Store(true)
	refused := s.dial(t)
	testkit.Must(t, first.Close())
	if n, err := refused.Read(make([]byte, 1)); err == nil {
		t.Errorf("the client of the closed loop read %d bytes", n)
	}
	later, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	for range 3 {
		nc := s.client(t, later)
		expect(t, nc, "busy\n")
		hangUp(nc)
	}
}
