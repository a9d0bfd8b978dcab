package server_test

import (
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func TestAppendRemoteAddrAppendsTheTextOfRemoteAddr(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		conns := make(chan *server.Conn, 1)
		s := start(t, r, &server.Server{Handler: server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) {
			conns <- c
			return len(p), nil
		})})
		nc := s.dial(t)
		send(t, nc, "x")
		c := testkit.Await(t, conns, "the connection")
		if got, want := string(c.AppendRemoteAddr([]byte("from "))), "from "+c.RemoteAddr().String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if network := c.RemoteAddr().Network(); network != "tcp" {
			return
		}
		b := make([]byte, 0, 64)
		if n := testing.AllocsPerRun(100, func() { b = c.AppendRemoteAddr(b[:0]) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
