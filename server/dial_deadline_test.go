package server_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// TestADialledConnectionHasTheDeadlinesOfOthers: IdleTimeout and FirstRequestTimeout close a connection that was dialled, also when
// nothing ever moves on it.
func TestADialledConnectionHasTheDeadlinesOfOthers(t *testing.T) {
	for _, test := range []struct {
		name string
		srv  *server.Server
		want error
	}{
		{"idle", &server.Server{IdleTimeout: 300 * time.Millisecond}, server.ErrIdle},
		{"first request", &server.Server{FirstRequestTimeout: 300 * time.Millisecond}, server.ErrFirstRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer ln.Close()
			closed := make(chan error, 1)
			srv := test.srv
			srv.NumLoops, srv.Handler = 1, calls{close: func(_ *server.Conn, reason error) { closed <- reason }}
			must(t, srv.Start())
			defer srv.Close()
			_, err = srv.Dial(context.Background(), "tcp", ln.Addr().String(), nil)
			must(t, err)
			if reason := await(t, closed, "the end of the connection"); !errors.Is(reason, test.want) {
				t.Errorf("Close was told %v, want %v", reason, test.want)
			}
		})
	}
}
