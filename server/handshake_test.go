package server_test

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Never more than MaxHandshakes run at once, and all are served.
func TestHandshakesAreBounded(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		const most, clients = 2, 8
		var now, peak atomic.Int32
		gate := make(chan struct{})
		config := serverTLS()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if n := now.Add(1); n > peak.Load() {
				peak.Store(n)
			}
			<-gate
			now.Add(-1)
			return nil, nil
		}
		s, _ := startWithClock(t, r, &server.Server{Handler: calls{data: echo}, TLS: config, MaxHandshakes: most}) // none has waited for too long
		var all sync.WaitGroup
		for range clients {
			nc := s.dial(t).(*tls.Conn)
			all.Go(func() {
				if err := nc.Handshake(); err != nil {
					t.Error(err)
				}
			})
		}
		testkit.Until(t, "handshakes that wait", func() bool { return server.WaitingHandshakes(s.Server) == clients-most })
		testkit.Until(t, "handshakes that run", func() bool { return now.Load() == most })
		close(gate)
		all.Wait()
		if n := peak.Load(); n > most {
			t.Errorf("%d handshakes ran at once, want %d at most", n, most)
		}
	})
}

// The clients send a whole ClientHello, then single bytes, and have all places. Later clients get a place long before HandshakeTimeout.
func TestClientsThatSendLittleDoNotDelayHandshakes(t *testing.T) {
	const most = 4
	var reasons, failed atomic.Int32
	s, clock := startWithClock(t, rigs()[0], &server.Server{
		Handler: calls{data: echo}, TLS: serverTLS(), MaxHandshakes: most, HandshakeTimeout: -1,
		OnReject: func(_ *server.Conn, reason error) {
			failed.Add(1)
			if errors.Is(reason, server.ErrHandshake) {
				reasons.Add(1)
			}
		},
	})
	hello := clientHello(t)
	var slow []net.Conn
	for range 3 * most {
		nc := s.dialPlain(t)
		send(t, nc, string(hello)+"\x17\x03\x03\x40\x00") // and the head of a record that does not end
		slow = append(slow, nc)
	}
	testkit.Until(t, "the slow clients' turn", func() bool { return server.WaitingHandshakes(s.Server) == 2*most }) // none of them is behind a later one
	for range 3 {
		nc := tls.Client(s.dialPlain(t), clientTLS())
		handshaken := make(chan error, 1)
		go func() { handshaken <- nc.Handshake() }()
		testkit.Until(t, "the handshake's end", func() bool {
			for _, nc := range slow {
				_, _ = nc.Write([]byte{0}) // fails when the server has closed the connection
			}
			clock.Advance(50 * time.Millisecond)
			return len(handshaken) > 0
		})
		testkit.Must(t, <-handshaken)
		send(t, nc, "hello")
		expect(t, nc, "hello")
	}
	if n := failed.Load(); n < most || n != reasons.Load() {
		t.Errorf("%d clients were rejected, %d of them for their handshake; want %d at least", n, reasons.Load(), most)
	}
}

// The time in which the server computes does not count, although other handshakes wait.
func TestAHandshakeThatComputesIsNotEnded(t *testing.T) {
	config := serverTLS()
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- struct{}{}
		<-gate
		return nil, nil
	}
	s, clock := startWithClock(t, rigs()[0], &server.Server{Handler: calls{data: echo}, TLS: config, MaxHandshakes: 1})
	var all sync.WaitGroup
	for range 3 {
		nc := s.dialPlain(t)
		all.Go(func() {
			if err := tls.Client(nc, clientTLS()).Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
	testkit.Await(t, entered, "the first handshake")
	testkit.Until(t, "the other handshakes", func() bool { return server.WaitingHandshakes(s.Server) == 2 })
	clock.Advance(3 * time.Second) // more than a handshake may wait for its client
	close(gate)
	all.Wait()
}

// While one has the only place, clients connect, wait for it and disconnect.
func TestAHandshakeThatWaitsEndsWithItsConnection(t *testing.T) {
	config := serverTLS()
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- struct{}{}
		<-gate
		return nil, nil
	}
	s := start(t, rigs()[0], &server.Server{Handler: calls{data: echo}, TLS: config, MaxHandshakes: 1, HandshakeTimeout: 10 * testkit.Patience})
	first, ended := tls.Client(s.dialPlain(t), clientTLS()), make(chan error, 1)
	go func() { ended <- first.Handshake() }()
	testkit.Await(t, entered, "the first handshake")
	hello := string(clientHello(t))
	const clients = 20
	var waiting []net.Conn
	for range clients {
		nc := s.dialPlain(t)
		send(t, nc, hello)
		waiting = append(waiting, nc)
	}
	testkit.Until(t, "the other handshakes' waiting", func() bool { return server.WaitingHandshakes(s.Server) == clients })
	for i, nc := range waiting {
		if i != clients/2 { // one of them does not disconnect
			reset(t, nc)
		}
	}
	testkit.Until(t, "the end of those that have left", func() bool { return server.WaitingHandshakes(s.Server) == 1 })
	close(gate)
	testkit.Must(t, testkit.Await(t, ended, "the first handshake's end"))
	testkit.Await(t, entered, "the handshake that has waited")
	testkit.Until(t, "an empty queue", func() bool { return server.WaitingHandshakes(s.Server) == 0 })
	testkit.Must(t, s.Close())
}
