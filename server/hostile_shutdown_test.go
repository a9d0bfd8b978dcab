package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// handlerCounts counts a server's calls of Open and Close.
type handlerCounts struct{ opened, closed atomic.Int64 }

func (l *handlerCounts) Open(*server.Conn)                          { l.opened.Add(1) }
func (l *handlerCounts) Data(_ *server.Conn, p []byte) (int, error) { return len(p), nil }
func (l *handlerCounts) Close(c *server.Conn, reason error)         { l.closed.Add(1) }
func (l *handlerCounts) balance(t *testing.T, srv *server.Server) {
	t.Helper()
	if st := srv.Stats(); l.opened.Load() != l.closed.Load() || st.OpenConns != 0 || st.BufferedBytes != 0 {
		t.Fatalf("after Shutdown Open was called %d times, Close %d times; %d connections, %d bytes buffered",
			l.opened.Load(), l.closed.Load(), st.OpenConns, st.BufferedBytes)
	}
}

// Connections are made in every way during the shutdown. Each is refused, or has its Close before Shutdown returns.
func TestConnectionsThatBeginDuringShutdownAreClosed(t *testing.T) {
	ways := waysToConnect(t)
	for name, come := range ways {
		for _, gently := range []bool{true, false} {
			t.Run(map[bool]string{true: "shutdown ", false: "close "}[gently]+name, func(t *testing.T) {
				rounds := 10
				if testkit.Full() {
					rounds = 100
				}
				if name == "dial" && testkit.Full() {
					rounds /= 5 // each makes thousands of connections
				}
				for range rounds {
					h := new(handlerCounts)
					s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: h})
					var coming sync.WaitGroup
					for range 2 {
						coming.Go(func() {
							for come(s, h) == nil {
							}
						})
					}
					time.Sleep(300 * time.Microsecond) // so that some have arrived, which is not required
					if gently {
						s.shutdown(t)
					} else {
						testkit.Must(t, s.Close())
					}
					h.balance(t, s.Server)
					coming.Wait()
					h.balance(t, s.Server)
				}
			})
		}
	}
}

// waysToConnect returns the ways in which a server gets a connection or a listener, each of which fails when the server accepts none.
func waysToConnect(t *testing.T) map[string]func(s *running, h server.Handler) error {
	t.Helper()
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	t.Cleanup(func() { outside.Close() })
	go func() { // connections that the server dials
		for {
			nc, err := outside.Accept()
			if err != nil {
				return
			}
			nc.Close()
		}
	}()
	return map[string]func(s *running, h server.Handler) error{
		"accept": func(s *running, h server.Handler) error {
			nc, err := net.Dial(s.addr.Network(), s.addr.String())
			if err == nil {
				nc.Close()
			}
			return err
		},
		"AddConn": func(s *running, h server.Handler) error {
			nc, err := net.Dial(outside.Addr().Network(), outside.Addr().String())
			if err != nil {
				return err
			}
			if _, err = s.AddConn(nc, &server.ConnConfig{Handler: h}); err != nil {
				nc.Close()
			}
			return err
		},
		"dial": func(s *running, h server.Handler) error {
			for !testkit.Full() && s.Stats().OpenConns > 100 {
				time.Sleep(50 * time.Microsecond) // otherwise the loops are busy with thousands for seconds
			}
			_, err := s.Dial(context.Background(), "tcp", outside.Addr().String(), &server.DialConfig{Handler: calls{}})
			return err
		},
		"listen": func(s *running, h server.Handler) error {
			ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
			if err == nil {
				err = ln.Close()
			}
			return err
		},
	}
}

// TestRequestsThatWaitForAWorkerEndWithTheServer closes a server whose workers' queue is full: the connections whose requests
// have not begun have their Close too.
func TestRequestsThatWaitForAWorkerEndWithTheServer(t *testing.T) {
	var closed atomic.Int64
	started := make(chan struct{}, 10)
	h := echoLines()
	h.Serve = func(w server.Reply, _ []byte) {
		started <- struct{}{}
		<-w.Context().Done()
	}
	h.Closed = func(*server.Conn, error) { closed.Add(1) }
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, Workers: 1, Queue: 1})
	for range 6 {
		send(t, s.dial(t), "request\n")
	}
	testkit.Await(t, started, "a request")
	testkit.Until(t, "all requests", func() bool { return s.Stats().BytesRead == 6*8 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Shutdown(ctx)
	var late *server.ShutdownError
	if !errors.As(err, &late) {
		t.Fatal(err)
	}
	if st := s.Stats(); late.Handlers == 0 && (closed.Load() != 6 || st.OpenConns != 0 || st.BufferedBytes != 0) {
		t.Errorf("%d of 6 calls of Close, %v, %+v", closed.Load(), err, st)
	}
	if n := closed.Load(); n < 5 { // all but the one that was in progress
		t.Errorf("%d calls of Close for 6 connections, of which one had a handler that ran: %v", n, err)
	}
}

// TestRefusedClientsAreClosedWithTheServer shuts down while clients are being refused.
func TestRefusedClientsAreClosedWithTheServer(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Log("what is left open shows when all tests have run")
	}
	before := leaktest.Descriptors()
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}, MaxConns: 1})
	clients := []net.Conn{s.dial(t), s.dial(t), s.dial(t)}
	testkit.Until(t, "the refusals", func() bool { return s.Stats().Refused == 2 })
	testkit.Must(t, s.Close())
	for _, nc := range clients {
		_, _ = io.Copy(io.Discard, nc) // to its end, or to a reset
		nc.Close()
	}
	if left := leaktest.Opened(before); len(left) > 0 {
		t.Errorf("left open: %q; before: %v", left, before)
	}
}
