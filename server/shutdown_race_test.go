package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Each returns when the server has ended.
func TestEachOfSeveralClosesWaitsForTheEnd(t *testing.T) {
	for range 100 {
		var closed atomic.Bool
		h := calls{close: func(c *server.Conn, reason error) { closed.Store(true) }}
		p := newProbe(h)
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
		p.connect(t, s)
		var wg sync.WaitGroup
		gate := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-gate
				testkit.Must(t, s.Close())
				if !closed.Load() {
					t.Error("Close returned and the connection is open")
				}
			})
		}
		close(gate)
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

// There are no data races.
func TestMethodsMayBeCalledWhileTheServerEnds(t *testing.T) {
	rounds := 20
	if testkit.Full() {
		rounds = 100
	}
	for range rounds {
		p := newProbe(calls{})
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
		c, _ := p.connect(t, s)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						c.PauseRead(nil)
						c.ResumeRead(nil)
					}
				}
			})
		}
		testkit.Must(t, s.Close())
		close(stop)
		wg.Wait()
		s.drained(t)
	}
}

// So do those of a dial that has not begun. Server.Close is refused in them.
func TestCallbacksRunOnTheLoopToTheEnd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	for range 200 {
		var s *running
		p := newProbe(calls{close: func(c *server.Conn, reason error) {
			if err := s.Close(); err == nil {
				t.Error("Close in a callback succeeded")
			}
			if !c.Loop().OnLoop() {
				t.Error("Close was called elsewhere than on the loop")
			}
		}})
		s = start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
		_, err := s.Dial(context.Background(), "tcp", ln.Addr().String(), nil)
		testkit.Must(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Close() }()
		select {
		case <-done:
		case <-time.After(testkit.Patience):
			t.Fatal("Close hangs")
		}
		if t.Failed() {
			return
		}
	}
}

// There are more connections in the queue than a turn serves.
func TestQueuedConnectionsEndOnTheLoop(t *testing.T) {
	var s *running
	p := newProbe(calls{close: func(c *server.Conn, reason error) {
		if !c.Loop().OnLoop() {
			t.Error("Close was called elsewhere than on the loop")
		}
		if err := s.Close(); err == nil {
			t.Error("Server.Close in a callback succeeded")
		}
	}})
	s = start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, MaxConns: server.Unlimited})
	c, _ := p.connect(t, s)
	gate := make(chan struct{})
	testkit.Must(t, c.Loop().Post(func() { <-gate }))
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for range 5000 {
		_, err := s.Dial(context.Background(), "unix", nowhere, nil)
		testkit.Must(t, err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	for {
		if _, err := s.Dial(context.Background(), "unix", nowhere, nil); errors.Is(err, server.ErrServerClosed) {
			break
		}
	}
	time.Sleep(10 * time.Millisecond) // for Close to begin its wait; the test is valid otherwise, too
	close(gate)
	select {
	case <-done:
	case <-time.After(testkit.Patience):
		t.Fatal("Close hangs")
	}
	if n := len(p.closed); n < 5001 {
		t.Errorf("%d of 5001 Closes", n)
	}
}

// Shutdown returns after the end of its context.
func TestABlockedHandshakeDoesNotDelayShutdown(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	cert, _ := certificate()
	conf := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- struct{}{}
		<-release
		return &cert, nil
	}}
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: newProbe(calls{}), TLS: conf})
	nc := s.dialPlain(t)
	go tls.Client(nc, clientTLS()).Handshake()
	testkit.Await(t, asked, "GetCertificate")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	select {
	case err := <-done:
		var late *server.ShutdownError
		if !errors.As(err, &late) || late.Handlers != 1 {
			t.Errorf("Shutdown: %v", err)
		}
	case <-time.After(testkit.Patience):
		t.Error("Shutdown waits longer than its context")
	}
	close(release)
}

// slowListener returns from Accept late.
type slowListener struct {
	net.Listener
	left atomic.Bool
}

func (l *slowListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	time.Sleep(50 * time.Millisecond) // Shutdown has to wait for it
	l.left.Store(true)
	return nc, err
}

// A goroutine of the server has called Accept.
func TestShutdownWaitsForABlockingAccept(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	l := &slowListener{Listener: ln}
	srv := &server.Server{Handler: newProbe(calls{})}
	_, err = srv.AddListener(struct{ net.Listener }{l}, nil)
	testkit.Must(t, err)
	testkit.Must(t, srv.Shutdown(context.Background()))
	if !l.left.Load() {
		t.Error("Shutdown returned and Accept still runs")
	}
}

// The answer has arrived, so Close returns nil.
func TestAHandlerThatHasAnsweredDoesNotRun(t *testing.T) {
	rounds := 100
	if testkit.Full() {
		rounds = 300
	}
	for i := range rounds {
		s := start(t, rig{"unix", false, 1}, &server.Server{Handler: echoLines(), Workers: 2})
		nc := s.dial(t)
		send(t, nc, "a\n")
		expect(t, nc, "a\n")
		if err := s.Close(); err != nil {
			t.Fatal(i, err)
		}
		nc.Close()
	}
}
