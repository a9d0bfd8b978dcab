package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The posts may be at their limit. The descriptor is not closed while the loop accepts from it; otherwise the race detector reports it.
func TestAListenerIsClosedOnItsLoop(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, LoopConfig: &event.Config{PostLimit: 1}})
	c, _ := p.connect(t, s)
	stop := fillPosts(t, c.Loop(), func() {})
	defer stop()
	for range 100 {
		ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: calls{}})
		testkit.Must(t, err)
		var clients sync.WaitGroup
		for range 2 {
			clients.Go(func() {
				for range 2 {
					if nc, err := net.DialTimeout("tcp", ln.Addr().String(), testkit.Patience); err == nil {
						_ = nc.Close()
					}
				}
			})
		}
		testkit.Must(t, ln.Close())
		testkit.Must(t, ln.Wait())
		clients.Wait()
	}
}

// Clients that the kernel has connected, and that have sent requests, are not reset when the server or one listener stops accepting.
func TestEstablishedConnectionsAreServedAfterTheListenersEnd(t *testing.T) {
	const clients = 20
	for name, end := range map[string]func(s *running, ln *server.Listener) error{
		"Shutdown": func(s *running, _ *server.Listener) error {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			defer cancel()
			return s.Shutdown(ctx)
		},
		"Listener.Close": func(_ *running, ln *server.Listener) error {
			if err := ln.Close(); err != nil {
				return err
			}
			return ln.Wait()
		},
	} {
		for _, r := range []rig{{"tcp", false, 1}, {"tcp", false, 3}, {"tcp", true, 3}, {"unix", false, 1}} {
			for _, each := range []bool{false, true} {
				if each && r.network == "unix" || r.tls && name == "Shutdown" {
					continue // a unix listener has one socket; a request that waits for a handshake is not there when the server shuts down
				}
				t.Run(fmt.Sprint(name, "/", r, "/for each loop ", each), func(t *testing.T) {
					s := start(t, r, &server.Server{Handler: echoLines(), ReusePort: each, AcceptBudget: 2})
					address := "127.0.0.1:0"
					if r.network == "unix" {
						address = filepath.Join(t.TempDir(), "other")
					}
					ln, err := s.Listen(context.Background(), r.network, address, nil)
					testkit.Must(t, err)
					target := &running{s.Server, r, ln.Addr()}
					gate := make(chan struct{})
					for _, l := range loopsOf(t, s) { // busy for a short time, as with a long callback
						testkit.Must(t, l.Post(func() { <-gate }))
					}
					answers := sendRequests(t, target, clients)
					ended := make(chan error, 1)
					go func() { ended <- end(s, ln) }()
					if name == "Shutdown" {
						testkit.Until(t, "the beginning of the shutdown", func() bool { _, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil); return err != nil })
					}
					close(gate)
					for range clients {
						if err := testkit.Await(t, answers, "an answer"); err != nil {
							t.Error(err)
						}
					}
					testkit.Must(t, testkit.Await(t, ended, name))
				})
			}
		}
	}
}

// sendRequests connects clients, each of which sends a line and reads it again, and returns the channel of their results. When it returns, the
// server's kernel has established the connections. Without TLS it has the lines, too.
func sendRequests(t *testing.T, target *running, clients int) <-chan error {
	t.Helper()
	answers := make(chan error, clients)
	var sent []net.Conn
	for i := range clients {
		plain, request := target.dialPlain(t), fmt.Sprintf("request %d\n", i)
		if target.rig.tls {
			begun := make(chan struct{}, 1)
			go func() {
				nc := tls.Client(writeReporter{plain, begun}, clientTLS())
				if _, err := nc.Write([]byte(request)); err != nil {
					answers <- err
					return
				}
				answers <- readAnswer(nc, request)
			}()
			testkit.Await(t, begun, "a ClientHello")
		} else {
			send(t, plain, request)
			go func() { answers <- readAnswer(plain, request) }()
		}
		sent = append(sent, plain)
	}
	for _, nc := range sent {
		arrives(t, nc)
	}
	return answers
}

// readAnswer reads a line, which must be want, and closes the client.
func readAnswer(nc net.Conn, want string) error {
	defer hangUp(nc)
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err == nil && line != want {
		err = fmt.Errorf("answer %q, want %q", line, want)
	}
	return err
}

// writeReporter is a client's net.Conn that reports a write when it is over.
type writeReporter struct {
	net.Conn
	written chan struct{}
}

func (w writeReporter) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	offer(w.written, struct{}{})
	return n, err
}

// When a server ends while its successor listens on the same port, both serve the connections that the kernel has given to them.
func TestARestartByReusePortResetsNoEstablishedConnection(t *testing.T) {
	const clients = 40
	r := rig{"tcp", false, 2}
	before := start(t, r, &server.Server{Handler: echoLines(), ReusePort: true})
	ln, err := before.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	after := start(t, r, &server.Server{Handler: echoLines(), ReusePort: true})
	_, err = after.Listen(context.Background(), "tcp", ln.Addr().String(), nil)
	testkit.Must(t, err)
	gate := make(chan struct{})
	for _, l := range loopsOf(t, before) { // busy, so that its connections wait in the kernel
		testkit.Must(t, l.Post(func() { <-gate }))
	}
	target := &running{before.Server, r, ln.Addr()}
	answers := make(chan error, clients)
	for i := range clients {
		nc, request := target.dial(t), fmt.Sprintf("request %d\n", i)
		send(t, nc, request)
		arrives(t, nc)
		go func() { answers <- readAnswer(nc, request) }()
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		ended <- before.Shutdown(ctx)
	}()
	testkit.Until(t, "the beginning of the shutdown", func() bool {
		_, err := before.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
		return err != nil
	})
	close(gate)
	for range clients {
		if err := testkit.Await(t, answers, "an answer"); err != nil {
			t.Error(err)
		}
	}
	testkit.Must(t, testkit.Await(t, ended, "Shutdown"))
	if n := after.Stats().Accepted; n == 0 || n >= clients {
		t.Errorf("the successor has accepted %d of %d connections", n, clients)
	}
}

// loopsOf returns the loops of a server that has just begun.
func loopsOf(t *testing.T, s *running) (loops []*event.Loop) {
	t.Helper()
	known := map[*event.Loop]bool{}
	testkit.Until(t, "a connection on each loop", func() bool {
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "which loop", 1))
		for c := range s.Conns() {
			if l := c.Loop(); !known[l] {
				known[l] = true
				loops = append(loops, l)
			}
		}
		hangUp(nc)
		return len(loops) == s.NumLoops
	})
	return loops
}

// A process that takes a path over removes the old socket's file and binds its own; the end of the old listener does not remove that,
// whether it was opened by Listen or added.
func TestAUnixListenersEndLeavesItsSuccessorsPath(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, s *server.Server, path string){
		"Listen": func(t *testing.T, s *server.Server, path string) {
			_, err := s.Listen(context.Background(), "unix", path, nil)
			testkit.Must(t, err)
		},
		"AddListener": func(t *testing.T, s *server.Server, path string) {
			l, err := net.Listen("unix", path)
			testkit.Must(t, err)
			_, err = s.AddListener(l, nil)
			testkit.Must(t, err)
		},
	} {
		for _, successor := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " with a successor ", successor), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "s")
				old := &server.Server{NumLoops: 1, Handler: calls{}}
				open(t, old, path)
				if successor {
					testkit.Must(t, os.Remove(path))
					fresh := &server.Server{NumLoops: 1, Handler: calls{}}
					open(t, fresh, path)
					defer fresh.Close()
				}
				testkit.Must(t, old.Shutdown(context.Background()))
				nc, err := net.Dial("unix", path)
				if err == nil {
					_ = nc.Close()
				}
				if (err == nil) != successor {
					t.Errorf("a connection to the path: %v", err)
				}
				if _, err := os.Lstat(path); !successor && !os.IsNotExist(err) {
					t.Errorf("the file is left: %v", err)
				}
			})
		}
	}
}
