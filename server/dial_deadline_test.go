package server_test

import (
	"context"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// IdleTimeout and FirstRequestTimeout close a connection that was dialled, also when no byte is ever sent on it.
func TestADialledConnectionHasTheDeadlinesOfOthers(t *testing.T) {
	for _, test := range []struct {
		name string
		srv  *server.Server
		want error
	}{
		{"idle", &server.Server{IdleTimeout: limit}, server.ErrIdle},
		{"first request", &server.Server{FirstRequestTimeout: limit}, server.ErrFirstRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			testkit.Must(t, err)
			defer ln.Close()
			p := newProbe(calls{})
			test.srv.Handler = p
			s, clock := startWithClock(t, rig{"tcp", false, 1}, test.srv)
			_, err = s.Dial(context.Background(), "tcp", ln.Addr().String(), nil)
			testkit.Must(t, err)
			closesAfter(t, p, testkit.Await(t, p.opened, "Open"), clock, limit, test.want)
		})
	}
}
