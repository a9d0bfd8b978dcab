package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// client connects to ln as a client of the rig.
func (s *running) client(t testing.TB, ln *server.Listener) net.Conn {
	t.Helper()
	return (&running{s.Server, rig{ln.Addr().Network(), s.rig.tls, s.rig.loops}, ln.Addr()}).dial(t)
}

// Each listener has its handler. When one is closed, its connections stay open.
func TestSeveralListenersServeOneServer(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		path := filepath.Join(t.TempDir(), "second")
		s := start(t, r, &server.Server{Handler: echoLines()})
		tcp, err := s.Listen(context.Background(), "tcp", "localhost:0", nil)
		testkit.Must(t, err)
		unix, err := s.Listen(context.Background(), "unix", path, &server.ListenerConfig{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Write(append([]byte("raw "), p...))
			return len(p), err
		}}})
		testkit.Must(t, err)
		first, second, third := s.dial(t), s.client(t, tcp), s.client(t, unix)
		testkit.Must(t, pipelined(first, "one", 3))
		testkit.Must(t, pipelined(second, "two", 3))
		send(t, third, "three")
		expect(t, third, "raw three")

		testkit.Must(t, tcp.Close())
		testkit.Must(t, tcp.Wait())
		testkit.Must(t, unix.Close())
		testkit.Must(t, tcp.Close())
		if nc, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
			nc.Close()
			t.Error("a closed listener still takes connections")
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket of a closed listener is still there: %v", err)
		}
		testkit.Must(t, pipelined(second, "two", 3))
		send(t, third, "three")
		expect(t, third, "raw three")
		hangUp(first, second, third)
		s.shutdown(t)
		if tcp.Accepted() < 1 || unix.Accepted() != 1 {
			t.Errorf("accepted %d and %d", tcp.Accepted(), unix.Accepted())
		}
	})
}

// One listener is of package net. The other hides its descriptor, so that its Accept is called.
func TestServeTakesAListenerOfTheUser(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"net":     func(ln net.Listener) net.Listener { return ln },
		"wrapped": func(ln net.Listener) net.Listener { return struct{ net.Listener }{ln} },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				for _, end := range []string{"listener", "server"} {
					s := start(t, r, &server.Server{Handler: echoLines()})
					inner, err := net.Listen("tcp", "127.0.0.1:0")
					testkit.Must(t, err)
					served := make(chan error, 1)
					go func() { served <- s.Serve(wrap(inner)) }()
					behind := &running{s.Server, rig{"tcp", r.tls, r.loops}, inner.Addr()}
					for range 5 {
						nc := behind.dial(t)
						testkit.Must(t, pipelined(nc, "hello", 3))
						hangUp(nc)
					}
					if end == "server" {
						s.shutdown(t)
						testkit.CheckErr(t, "Serve", testkit.Await(t, served, "Serve's end"), server.ErrServerClosed)
					} else if name == "wrapped" {
						testkit.Must(t, inner.Close())
						testkit.CheckErr(t, "Serve", testkit.Await(t, served, "Serve's end"), net.ErrClosed)
					}
				}
			})
		})
	}
}

// Connections reach every loop with each Balance, and with PickLoop.
func TestEveryLoopGetsConnections(t *testing.T) {
	const loops, clients = 3, 60
	for name, row := range map[string]struct {
		srv  *server.Server
		want func(conns []int) bool
	}{
		"round robin": {&server.Server{}, func(n []int) bool { return n[0] == 20 && n[1] == 20 && n[2] == 20 }},
		"least":       {&server.Server{Balance: server.BalanceLeastConns}, func(n []int) bool { return n[0] == 20 && n[1] == 20 && n[2] == 20 }},
		"reuse port":  {&server.Server{ReusePort: true}, func(n []int) bool { return n[0] > 0 && n[1] > 0 && n[2] > 0 }},
		"source hash": {&server.Server{Balance: server.BalanceSourceHash}, func(n []int) bool {
			return n[0] == clients || n[1] == clients || n[2] == clients // they all come from one address
		}},
		"pick": {&server.Server{PickLoop: func(peer net.Addr, n int) int {
			if peer == nil || n != loops {
				return 0
			}
			return 2
		}}, func(n []int) bool { return n[2] == clients }},
		"pick nonsense": {&server.Server{PickLoop: func(net.Addr, int) int { return 7 }}, func(n []int) bool { return n[0]+n[1]+n[2] == clients }},
	} {
		t.Run(name, func(t *testing.T) {
			row.srv.Handler = echoLines()
			s := start(t, rig{"tcp", false, loops}, row.srv)
			var all []net.Conn
			for range clients {
				nc := s.dial(t)
				testkit.Must(t, pipelined(nc, "hello", 1))
				all = append(all, nc)
			}
			var counts []int
			for _, l := range s.Stats().Loops {
				counts = append(counts, l.OpenConns)
			}
			if !row.want(counts) {
				t.Errorf("the loops have %v connections", counts)
			}
			hangUp(all...)
			s.shutdown(t)
			for i, l := range s.Stats().Loops {
				if l.OpenConns != 0 {
					t.Errorf("loop %d still counts %d connections", i, l.OpenConns)
				}
			}
		})
	}
}

// A client that has sent data reads it, too. The other connections stay open, and after the end of one a client is accepted again.
func TestAClientAboveMaxConnsReadsTheRefusal(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		if r.tls {
			refusesWithAnAlert(t, r)
			return
		}
		// The server's clock stands still, so that a refusal waits for its client, however late the client sends.
		s, _ := startWithClock(t, r, &server.Server{MaxConns: 2, BusyText: "come back later\n", Handler: echoLines()})
		first, second := s.dial(t), s.dial(t)
		testkit.Must(t, pipelined(first, "first", 1))
		testkit.Must(t, pipelined(second, "second", 1))
		for range 10 {
			nc := s.dial(t)
			send(t, nc, "GET / HTTP/1.0\r\n\r\n")
			expect(t, nc, "come back later\n")
			expectEOF(t, nc)
			hangUp(nc)
		}
		testkit.Must(t, pipelined(first, "first", 1))
		hangUp(second)
		testkit.Until(t, "a free place", func() bool { return s.Stats().OpenConns == 1 })
		third := s.dial(t)
		testkit.Must(t, pipelined(third, "third", 1))
		hangUp(first, third)
		s.shutdown(t)
		if st := s.Stats(); st.Refused != 10 || st.Opened != 3 || st.Closed != 3 {
			t.Errorf("refused %d, opened %d, closed %d; want 10, 3, 3", st.Refused, st.Opened, st.Closed)
		}
	})
}

// refusesWithAnAlert checks that a TLS client above MaxConns reads an alert.
func refusesWithAnAlert(t *testing.T, r rig) {
	s, _ := startWithClock(t, r, &server.Server{MaxConns: 1, Handler: echoLines()})
	first := s.dial(t)
	testkit.Must(t, pipelined(first, "first", 1))
	_, err := s.dial(t).Write([]byte("hello"))
	if err == nil || err.Error() != "remote error: tls: internal error" {
		t.Errorf("a refused client reads %v", err)
	}
	hangUp(first)
	s.shutdown(t)
}

// A thousand clients that do not close use no more descriptors than the limits permit.
func TestRefusalsAreBounded(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{MaxConns: 1, BusyText: "busy\n", Handler: echoLines()})
	first := s.dial(t)
	testkit.Must(t, pipelined(first, "first", 1))
	before := openDescriptors(t)
	var clients []net.Conn
	for range 300 {
		clients = append(clients, s.dialPlain(t))
	}
	testkit.Until(t, "all refusals", func() bool { return s.Stats().Refused == 300 })
	if n := openDescriptors(t) - before; n > 300+64 {
		t.Errorf("the server keeps %d descriptors for clients that it has refused, want 64 at most", n-300)
	}
	for _, nc := range clients {
		got, err := io.ReadAll(nc)
		if err != nil || string(got) != "busy\n" {
			t.Fatalf("a refused client reads %q, %v", got, err)
		}
	}
	testkit.Must(t, pipelined(first, "first", 1))
	hangUp(append(clients, first)...)
	s.shutdown(t)
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	testkit.Must(t, err)
	return len(entries)
}

// The listener of the callback's connection may be closed, too.
func TestAListenerMayBeClosedInACallback(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var ln atomic.Pointer[server.Listener]
		s := start(t, r, &server.Server{Handler: calls{open: func(c *server.Conn) { testkit.Must(t, ln.Load().Close()) }, data: echo}})
		extra, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
		testkit.Must(t, err)
		ln.Store(extra)
		nc := s.client(t, extra)
		testkit.Must(t, pipelined(nc, "hello", 1))
		testkit.Must(t, extra.Wait())
		testkit.Must(t, pipelined(s.dial(t), "hello", 1))
	})
}

// Each of many concurrent clients is served.
func TestManyClientsConnectAndDisconnect(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{AcceptBudget: 2, Handler: echoLines()})
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 30 {
					nc := s.dial(t)
					if err := pipelined(nc, fmt.Sprint(i, n), 2); err != nil {
						t.Error(err)
					}
					hangUp(nc)
				}
			})
		}
		all.Wait()
		s.shutdown(t)
		if st := s.Stats(); st.Opened != 240 || st.Closed != 240 || st.BufferedBytes != 0 || st.OpenConns != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// When Wait has returned, the address can be listened on again.
func TestAClosedListenerLeavesItsAddress(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		s := start(t, rig{"tcp", false, 3}, &server.Server{Handler: echoLines(), ReusePort: reuse})
		ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
		testkit.Must(t, err)
		for range 50 {
			testkit.Must(t, ln.Close())
			testkit.Must(t, ln.Wait())
			again, err := net.Listen("tcp", ln.Addr().String())
			testkit.Must(t, err)
			testkit.Must(t, again.Close())
			ln, err = s.Listen(context.Background(), "tcp", ln.Addr().String(), nil)
			testkit.Must(t, err)
		}
	}
}

// The error of its Accept after the close is no failure.
func TestAListenerWithoutADescriptorEndsWithoutAnErrorWhenClosed(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	for range 50 {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		ln, err := s.AddListener(struct{ net.Listener }{inner}, nil)
		testkit.Must(t, err)
		testkit.Must(t, ln.Close())
		testkit.Must(t, ln.Wait())
	}
}

// BusyText has no default, since the server does not know the protocol.
func TestARefusedClientIsSentNothingByDefault(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{MaxConns: 1, Handler: echoLines()})
	first := s.dial(t)
	testkit.Must(t, pipelined(first, "first", 1))
	nc := s.dialPlain(t)
	if got, err := io.ReadAll(nc); err != nil || len(got) > 0 {
		t.Errorf("a refused client reads %q, %v", got, err)
	}
	hangUp(nc, first)
	s.shutdown(t)
}

// A refused request has an answer in its turn, so FullRefuse needs a BusyText.
func TestRefuseNeedsABusyText(t *testing.T) {
	s := &server.Server{WhenFull: server.FullRefuse, Handler: echoLines()}
	if err := s.Start(); !errors.Is(err, server.ErrInvalid) || !strings.Contains(err.Error(), "BusyText") {
		t.Errorf("Start returns %v", err)
	}
}

// The log names the number that PickLoop has returned, and how many loops there are. A panic of PickLoop is reported to OnPanic alone.
func TestTheLogNamesTheNumberThatPickLoopReturned(t *testing.T) {
	for _, panics := range []bool{false, true} {
		var log safeBuffer
		reported := make(chan any, 1)
		s := start(t, rig{"tcp", false, 3}, &server.Server{Handler: echoLines(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			PickLoop: func(net.Addr, int) int {
				if panics {
					panic("in PickLoop")
				}
				return 7
			},
			OnPanic: func(_ *server.Conn, v any, _ []byte) { offer(reported, v) },
		})
		testkit.Must(t, pipelined(s.dial(t), "hello", 1))
		text := log.String()
		if named := strings.Contains(text, "returned=7") && strings.Contains(text, "loops=3"); named == panics || strings.Contains(text, "PickLoop") == panics {
			t.Errorf("panics %v: logged %q", panics, text)
		}
		if (len(reported) > 0) != panics {
			t.Errorf("panics %v: OnPanic was called %d times", panics, len(reported))
		}
	}
}
