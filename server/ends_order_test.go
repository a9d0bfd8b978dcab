package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Start, Shutdown and Close may be called in any order and any number of times. Each returns, Start fails with ErrServerClosed after an
// end, as does every call that adds a connection, listener or socket.
func TestStartAndShutdownMayBeCalledInAnyOrder(t *testing.T) {
	steps := map[byte]func(s *server.Server) error{
		'S': (*server.Server).Start,
		'D': func(s *server.Server) error { return s.Shutdown(context.Background()) },
		'C': (*server.Server).Close,
		'E': func(s *server.Server) error { return s.Shutdown(endedContext(context.Canceled)) },
	}
	test := func(t *testing.T, s *server.Server, order string) {
		ended := false
		for i := range len(order) {
			err := steps[order[i]](s)
			switch {
			case order[i] == 'S' && ended:
				testkit.CheckErr(t, fmt.Sprintf("Start in %s", order), err, server.ErrServerClosed, net.ErrClosed)
			case err != nil && (order[i] != 'E' || !errors.Is(err, context.Canceled)):
				t.Errorf("step %d of %s: %v", i, order, err)
			}
			ended = ended || order[i] != 'S'
		}
		if ended {
			_, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
			testkit.CheckErr(t, "Listen", err, server.ErrServerClosed)
		}
		if !ended {
			testkit.Must(t, s.Close())
		}
	}
	for name, loops := range map[string][]*event.Loop{"own loops": nil, "loops of the program": programLoops(t, 2, event.DriverDefault)} {
		t.Run(name, func(t *testing.T) {
			orders := []string{""}
			for range 4 {
				var longer []string
				for _, o := range orders {
					for step := range steps {
						longer = append(longer, o+string(step))
					}
				}
				orders = longer
				for _, o := range orders {
					test(t, &server.Server{Handler: calls{}, NumLoops: 2, UseLoops: loops, Logger: slog.New(slog.DiscardHandler)}, o)
				}
			}
			for _, l := range loops {
				checkUsable(t, l)
			}
		})
	}
}

// Start, Listen, Dial, Shutdown and Close from many goroutines leave nothing, on any loops.
func TestStartsAndEndsAtOnce(t *testing.T) {
	eachOwnership(t, 2, func(t *testing.T, newServer func(server.Handler) *server.Server) {
		for range 20 {
			s := newServer(calls{})
			s.Logger = slog.New(slog.DiscardHandler)
			var all sync.WaitGroup
			for range 3 {
				for _, call := range []func() error{
					s.Start, s.Close,
					func() error { return s.Shutdown(context.Background()) },
					func() error { _, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil); return err },
					func() error { _, err := s.Dial(context.Background(), "tcp", "localhost:1", nil); return err },
					func() error { s.Loops(); s.Stats(); return nil },
				} {
					all.Go(func() {
						if err := call(); err != nil && !errors.Is(err, server.ErrServerClosed) && !errors.Is(err, server.ErrNotStarted) {
							t.Error(err)
						}
					})
				}
			}
			all.Wait()
			testkit.Must(t, s.Close())
			if n := s.Stats().OpenConns; n != 0 {
				t.Errorf("%d connections are left", n)
			}
		}
	})
}

// A program may close its loops while the server is used or shuts down.
func TestLoopsAreClosedWhileTheServerEnds(t *testing.T) {
	for range 30 {
		loops := programLoops(t, 2, event.DriverDefault)
		p := newProbe(calls{data: echo})
		s := start(t, rig{"tcp", false, 0}, &server.Server{Handler: p, UseLoops: loops})
		var clients []net.Conn
		for range 4 {
			_, nc := p.connect(t, s)
			clients = append(clients, nc)
		}
		var all sync.WaitGroup
		for _, nc := range clients {
			all.Go(func() {
				for {
					if _, err := nc.Write([]byte("x")); err != nil {
						return
					}
					if _, err := nc.Read(make([]byte, 1)); err != nil {
						return
					}
				}
			})
		}
		for _, l := range loops {
			all.Go(func() { testkit.Must(t, l.Close()) })
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		for range clients {
			testkit.Await(t, p.closed, "Close")
		}
		if st := s.Stats(); st.OpenConns != 0 || st.BufferedBytes != 0 {
			t.Errorf("%d connections and %d bytes are left", st.OpenConns, st.BufferedBytes)
		}
	}
}
