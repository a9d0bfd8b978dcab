package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The cause of Context is the reason of the connection's end, and ErrClosed if there is none, whether Context is called for the first time
// before the end, in the handler's Close, or later.
func TestTheCauseOfContextDoesNotDependOnItsFirstCall(t *testing.T) {
	mine := errors.New("mine")
	for name, row := range map[string]struct {
		end  func(t *testing.T, s *running, c *server.Conn, nc net.Conn)
		want error
	}{
		"Close": {func(t *testing.T, _ *running, c *server.Conn, nc net.Conn) {
			testkit.Must(t, c.Close())
			expectEOF(t, nc)
			hangUp(nc)
		}, server.ErrClosed},
		"CloseWithError": {func(t *testing.T, _ *running, c *server.Conn, nc net.Conn) {
			testkit.Must(t, c.CloseWithError(mine))
			hangUp(nc)
		}, mine},
		"Abort":         {func(_ *testing.T, _ *running, c *server.Conn, _ net.Conn) { c.Abort() }, server.ErrAborted},
		"the peer ends": {func(_ *testing.T, _ *running, _ *server.Conn, nc net.Conn) { hangUp(nc) }, io.EOF},
		"Shutdown":      {func(t *testing.T, s *running, _ *server.Conn, _ net.Conn) { s.shutdown(t) }, server.ErrServerClosed},
	} {
		for _, when := range []string{"before", "in Close", "later"} {
			t.Run(name+"/"+when, func(t *testing.T) {
				var first context.Context
				p := newProbe(calls{close: func(c *server.Conn, _ error) {
					if when == "in Close" {
						first = c.Context()
					}
				}})
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
				c, nc := p.connect(t, s)
				if when == "before" {
					first = c.Context()
				}
				row.end(t, s, c, nc)
				testkit.Await(t, p.closed, "Close")
				if when == "later" {
					first = c.Context()
				}
				testkit.Await(t, first.Done(), "the end of the context")
				testkit.CheckErr(t, "the cause", context.Cause(first), row.want)
			})
		}
	}
}
