package server_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The rate permits the last bytes of an output, and then the end of the stream follows. They do not wait until the rate permits as many
// bytes as are written at once when more output waits, an eighth of the burst.
func TestTheEndOfALimitedOutputIsNotDelayed(t *testing.T) {
	const burst, last, bytesPerSecond = 400_000, 10, 10_000 // an eighth of the burst takes 5 s, the last bytes 1 ms
	limit := server.RateLimit{BytesPerSecond: bytesPerSecond, Burst: burst}
	data := noise(burst + last)
	own := func(t *testing.T, srv *server.Server) { srv.WriteLimit = limit }
	write := func(t *testing.T, c *server.Conn) {
		_, err := c.Write(data)
		testkit.Must(t, err)
	}
	for name, row := range map[string]struct {
		limit func(t *testing.T, srv *server.Server)
		write func(t *testing.T, c *server.Conn)
	}{
		"a connection's limit": {own, write},
		"a group's limit": {func(t *testing.T, srv *server.Server) {
			group, err := server.NewRateGroup(server.RateLimit{}, limit)
			testkit.Must(t, err)
			srv.RateGroup = group
		}, write},
		"a file": {own, func(t *testing.T, c *server.Conn) {
			testkit.Must(t, c.SendFile(writeFile(t, data), 0, int64(len(data)), nil))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				p := newProbe(calls{})
				srv := &server.Server{Handler: p, MaxOutput: 1 << 20}
				row.limit(t, srv)
				s, clock := startWithClock(t, r, srv)
				c, nc := p.connect(t, s)
				received := make(chan []byte, 1)
				go func() {
					all, _ := io.ReadAll(nc)
					received <- all
				}()
				row.write(t, c)
				testkit.Must(t, c.Close())
				testkit.Until(t, "the burst", func() bool { return c.Stats().BytesWritten > burst*9/10 })
				for range 4 { // TLS adds some hundred bytes in several parts
					onLoop(t, c, func() {})
					clock.Advance(time.Second)
				}
				if all := testkit.Await(t, received, "the end of the stream"); !bytes.Equal(all, data) {
					t.Errorf("%d of %d bytes came", len(all), len(data))
				}
				closeWrite(t, nc)
				testkit.Must(t, testkit.Await(t, p.closed, "Close"))
			})
		})
	}
}

// A completion without bytes, and the end of the stream behind it, need nothing of the rate.
func TestACompletionWithoutBytesIsNotDelayedByTheLimit(t *testing.T) {
	const burst = 100_000
	p := newProbe(calls{})
	s, _ := startWithClock(t, rig{"tcp", false, 1}, &server.Server{Handler: p, WriteLimit: server.RateLimit{BytesPerSecond: 1, Burst: burst}})
	c, nc := p.connect(t, s)
	outcome := make(chan error, 1)
	_, err := c.Write(make([]byte, burst))
	testkit.Must(t, err)
	if _, err := io.ReadFull(nc, make([]byte, burst)); err != nil {
		t.Fatal(err)
	}
	testkit.Must(t, c.WriteNotify(nil, func(err error) { outcome <- err })) // the rate permits the next byte in a second
	testkit.Must(t, c.Close())
	expectEOF(t, nc)
	testkit.Must(t, testkit.Await(t, outcome, "the outcome"))
	closeWrite(t, nc)
	testkit.Must(t, testkit.Await(t, p.closed, "Close"))
}
