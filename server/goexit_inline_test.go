package server_test

import (
	"bufio"
	"runtime"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// goexitOn calls runtime.Goexit when the Dispatcher is given a certain input.
type goexitOn struct {
	*server.Dispatcher
	input string
}

func (g goexitOn) Data(c *server.Conn, p []byte) (int, error) {
	if string(p) == g.input {
		runtime.Goexit()
	}
	return g.Dispatcher.Data(c, p)
}

// TestGoexitAfterAnAnswerOnTheLoopEndsTheConnectionAtOnce: when the rest of the input is given to the handler. The loop has no other work, so
// nothing else makes it look for the connection.
func TestGoexitAfterAnAnswerOnTheLoopEndsTheConnectionAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		closed := make(chan error, 1)
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) { _, _ = w.WriteString("answer\n") })
		d.Closed = func(_ *server.Conn, reason error) { closed <- reason }
		s := start(t, r, &server.Server{Handler: goexitOn{d, "rest"}})
		for range 20 {
			nc := s.dial(t)
			send(t, nc, "request\nrest")
			testkit.CheckErr(t, "Close", testkit.Await(t, closed, "Close"), server.ErrPanic)
			hangUp(nc)
		}
	})
}
