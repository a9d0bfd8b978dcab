package server_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// While a reply is sent in pieces, the writes of other goroutines wait for its end. HighWater is called for them, and LowWater not
// before they are sent.
func TestOutputThatWaitsForAReplyCountsForTheWaterMarks(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		part := strings.Repeat("r", 64<<10)
		sent, release := make(chan struct{}), make(chan struct{})
		var highs, lows atomic.Int32
		p := newProbe(calls{})
		d := several(1, func(w server.Reply, _ []byte) {
			if _, err := w.WriteString(part + part); err != nil {
				t.Error(err)
			}
			close(sent)
			<-release
		})
		const high, low = 64 << 10, 16 << 10
		d.Opened = p.Open
		d.OnHighWater = func(*server.Conn) { highs.Add(1) }
		d.OnLowWater = func(c *server.Conn) {
			lows.Add(1)
			if n := c.Stats().BufferedBytes; n > low {
				t.Errorf("LowWater was called with %d bytes of output that wait", n)
			}
		}
		s := start(t, r, &server.Server{Handler: d, MaxOutput: 1 << 20, HighWater: high, LowWater: low})
		c, nc := p.connect(t, s)
		send(t, nc, "request\n")
		testkit.Await(t, sent, "the reply's beginning")
		read := int64(len(part))
		if _, err := io.CopyN(io.Discard, nc, read); err != nil { // the rest is less than what a reply gathers
			t.Fatal(err)
		}
		pushed := fill(t, c, 32<<10)
		c.PauseRead(t) // makes the loop serve the connection
		c.ResumeRead(t)
		onLoop(t, c, func() {})
		testkit.Until(t, "the high-water mark", func() bool { return highs.Load() > 0 })
		if n := lows.Load(); n > 0 {
			t.Errorf("LowWater was called %d times; the reply is not at its end", n)
		}
		close(release)
		if _, err := io.CopyN(io.Discard, nc, int64(2*len(part)+pushed)-read); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the low-water mark", func() bool { return lows.Load() > 0 })
		hangUp(nc)
		s.shutdown(t)
		s.drained(t)
	})
}
