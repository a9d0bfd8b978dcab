package server_test

import (
	"io"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Of connections that all need more than the limit, each makes progress.
func TestARateGroupIsShared(t *testing.T) {
	t.Parallel()
	const clients = 8
	for _, r := range []rig{{"tcp", false, 3}, {"tcp", true, 3}} {
		for _, way := range []string{"read", "write"} {
			t.Run(r.String()+"/"+way, func(t *testing.T) {
				t.Parallel()
				limit := server.RateLimit{BytesPerSecond: 400_000, Burst: 20_000}
				read, write := limit, server.RateLimit{}
				if way == "write" {
					read, write = write, read
				}
				g, err := server.NewRateGroup(read, write)
				testkit.Must(t, err)
				p := newProbe(calls{})
				s := start(t, r, &server.Server{Handler: p, RateGroup: g, MaxOutput: 8 << 20, HighWater: 8 << 20})
				var conns []*server.Conn
				for range clients {
					c, nc := p.connect(t, s)
					conns = append(conns, c)
					if way == "read" {
						go func() { _, _ = nc.Write(make([]byte, 4<<20)) }() // to the end of the test
					} else {
						_, err = c.Write(make([]byte, 4<<20))
						testkit.Must(t, err)
						go func() { _, _ = io.Copy(io.Discard, nc) }()
					}
				}
				time.Sleep(2 * time.Second) // shares are of time
				var got []int
				sum := 0
				for _, c := range conns {
					st := c.Stats()
					got = append(got, int(st.BytesRead+st.BytesWritten))
					sum += got[len(got)-1]
				}
				t.Log(got, sum)
				if least := slices.Min(got); least < sum/clients/4 {
					t.Errorf("shares are %v", got)
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
