package server_test

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// eachClock runs a test for each way to give a server a clock: that of its LoopConfig, and that of the program's loops. The test gets a
// function that starts a server.
func eachClock(t *testing.T, test func(t *testing.T, clock *testkit.Clock, start func(*server.Server) *running)) {
	for name, configure := range map[string]func(t *testing.T, srv *server.Server, clock *testkit.Clock){
		"LoopConfig": func(_ *testing.T, srv *server.Server, clock *testkit.Clock) {
			srv.NumLoops, srv.LoopConfig = 1, &event.Config{Clock: clock}
		},
		"UseLoops": func(t *testing.T, srv *server.Server, clock *testkit.Clock) {
			l := testkit.NewLoop(t, &event.Config{Clock: clock})
			testkit.Background(t, l)
			srv.UseLoops = []*event.Loop{l}
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := testkit.NewClock()
			test(t, clock, func(srv *server.Server) *running {
				configure(t, srv, clock)
				return start(t, rig{"tcp", srv.TLS != nil, 0}, srv)
			})
		})
	}
}

// A handshake that waits for a silent client is ended on the clock of the loops: half a second after another one began to wait.
func TestSilentHandshakesAreEndedOnTheLoopsClock(t *testing.T) {
	eachClock(t, func(t *testing.T, clock *testkit.Clock, start func(*server.Server) *running) {
		rejected := make(chan error, 10)
		s := start(&server.Server{Handler: calls{data: echo}, TLS: serverTLS(), MaxHandshakes: 1, HandshakeTimeout: -1,
			OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
		silent := make(chan struct{})
		defer close(silent)
		go func() { _ = tls.Client(unread{s.dialPlain(t), silent}, clientTLS()).Handshake() }()
		testkit.Until(t, "the silent client's handshake", func() bool { return server.RunningHandshakes(s.Server) == 1 })
		served, nc := make(chan error, 1), s.dial(t)
		go func() { served <- pipelined(nc, "hello", 2) }()
		clock.AwaitTimer(t, time.Second/2)
		testkit.Until(t, "the end of the silent client's handshake", func() bool { // it may have begun to wait for its client later
			clock.Advance(time.Second / 20)
			return len(rejected) > 0
		})
		testkit.CheckErr(t, "OnReject", <-rejected, server.ErrHandshake)
		testkit.Must(t, testkit.Await(t, served, "the answers"))
		hangUp(nc)
	})
}

// A listener without a descriptor pauses after a failed accept on the loops' clock: for 5 ms at first, and then twice as long each time.
func TestAPauseOfAcceptIsTakenOnTheLoopsClock(t *testing.T) {
	eachClock(t, func(t *testing.T, clock *testkit.Clock, start func(*server.Server) *running) {
		s := start(&server.Server{Handler: calls{}})
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		_, err = s.AddListener(hidden{inner, func() error { return syscall.EMFILE }}, nil)
		testkit.Must(t, err)
		at := time.Duration(0)
		for pause := 5 * time.Millisecond; pause < 100*time.Millisecond; pause *= 2 {
			at += pause
			clock.AwaitTimer(t, at)
			clock.Advance(pause)
		}
		if n := s.Stats().Pauses; n < 5 {
			t.Errorf("%d pauses, want 5", n)
		}
	})
}
