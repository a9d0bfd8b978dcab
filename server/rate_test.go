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

// The bytes cannot pass earlier than the bucket allows. A limit of several times as long checks that they pass, and not at a small part of
// the rate.
const (
	rateBytes = 300_000
	rateBurst = 50_000
)

var rateLimit = server.RateLimit{BytesPerSecond: 250_000, Burst: rateBurst}

// paced checks that d is neither shorter than the limit permits for the bytes nor several times as long.
func paced(t testing.TB, d time.Duration, bytes int) {
	t.Helper()
	ideal := time.Duration(float64(bytes-rateBurst) / rateLimit.BytesPerSecond * float64(time.Second))
	if d < ideal*9/10 {
		t.Errorf("%d bytes passed in %v, the limit allows them in %v", bytes, d, ideal)
	}
	if d > ideal*9/5+time.Second {
		t.Errorf("%d bytes took %v, the limit allows them in %v", bytes, d, ideal)
	}
}

// The connection may be encrypted. Output that waits is still sent after a close.
func TestWriteLimitPacesEachConnection(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, WriteLimit: rateLimit, CloseTimeout: -1})
		var all sync.WaitGroup
		for range 2 {
			c, nc := p.connect(t, s)
			since := time.Now()
			_, err := c.Write(make([]byte, rateBytes))
			testkit.Must(t, err)
			c.Close()
			all.Go(func() {
				if n, err := io.Copy(io.Discard, nc); n != rateBytes || err != nil {
					t.Errorf("%d of %d bytes came, %v", n, rateBytes, err)
				}
				paced(t, time.Since(since), rateBytes)
				_ = nc.Close()
			})
		}
		all.Wait()
		s.shutdown(t)
		s.drained(t)
	})
}

// Its bytes stay in the kernel; answers are not delayed.
func TestReadLimitPacesEachConnection(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, ReadLimit: rateLimit})
		var all sync.WaitGroup
		for range 2 {
			_, nc := p.connect(t, s)
			since := time.Now()
			go sendAll(nc, rateBytes)
			all.Go(func() {
				if n, err := io.Copy(io.Discard, nc); n != rateBytes || err != nil {
					t.Errorf("%d of %d bytes came back, %v", n, rateBytes, err)
				}
				paced(t, time.Since(since), rateBytes)
			})
		}
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
				read, write := rateLimit, server.RateLimit{}
				if way == "write" {
					read, write = write, read
				}
				g, err := server.NewRateGroup(read, write)
				testkit.Must(t, err)
				p := newProbe(calls{data: echo})
				s := start(t, r, &server.Server{Handler: p, RateGroup: g})
				var ends []net.Conn
				for range clients {
					_, nc := p.connect(t, s)
					ends = append(ends, nc)
				}
				since := time.Now()
				var all sync.WaitGroup
				for _, nc := range ends {
					go sendAll(nc, rateBytes/clients)
					all.Go(func() {
						if n, err := io.Copy(io.Discard, nc); n != rateBytes/clients || err != nil {
							t.Errorf("%d of %d bytes came back, %v", n, rateBytes/clients, err)
						}
					})
				}
				all.Wait()
				paced(t, time.Since(since), rateBytes)
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
