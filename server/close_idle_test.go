package server_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// CloseIdle ends the connections that wait for their next request, and no other: not new ones, and not those with a request that was begun
// or is in progress, or with output that waits.
func TestCloseIdleClosesConnectionsBetweenRequests(t *testing.T) {
	t.Parallel()
	inAllRigs(t, func(t *testing.T, r rig) {
		begun, goOn := make(chan struct{}, 10), make(chan struct{})
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			if string(line) == "wait" {
				w.Blocking()
				begun <- struct{}{}
				<-goOn
			}
			_, _ = w.WriteString("done\n")
		})})
		s.CloseIdle(nil) // there is none
		idle, fresh, partial, busy := s.dial(t), s.dial(t), s.dial(t), s.dial(t)
		for _, nc := range []net.Conn{idle, partial, busy} {
			send(t, nc, "go\n")
			expect(t, nc, "done\n")
		}
		if tc, ok := fresh.(*tls.Conn); ok {
			testkit.Must(t, tc.Handshake())
		}
		testkit.Until(t, "the connections", func() bool { return s.Stats().Opened == 4 })
		send(t, partial, "g")
		testkit.Until(t, "the beginning of a request", func() bool { return s.Stats().BytesRead >= 3*3+1 })
		send(t, busy, "wait\n")
		testkit.Await(t, begun, "the request")
		asked := make(chan *server.Conn, 10)
		s.CloseIdle(func(c *server.Conn) bool { asked <- c; return false })
		c := testkit.Await(t, asked, "the question")
		_, err := c.WriteString("still open\n")
		testkit.Must(t, err)
		expect(t, idle, "still open\n")
		s.CloseIdle(nil)
		expectEOF(t, idle)
		if len(asked) > 0 {
			t.Error("the function was called with another connection")
		}
		close(goOn)
		expect(t, busy, "done\n")
		send(t, partial, "o\n")
		expect(t, partial, "done\n")
		send(t, fresh, "go\n")
		expect(t, fresh, "done\n")
		hangUp(idle)
		testkit.Until(t, "the end of the idle connection", func() bool { return s.Stats().OpenConns == 3 })
		s.shutdown(t)
	})
}

// Before Start and after Close it does nothing.
func TestCloseIdleMayBeCalledAtAnyTime(t *testing.T) {
	s := &server.Server{Handler: calls{data: echo}}
	s.CloseIdle(nil)
	testkit.Must(t, s.Start())
	s.CloseIdle(nil)
	testkit.Must(t, s.Close())
	s.CloseIdle(nil)
}
