package server_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// TestEachDeadlineRunsWhileOutputWaits: a peer that takes no output is closed by whichever deadline is due first, and not by
// WriteTimeout alone.
func TestEachDeadlineRunsWhileOutputWaits(t *testing.T) {
	for _, test := range []struct {
		name                     string
		idle, write, first, read time.Duration
		sends                    string
		want                     error
	}{
		{name: "idle", idle: brief, write: -1, want: server.ErrIdle},
		{name: "first request", first: brief, want: server.ErrFirstRequest},
		{name: "read", read: brief, sends: "half a request", want: server.ErrReadTimeout},
		{name: "write", write: brief, idle: patience, first: patience, read: patience, want: server.ErrWriteTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachAtOnce(t, func(t *testing.T, r rig) {
				srv := &server.Server{IdleTimeout: test.idle, WriteTimeout: test.write, FirstRequestTimeout: test.first, ReadTimeout: test.read}
				p := newProbe(calls{
					open: func(c *server.Conn) { must(t, c.WriteNotify(make([]byte, 8<<20), nil)) }, // before a deadline can pass
					data: func(*server.Conn, []byte) (int, error) { return 0, nil },
				})
				srv.Handler, srv.Socket = p, tight()
				srv.MaxOutput, srv.HighWater = 64<<20, 32<<20 // or the connection would not be read from
				s := start(t, r, srv)
				since := time.Now()
				_, nc := p.connect(t, s)
				if test.sends != "" {
					send(t, nc, test.sends)
				}
				closedAfter(t, p, since, brief, test.want)
			})
		})
	}
}

// TestOutputThatWaitsDoesNotMoveTheFirstRequestsDeadline: FirstRequestTimeout counts from when the connection was opened, also when the
// peer takes output now and then.
func TestOutputThatWaitsDoesNotMoveTheFirstRequestsDeadline(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{open: func(c *server.Conn) { must(t, c.WriteNotify(make([]byte, 8<<20), nil)) }})
		s := start(t, r, &server.Server{Handler: p, FirstRequestTimeout: 4 * brief, Socket: tight()})
		since := time.Now()
		_, nc := p.connect(t, s)
		go drip(nc)
		closedAfter(t, p, since, 4*brief, server.ErrFirstRequest)
	})
}
