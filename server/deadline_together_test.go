package server_test

import (
	"io"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A peer that takes no output is closed by whichever deadline is due first, and not by WriteTimeout alone.
func TestEachDeadlineRunsWhileOutputWaits(t *testing.T) {
	const later = 1000 * limit // after the kernel has taken all that it takes, which begins WriteTimeout again
	for _, test := range []struct {
		name                     string
		idle, write, first, read time.Duration
		sends                    string
		want                     error
	}{
		{name: "idle", idle: limit, write: -1, want: server.ErrIdle},
		{name: "first request", first: limit, want: server.ErrFirstRequest},
		{name: "read", read: limit, sends: "half a request", want: server.ErrReadTimeout},
		{name: "write", write: limit, idle: later, first: later, read: later, want: server.ErrWriteTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				srv := &server.Server{IdleTimeout: test.idle, WriteTimeout: test.write, FirstRequestTimeout: test.first, ReadTimeout: test.read}
				p := newProbe(calls{
					open: func(c *server.Conn) { testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), nil)) }, // before a deadline can pass
					data: func(*server.Conn, []byte) (int, error) { return 0, nil },
				})
				srv.Handler, srv.Socket = p, tight()
				srv.MaxOutput, srv.HighWater = 64<<20, 32<<20 // or the connection would not be read from
				s, clock := startWithClock(t, r, srv)
				c, nc := p.connect(t, s)
				send(t, nc, test.sends)
				testkit.Until(t, "the input", func() bool { return c.Stats().BytesRead == uint64(len(test.sends)) })
				closesOnceStalled(t, p, c, clock, limit, test.want)
			})
		})
	}
}

// FirstRequestTimeout counts from when the connection was opened, also when the peer takes output now and then.
func TestOutputThatWaitsDoesNotMoveTheFirstRequestsDeadline(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{open: func(c *server.Conn) { testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), nil)) }})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, FirstRequestTimeout: limit, Socket: tight()})
		c, nc := p.connect(t, s)
		for range 3 {
			staysOpen(t, p, c, clock, limit/4)
			_, err := io.ReadFull(nc, make([]byte, 64<<10))
			testkit.Must(t, err)
		}
		closesAfter(t, p, c, clock, limit/4, server.ErrFirstRequest)
	})
}
