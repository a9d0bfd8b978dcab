package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// Nothing is started, and the corrected server can be started.
func TestAConfigurationErrorNamesTheField(t *testing.T) {
	serve := func(server.Reply, []byte) {}
	var none *server.Dispatcher
	for name, row := range map[string]func(s *server.Server){
		"Workers":                func(s *server.Server) { s.Workers = -1 },
		"NumLoops":               func(s *server.Server) { s.NumLoops = -2 },
		"MaxConns is 2000000000": func(s *server.Server) { s.MaxConns = 2_000_000_000 },
		"LowWater":               func(s *server.Server) { s.LowWater = -1 },
		"LowWater is 20":         func(s *server.Server) { s.LowWater, s.HighWater = 20, 20 },
		"HighWater is 2000":      func(s *server.Server) { s.HighWater, s.MaxOutput = 2000, 1000 },
		"Balance":                func(s *server.Server) { s.Balance = server.BalanceSourceHash + 1 },
		"WhenFull":               func(s *server.Server) { s.WhenFull = server.FullCloseConn + 1 },
		"TLS":                    func(s *server.Server) { s.TLS = &tls.Config{} },
		"ReadLimit":              func(s *server.Server) { s.ReadLimit.BytesPerSecond = math.NaN() },
		"WriteLimit":             func(s *server.Server) { s.WriteLimit.BytesPerSecond = -1 },
		"WriteLimit has a burst": func(s *server.Server) { s.WriteLimit = server.RateLimit{BytesPerSecond: 1, Burst: -1} },
		"Handler is nil":         func(s *server.Server) { s.Handler = nil },
		"nil Dispatcher":         func(s *server.Server) { s.Handler = none },
		"Dispatcher.Framing":     func(s *server.Server) { s.Handler = &server.Dispatcher{Serve: serve} },
		"Dispatcher.Serve":       func(s *server.Server) { s.Handler = &server.Dispatcher{Framing: framing.Lines{}} },
		"Dispatcher.Concurrent": func(s *server.Server) {
			s.Handler = &server.Dispatcher{Framing: framing.Lines{}, Serve: serve, Concurrent: -1}
		},
		"Max is -1": func(s *server.Server) { s.Handler = &server.Dispatcher{Framing: framing.Lines{Max: -1}, Serve: serve} },
	} {
		t.Run(name, func(t *testing.T) {
			s := &server.Server{Handler: echoLines()}
			row(s)
			err := s.ListenAndServe("tcp", "127.0.0.1:0")
			testkit.CheckErr(t, "ListenAndServe", err, server.ErrInvalid)
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%q does not name %s", err, name)
			}
			testkit.Must(t, s.Close())
		})
	}
}

// The fields may be corrected then, and the same server started.
func TestAFailedStartReturnsTheErrorAndLeavesNothing(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer busy.Close()
	s := &server.Server{Handler: echoLines(), NumLoops: -1, Logger: slog.New(slog.DiscardHandler)}
	testkit.CheckErr(t, "Start", s.Start(), server.ErrInvalid)
	_, err = s.Dial(context.Background(), "tcp", busy.Addr().String(), nil)
	testkit.CheckErr(t, "Dial before Start", err, server.ErrNotStarted)
	s.NumLoops = 2
	for _, row := range []struct {
		network, address string
		want             error
	}{
		{"tcp", busy.Addr().String(), syscall.EADDRINUSE},
		{"udp", "127.0.0.1:0", server.ErrInvalid},
		{"tcp5", "127.0.0.1:0", server.ErrInvalid},
		{"", "127.0.0.1:0", server.ErrInvalid},
		{"unix", filepath.Join(t.TempDir(), strings.Repeat("x", 200)), syscall.EINVAL},
		{"unix", filepath.Join(t.TempDir(), "none", "s"), os.ErrNotExist},
		{"tcp6", "127.0.0.1:0", nil},
		{"tcp", "127.0.0.1:99999", nil},
		{"tcp", "no port", nil},
	} {
		_, err := s.Listen(context.Background(), row.network, row.address, nil)
		if err == nil {
			t.Errorf("Listen on %s %s succeeds", row.network, row.address)
		} else if row.want != nil {
			testkit.CheckErr(t, "Listen on "+row.network+" "+row.address, err, row.want)
		}
	}
	ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	nc, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	testkit.Must(t, pipelined(nc, "hello", 1))
	hangUp(nc)
	testkit.Must(t, s.Shutdown(context.Background()))
}

// It does so after a shutdown and during it. A server that was shut down does not start again.
func TestServeReturnsErrServerClosed(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		defer ln.Close() // fails unless Serve came too late
		served := make(chan error, 2)
		go func() { served <- s.Serve(ln) }()
		go func() { served <- s.ListenAndServe("tcp", "127.0.0.1:0") }()
		s.shutdown(t)
		for range 2 {
			testkit.CheckErr(t, "Serve", testkit.Await(t, served, "Serve's end"), server.ErrServerClosed)
		}
		another, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		defer another.Close()
		testkit.CheckErr(t, "Serve", s.Serve(another), server.ErrServerClosed)
		testkit.CheckErr(t, "ListenAndServe", s.ListenAndServe("tcp", "127.0.0.1:0"), server.ErrServerClosed)
		testkit.CheckErr(t, "Start", s.Start(), server.ErrServerClosed)
	})
}

// The server can never be started.
func TestAServerThatWasShutDownBeforeStartCannotBeStarted(t *testing.T) {
	s := &server.Server{Handler: echoLines()}
	testkit.Must(t, s.Shutdown(context.Background()))
	testkit.Must(t, s.Close())
	testkit.Must(t, s.Shutdown(context.Background()))
	testkit.CheckErr(t, "Start", s.Start(), server.ErrServerClosed)
}

// When one is shut down, the other still serves.
func TestTwoServersShareNothing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		one := start(t, r, &server.Server{Handler: echoLines()})
		two := start(t, r, &server.Server{Handler: calls{data: echo}})
		first, second := one.dial(t), two.dial(t)
		testkit.Must(t, pipelined(first, "one", 10))
		testkit.Must(t, pipelined(second, "two", 10))
		hangUp(first)
		one.shutdown(t)
		testkit.Must(t, pipelined(second, "two", 10))
		testkit.Must(t, pipelined(two.dial(t), "two", 10))
		if one, two := one.Stats(), two.Stats(); one.Opened != 1 || two.Opened != 2 || two.OpenConns != 2 || one.OpenConns != 0 {
			t.Errorf("opened %d and %d, open %d and %d", one.Opened, two.Opened, one.OpenConns, two.OpenConns)
		}
	})
}

// Nothing is left, which TestMain checks.
func TestStartAndShutdownManyTimes(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for i := range 100 {
			s := &server.Server{Handler: echoLines(), NumLoops: r.loops, Logger: slog.New(slog.DiscardHandler)}
			testkit.Must(t, s.Start())
			testkit.Must(t, s.Start())
			if i%2 == 0 {
				_, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
				testkit.Must(t, err)
			}
			if i%3 == 0 {
				testkit.Must(t, s.Close())
			} else {
				testkit.Must(t, s.Shutdown(context.Background()))
			}
		}
	})
}

// Each call returns a result that fits the order.
func TestStartMayRaceWithShutdown(t *testing.T) {
	for range 50 {
		s := &server.Server{Handler: echoLines(), NumLoops: 2, Logger: slog.New(slog.DiscardHandler)}
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if err := s.ListenAndServe("tcp", "127.0.0.1:0"); err != nil {
					testkit.CheckErr(t, "ListenAndServe", err, server.ErrServerClosed)
				}
			})
			all.Go(func() {
				if err := s.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		}
		all.Wait()
	}
}

// A server handles no signal, and a write to a client that has disconnected is an error and does not end the program by SIGPIPE.
func TestAServerHandlesNoSignal(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		reasons, closed := closings()
		s := start(t, r, &server.Server{Handler: calls{close: closed, data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Write(bytes.Repeat(p, 200_000))
			return len(p), err
		}}})
		nc := s.dial(t)
		send(t, nc, "hello")
		expect(t, nc, "hello")
		hangUp(nc) // with much unread input: the server's next write fails
		if testkit.Await(t, reasons, "Close") == nil {
			t.Error("Close was called without an error")
		}
		testkit.Must(t, pipelined(s.dial(t), "x", 1))
	})
}

// An invalid one is an error of Start that names it. The server does not write to it.
func TestLoopConfigReachesTheLoops(t *testing.T) {
	s := &server.Server{Handler: echoLines(), NumLoops: 3, LoopConfig: &event.Config{Priorities: -1}}
	err := s.Start()
	testkit.CheckErr(t, "Start with -1 priorities", err, server.ErrInvalid, event.ErrInvalid)
	if err != nil && !strings.Contains(err.Error(), "LoopConfig") {
		t.Errorf("%v does not name LoopConfig", err)
	}
	s.LoopConfig = &event.Config{}
	testkit.Must(t, s.Start())
	testkit.Must(t, s.Close())
	if !reflect.DeepEqual(*s.LoopConfig, event.Config{}) {
		t.Errorf("the server has written to LoopConfig: %+v", *s.LoopConfig)
	}
}
