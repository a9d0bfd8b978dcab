package server_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// TestDrainTimeoutBoundsTheWaitForPeersThatStay, for one that was silent and for one that was being closed when Shutdown began. It counts
// from the last byte.
func TestDrainTimeoutBoundsTheWaitForPeersThatStay(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1, DrainTimeout: brief})
		p.connect(t, s)
		closing, nc := p.connect(t, s)
		since := time.Now()
		_, err := closing.WriteString("bye")
		must(t, err)
		closing.Close()
		expect(t, nc, "bye")
		expectEOF(t, nc)
		s.shutdown(t)
		if took := time.Since(since); took < brief {
			t.Errorf("the peer that had just got an answer was waited for %v, want %v at least", took, brief)
		}
		reasons := map[error]int{}
		for range 2 {
			reasons[await(t, p.closed, "Close")]++
		}
		if reasons[nil] != 1 || reasons[server.ErrServerClosed] != 1 {
			t.Errorf("Close was told %v, want nil and ErrServerClosed", reasons)
		}
	})
}

// TestDrainTimeoutDoesNotBoundTheFlush of output that the peer takes its time to read.
func TestDrainTimeoutDoesNotBoundTheFlush(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1, DrainTimeout: brief, MaxOutput: 16 << 20, HighWater: 16 << 20, Socket: tight()})
		c, nc := p.connect(t, s)
		const size = 8 << 20
		_, err := c.Write(make([]byte, size))
		must(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		time.Sleep(3 * brief) // the peer is late; how late does not matter
		if n, err := io.Copy(io.Discard, nc); n != size || err != nil {
			t.Errorf("read %d bytes, %v; want %d and the end", n, err, size)
		}
		must(t, await(t, done, "Shutdown's end"))
	})
}

// TestNoDrainTimeoutLeavesCloseTimeout as the bound, for a connection that is not idle.
func TestNoDrainTimeoutLeavesCloseTimeout(t *testing.T) {
	for _, drain := range []time.Duration{0, -1} {
		p := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
		s := start(t, rigs()[0], &server.Server{Handler: p, CloseTimeout: brief, DrainTimeout: drain})
		c, nc := p.connect(t, s)
		send(t, nc, "half a request")
		until(t, "input", func() bool { return c.Stats().BytesRead > 0 })
		since := time.Now()
		s.shutdown(t)
		if took := time.Since(since); took < brief {
			t.Errorf("DrainTimeout %v: the peer was waited for %v, want %v at least", drain, took, brief)
		}
	}
}
