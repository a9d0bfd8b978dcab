package server_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// One peer is silent; the connection of another one was being closed when Shutdown began. The time counts from the last byte.
func TestDrainTimeoutBoundsTheWaitForPeersThatStay(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, CloseTimeout: -1, DrainTimeout: limit, NumLoops: 1})
		p.connect(t, s)
		closing, nc := p.connect(t, s)
		clock.Advance(limit)
		testkit.Until(t, "a turn at that time", func() bool { onLoop(t, closing, func() {}); return closing.Loop().Now() >= limit })
		_, err := closing.WriteString("bye")
		testkit.Must(t, err)
		closing.Close()
		expect(t, nc, "bye")
		expectEOF(t, nc)
		began, done := clock.Now(), make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown of both", func() bool { return server.IsDraining(closing) }) // their loop has begun it for both
		reasons := map[error]int{}
		passTime(t, closing, clock, limit/10, "the end of both", func() bool { return len(p.closed) == 2 })
		for range 2 {
			reasons[<-p.closed]++
		}
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		if took := clock.Now() - began; took < limit {
			t.Errorf("the peer that had just got an answer was waited for %v, want %v at least", took, limit)
		}
		if reasons[nil] != 1 || reasons[server.ErrServerClosed] != 1 {
			t.Errorf("Close was called with %v, want nil and ErrServerClosed", reasons)
		}
	})
}

// A peer that reads slowly receives all output.
func TestDrainTimeoutDoesNotBoundTheFlush(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, CloseTimeout: -1, DrainTimeout: limit, MaxOutput: 16 << 20, HighWater: 16 << 20, Socket: tight()})
		c, nc := p.connect(t, s)
		const size = 8 << 20
		_, err := c.Write(make([]byte, size))
		testkit.Must(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown of the connection", func() bool { return server.IsDraining(c) })
		staysOpen(t, p, c, clock, 3*limit)
		if n, err := io.Copy(io.Discard, nc); n != size || err != nil {
			t.Errorf("read %d bytes, %v; want %d and the end", n, err, size)
		}
		passTime(t, c, clock, limit, "Shutdown's end", func() bool { return len(done) > 0 })
		testkit.Must(t, <-done)
	})
}

// CloseTimeout then limits the wait for a connection that is not idle.
func TestNoDrainTimeoutLeavesCloseTimeout(t *testing.T) {
	for _, drain := range []time.Duration{0, -1} {
		p := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
		s, clock := startWithClock(t, rigs()[0], &server.Server{Handler: p, CloseTimeout: limit, DrainTimeout: drain})
		c, nc := p.connect(t, s)
		send(t, nc, "half a request")
		testkit.Until(t, "input", func() bool { return c.Stats().BytesRead > 0 })
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown of the connection", func() bool { return server.IsDraining(c) })
		passTime(t, c, clock, limit/10, "Close", func() bool { return len(p.closed) == 1 })
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		if clock.Now() < limit {
			t.Errorf("DrainTimeout %v: the peer was waited for %v, want %v at least", drain, clock.Now(), limit)
		}
	}
}
