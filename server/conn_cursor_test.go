package server_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// pausing is a Dispatcher that pauses another connection of the loop whenever it is given input of the connection first.
type pausing struct {
	*server.Dispatcher
	first, other atomic.Pointer[server.Conn]
}

func (h *pausing) Data(c *server.Conn, p []byte) (int, error) {
	n, err := h.Dispatcher.Data(c, p)
	if c == h.first.Load() {
		h.other.Load().PauseRead("test")
	}
	return n, err
}

// arrivedFor returns the number of bytes that have arrived for c and that its loop, which does not run, has not read.
func arrivedFor(t *testing.T, c *server.Conn) int {
	t.Helper()
	n, err := sock.Unread(c.FD())
	testkit.Must(t, err)
	return n
}

// The framing does not continue at the place that it has reached in another connection's input.
func TestInputThatAPauseHoldsIsFramedFromItsBeginning(t *testing.T) {
	for _, before := range []string{"aaa", "aaaaaaaaaaaaaaaa"} { // the place is in the input that is held, or behind it
		t.Run(fmt.Sprint(len(before)), func(t *testing.T) {
			h := &pausing{Dispatcher: &server.Dispatcher{Framing: framing.Lines{}, Serve: inBrackets}}
			opened := make(chan *server.Conn, 2)
			h.Opened = func(c *server.Conn) { opened <- c }
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h})
			first := s.dial(t)
			h.first.Store(testkit.Await(t, opened, "Open"))
			other := s.dial(t)
			h.other.Store(testkit.Await(t, opened, "Open"))

			heldUp, release := make(chan struct{}), make(chan struct{})
			testkit.Must(t, s.Loop(0).Post(func() { close(heldUp); <-release }))
			testkit.Await(t, heldUp, "the loop")
			send(t, first, before)
			send(t, other, "x\ny\nz")
			testkit.Until(t, "the input in the kernel", func() bool {
				return arrivedFor(t, h.first.Load()) == len(before) && arrivedFor(t, h.other.Load()) == len("x\ny\nz")
			})
			close(release) // both have input in the same turn
			testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead == uint64(len(before)+5) })
			h.other.Load().ResumeRead("test")
			send(t, other, "\n")
			expect(t, other, "[x][y][z]")
			send(t, first, "\n")
			expect(t, first, "["+before+"]")
		})
	}
}
