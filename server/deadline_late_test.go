package server_test

import (
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// When a loop is late, because a callback of another connection was slow, a peer that was in time is not closed. One that was not is
// closed.
func TestInputThatHasArrivedCountsBeforeADeadline(t *testing.T) {
	for name, test := range map[string]struct {
		srv           *server.Server
		before, rest  string // what the client sends before the loop is blocked, and meanwhile
		reason        error  // of a client that sends nothing meanwhile
		beforeItOpens bool
	}{
		"idle":          {srv: &server.Server{IdleTimeout: limit}, rest: "a\n", reason: server.ErrIdle},
		"first request": {srv: &server.Server{FirstRequestTimeout: limit, IdleTimeout: -1}, before: "a", rest: "\n", reason: server.ErrFirstRequest},
		"read":          {srv: &server.Server{ReadTimeout: limit, IdleTimeout: -1}, before: "a", rest: "\n", reason: server.ErrReadTimeout},
		"handshake": {srv: &server.Server{HandshakeTimeout: limit, IdleTimeout: -1, ProxyProtocol: true}, before: "PROXY TCP4 1.2.3.4 ", rest: "5.6.7.8 1 2\r\na\n",
			reason: server.ErrProxyHeader, beforeItOpens: true},
	} {
		t.Run(name, func(t *testing.T) {
			reasons, closed := closings()
			test.srv.Handler = calls{close: closed, data: func(c *server.Conn, p []byte) (int, error) {
				if p[len(p)-1] != '\n' {
					return 0, nil
				}
				return c.Write(p)
			}}
			test.srv.OnReject = closed
			s, clock := startWithClock(t, rig{"tcp", false, 1}, test.srv)
			inTime, late := s.dial(t), s.dial(t)
			send(t, inTime, test.before)
			send(t, late, test.before)
			testkit.Until(t, "the clients", func() bool {
				st := s.Stats()
				return st.Accepted == 2 && (test.beforeItOpens || st.BytesRead == uint64(2*len(test.before)))
			})
			heldUp, release := make(chan struct{}), make(chan struct{})
			testkit.Must(t, s.Loop(0).Post(func() { close(heldUp); <-release }))
			testkit.Await(t, heldUp, "the loop")
			send(t, inTime, test.rest)
			arrives(t, inTime)
			clock.Advance(limit + deadlineTick)
			close(release)
			testkit.CheckErr(t, "the reason of the client that is late", testkit.Await(t, reasons, "Close"), test.reason)
			want := "a\n"
			expect(t, inTime, want)
			_ = late.Close()
		})
	}
}
