package server_test

import (
	"io"
	"math"
	"slices"
	"testing"
	"time"

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

func TestALargeBurstDoesNotOverflow(t *testing.T) {
	for _, l := range []server.RateLimit{{BytesPerSecond: 1, Burst: math.MaxInt}, {BytesPerSecond: 1e15, Burst: math.MaxInt}, {BytesPerSecond: 1e15}, {BytesPerSecond: 1e-300}} {
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}, ReadLimit: l, WriteLimit: l})
		nc := s.dial(t)
		send(t, nc, "hello")
		expect(t, nc, "hello")
	}
}
