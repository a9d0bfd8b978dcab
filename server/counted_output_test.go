package server_test

import (
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// uncounted is the memory of output for each loop that Server.MaxBuffered may leave out.
const uncounted = 4 << 10

// TestOutputOfACallbackIsCountedWithinABound: in the middle of Data, and exactly at its end.
func TestOutputOfACallbackIsCountedWithinABound(t *testing.T) {
	t.Parallel()
	part := noise(100)
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			for written := 100; written <= 256<<10; written += 100 {
				if _, err := c.Write(part); err != nil {
					t.Error(err)
					break
				}
				if counted := c.Server().Stats().BufferedBytes; counted < int64(written-uncounted) {
					t.Errorf("after %d bytes, %d are counted", written, counted)
					break
				}
			}
			return len(p), nil
		}})
		s := start(t, r, &server.Server{Handler: p, Socket: tight(), MaxOutput: 64 << 20})
		c, nc := p.connect(t, s)
		for range 40 { // more than the kernel and TLS take
			send(t, nc, "x")
			onLoop(t, c, func() {})
		}
		testkit.Until(t, "all requests", func() bool { return c.Stats().BytesRead == 40 })
		onLoop(t, c, func() {
			if waits, counted := c.Stats().BufferedBytes, s.Stats().BufferedBytes; waits == 0 || counted < int64(waits) {
				t.Errorf("%d bytes wait, %d are counted", waits, counted)
			}
		})
		hangUp(nc)
		c.Abort()
		testkit.Await(t, p.closed, "Close")
		s.shutdown(t)
		s.drained(t)
	})
}
