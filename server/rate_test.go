package server_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

const (
	rateBytes = 300_000
	rateBurst = 50_000
)

var rateLimit = server.RateLimit{BytesPerSecond: 250_000, Burst: rateBurst}

// passRate advances the clock in steps, each of which the connections use, until each of them has passed so many bytes. The limit is that of
// each connection, or that of all if shared is set. passRate checks that the bytes do not pass earlier than the limit permits, and not at a small part of
// the rate.
func passRate(t testing.TB, clock *testkit.Clock, conns []*server.Conn, bytes int, shared bool, passed func(server.ConnStats) uint64) {
	t.Helper()
	const step = 50 * time.Millisecond
	now := func(c *server.Conn) int { return int(passed(c.Stats())) }
	for elapsed := time.Duration(0); ; elapsed += step {
		total, most := 0, 0
		for _, c := range conns {
			for range 3 { // turns of its loop, in which it notices the time
				server.IsThrottled(c)
			}
			testkit.Until(t, "the bytes of the time", func() bool { return now(c) == bytes || server.IsThrottled(c) }) // otherwise it waits for its peer
			total, most = total+now(c), max(most, now(c))
		}
		permitted := rateBurst + int(rateLimit.BytesPerSecond*elapsed.Seconds())
		if most > permitted || shared && total > permitted {
			t.Fatalf("%d bytes of a connection, and %d in total, have passed in %v; the limit permits %d", most, total, elapsed, permitted)
		}
		if total == bytes*len(conns) {
			return
		}
		if permitted > 2*rateBytes {
			t.Fatalf("%d of %d bytes have passed in %v", total, bytes*len(conns), elapsed)
		}
		clock.Advance(step)
	}
}

// The connection may be encrypted. Output that waits is still sent after a close.
func TestWriteLimitPacesEachConnection(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, WriteLimit: rateLimit, CloseTimeout: -1})
		var all sync.WaitGroup
		var conns []*server.Conn
		for range 2 {
			c, nc := p.connect(t, s)
			conns = append(conns, c)
			_, err := c.Write(make([]byte, rateBytes))
			testkit.Must(t, err)
			c.Close()
			all.Go(func() {
				if n, err := io.Copy(io.Discard, nc); n != rateBytes || err != nil {
					t.Errorf("%d of %d bytes came, %v", n, rateBytes, err)
				}
				_ = nc.Close()
			})
		}
		passRate(t, clock, conns, rateBytes, false, func(st server.ConnStats) uint64 { return st.BytesWritten })
		clock.Advance(time.Second) // for the end of TLS
		all.Wait()
		s.shutdown(t)
		s.drained(t)
	})
}

// Its bytes stay in the kernel; answers are not delayed.
func TestReadLimitPacesEachConnection(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, ReadLimit: rateLimit})
		var all sync.WaitGroup
		var conns []*server.Conn
		for range 2 {
			c, nc := p.connect(t, s)
			conns = append(conns, c)
			go sendAll(nc, rateBytes)
			all.Go(func() {
				if n, err := io.Copy(io.Discard, nc); n != rateBytes || err != nil {
					t.Errorf("%d of %d bytes came back, %v", n, rateBytes, err)
				}
			})
		}
		passRate(t, clock, conns, rateBytes, false, func(st server.ConnStats) uint64 { return st.BytesRead })
		clock.Advance(time.Second) // for the end of TLS
		all.Wait()
	})
}

// sendAll sends n bytes and the end. A failure shows in the answers.
func sendAll(nc net.Conn, n int) {
	_, _ = nc.Write(make([]byte, n))
	_ = nc.(halfCloser).CloseWrite()
}

// Many connections, on all loops, share one bucket, and each makes progress.
func TestARateGroupIsLimitedTogether(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		const clients = 12
		for _, way := range []string{"read", "write"} {
			t.Run(way, func(t *testing.T) {
				t.Parallel()
				read, write, passed := rateLimit, server.RateLimit{}, func(st server.ConnStats) uint64 { return st.BytesRead }
				if way == "write" {
					read, write, passed = write, read, func(st server.ConnStats) uint64 { return st.BytesWritten }
				}
				g, err := server.NewRateGroup(read, write)
				testkit.Must(t, err)
				p := newProbe(calls{data: echo})
				s, clock := startWithClock(t, r, &server.Server{Handler: p, RateGroup: g})
				var conns []*server.Conn
				var ends []net.Conn
				for range clients {
					c, nc := p.connect(t, s)
					conns, ends = append(conns, c), append(ends, nc)
				}
				var all sync.WaitGroup
				for _, nc := range ends {
					go sendAll(nc, rateBytes/clients)
					all.Go(func() {
						if n, err := io.Copy(io.Discard, nc); n != rateBytes/clients || err != nil {
							t.Errorf("%d of %d bytes came back, %v", n, rateBytes/clients, err)
						}
					})
				}
				passRate(t, clock, conns, rateBytes/clients, true, passed)
				clock.Advance(time.Second) // for the end of TLS
				all.Wait()
			})
		}
	})
}

func TestInvalidRatesAreRefused(t *testing.T) {
	nan := 0.0
	nan /= nan
	for _, l := range []server.RateLimit{{BytesPerSecond: -1}, {BytesPerSecond: nan}, {BytesPerSecond: 1e16},
		{BytesPerSecond: 1, Burst: 63}, {BytesPerSecond: 1, Burst: -1}, {Burst: 100}} {
		if _, err := server.NewRateGroup(l, server.RateLimit{}); !errors.Is(err, server.ErrInvalid) {
			t.Errorf("NewRateGroup for reading with %+v: %v", l, err)
		}
		if _, err := server.NewRateGroup(server.RateLimit{}, l); !errors.Is(err, server.ErrInvalid) {
			t.Errorf("NewRateGroup for writing with %+v: %v", l, err)
		}
		for _, s := range []*server.Server{{ReadLimit: l}, {WriteLimit: l}} {
			if err := s.Start(); !errors.Is(err, server.ErrInvalid) {
				t.Errorf("Start with %+v: %v", l, err)
			}
		}
	}
}

// Its limit does not delay its own end either.
func TestALimitedConnectionDoesNotDelayOthers(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, WriteLimit: server.RateLimit{BytesPerSecond: 100, Burst: 8192}})
		c, _ := p.connect(t, s)
		_, err := c.Write(make([]byte, 100_000))
		testkit.Must(t, err)
		_, nc := p.connect(t, s)
		send(t, nc, "hello")
		expect(t, nc, "hello")
		isIdle(t, s)
		c.Abort()
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrAborted) {
			t.Errorf("the reason is %v", reason)
		}
	})
}

// Each turn reads or writes a large part of the burst, with several senders that are always ready, in both directions.
func TestALimitedSenderWakesItsLoopSeldom(t *testing.T) {
	t.Parallel()
	const senders, limit, least = 10, 1 << 20, 2 << 10
	for name, srv := range map[string]*server.Server{
		"read":  {ReadLimit: server.RateLimit{BytesPerSecond: limit}, Handler: calls{}},
		"write": {WriteLimit: server.RateLimit{BytesPerSecond: limit}, MaxOutput: 16 << 20, Handler: calls{open: func(c *server.Conn) { _, _ = c.Write(make([]byte, 8<<20)) }}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, rigs()[0], srv)
			for range senders {
				nc := s.dialPlain(t)
				go func() { _, _ = io.Copy(io.Discard, nc) }()
				go func() {
					for p := make([]byte, 64<<10); ; {
						if _, err := nc.Write(p); err != nil {
							return
						}
					}
				}()
			}
			moved := func() uint64 {
				st := s.Stats()
				if name == "read" {
					return st.BytesRead
				}
				return st.BytesWritten
			}
			testkit.Until(t, "the first bursts", func() bool { return moved() > senders*limit/5 })
			bytes, calls := moved(), s.Stats().Loops[0].Loop.Callbacks
			testkit.Until(t, "more", func() bool { return moved() > bytes+senders*limit/2 })
			bytes, calls = moved()-bytes, s.Stats().Loops[0].Loop.Callbacks-calls
			if bytes/calls < least {
				t.Errorf("%d bytes in %d callbacks, %d each; want %d at least", bytes, calls, bytes/calls, least)
			}
			testkit.Must(t, s.Close())
		})
	}
}

// The requests have arrived before the Shutdown.
func TestShutdownAnswersTheRequestsThatAReadLimitHoldsBack(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines(), ReadLimit: server.RateLimit{BytesPerSecond: 1000, Burst: 4000}})
		nc := s.dial(t)
		requests := strings.Repeat(strings.Repeat("a", 499)+"\n", 20)
		send(t, nc, requests)
		arrives(t, nc)
		testkit.Until(t, "the first bytes", func() bool { return s.Stats().BytesRead > 0 })
		answers := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(nc)
			_ = nc.Close()
			answers <- string(b)
		}()
		s.shutdown(t)
		if got := testkit.Await(t, answers, "the end of the stream"); got != requests {
			t.Errorf("%d bytes of answers, want %d", len(got), len(requests))
		}
	})
}
