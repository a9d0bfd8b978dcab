package server_test

import (
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Of connections that all need more than the limit, each gets its part.
func TestARateGroupIsShared(t *testing.T) {
	t.Parallel()
	const clients, rate = 8, 400_000
	for _, r := range []rig{{"tcp", false, 3}, {"tcp", true, 3}} {
		for _, way := range []string{"read", "write"} {
			t.Run(r.String()+"/"+way, func(t *testing.T) {
				read, write := server.RateLimit{BytesPerSecond: rate, Burst: 20_000}, server.RateLimit{}
				if way == "write" {
					read, write = write, read
				}
				g, err := server.NewRateGroup(read, write)
				testkit.Must(t, err)
				p, clock := newProbe(calls{}), testkit.NewClock()
				s := start(t, r, &server.Server{LoopConfig: &event.Config{Clock: clock}, Handler: p, RateGroup: g, MaxOutput: 8 << 20, HighWater: 8 << 20})
				var conns []*server.Conn
				var peers []net.Conn
				for range clients { // before there is traffic, which would use the bytes of the handshakes
					c, nc := p.connect(t, s)
					conns, peers = append(conns, c), append(peers, nc)
				}
				for i, c := range conns {
					if way == "read" {
						go func() { _, _ = peers[i].Write(make([]byte, 4<<20)) }() // to the end of the test
					} else {
						_, err = c.Write(make([]byte, 4<<20))
						testkit.Must(t, err)
						go func() { _, _ = io.Copy(io.Discard, peers[i]) }()
					}
				}
				for range 400 { // two seconds, in steps that are shorter than the time for the bytes of one connection
					clock.Advance(5 * time.Millisecond)
					for _, c := range conns {
						for range 3 { // turns of its loop, in which it notices the time
							server.IsThrottled(c)
						}
						testkit.Until(t, "the bytes of the time", func() bool { return server.IsThrottled(c) }) // otherwise it waits for its peer
					}
				}
				var shares []int
				for _, c := range conns {
					st := c.Stats()
					shares = append(shares, int(st.BytesRead+st.BytesWritten))
				}
				if least, greatest := slices.Min(shares), slices.Max(shares); least < greatest/2 {
					t.Errorf("in two seconds they got %d bytes", shares)
				}
				testkit.Must(t, s.Close())
			})
		}
	}
}

// The bucket is empty, and many connections have received little: they are not delayed for the bytes that they might have received.
func TestAConnectionReservesNoMoreOfARateGroupThanItHasReceived(t *testing.T) {
	for _, r := range []rig{{"tcp", false, 2}, {"unix", false, 1}} {
		t.Run(r.String(), func(t *testing.T) {
			const burst, clients = 64 << 10, 20
			g, err := server.NewRateGroup(server.RateLimit{BytesPerSecond: burst, Burst: burst}, server.RateLimit{})
			testkit.Must(t, err)
			clock := testkit.NewClock()
			var received atomic.Int64
			s := start(t, r, &server.Server{LoopConfig: &event.Config{Clock: clock}, RateGroup: g, Handler: calls{data: func(_ *server.Conn, p []byte) (int, error) {
				received.Add(int64(len(p)))
				return len(p), nil
			}}})
			send(t, s.dial(t), strings.Repeat("x", burst))
			testkit.Until(t, "the burst", func() bool { return received.Load() == burst })
			for range clients {
				send(t, s.dial(t), "hello")
			}
			testkit.Until(t, "the connections", func() bool {
				throttled := 0
				for c := range s.Conns() {
					if server.IsThrottled(c) {
						throttled++
					}
				}
				return throttled == clients
			})
			clock.Advance(100 * time.Millisecond) // for a tenth of the burst
			testkit.Until(t, "the bytes", func() bool { return received.Load() == burst+clients*int64(len("hello")) })
		})
	}
}

func TestALargeBurstDoesNotOverflow(t *testing.T) {
	for _, l := range []server.RateLimit{{BytesPerSecond: 1, Burst: math.MaxInt}, {BytesPerSecond: 1e15, Burst: math.MaxInt}, {BytesPerSecond: 1e15}, {BytesPerSecond: 1e-300}} {
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}, ReadLimit: l, WriteLimit: l})
		nc := s.dial(t)
		send(t, nc, "hello")
		expect(t, nc, "hello")
	}
}
