package server_test

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// TestHandshakesAreBounded: never more than MaxHandshakes run at once, and all get their turn.
func TestHandshakesAreBounded(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		const most, clients = 2, 8
		var now, peak atomic.Int32
		config := serverTLS()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if n := now.Add(1); n > peak.Load() {
				peak.Store(n)
			}
			time.Sleep(20 * time.Millisecond) // for others to begin meanwhile, if they could
			now.Add(-1)
			return nil, nil
		}
		s := start(t, r, &server.Server{Handler: calls{data: echo}, TLS: config, MaxHandshakes: most})
		var all sync.WaitGroup
		for range clients {
			nc := s.dial(t).(*tls.Conn)
			all.Go(func() {
				if err := nc.Handshake(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := peak.Load(); n > most {
			t.Errorf("%d handshakes ran at once, want %d at most", n, most)
		}
	})
}

// TestClientsThatSendLittleDoNotHoldUpHandshakes: they send a whole ClientHello, then a byte now and then, and hold all places. Those
// that come get theirs, long before the others' time is over.
func TestClientsThatSendLittleDoNotHoldUpHandshakes(t *testing.T) {
	const most = 4
	var reasons, failed atomic.Int32
	s := start(t, rigs()[0], &server.Server{
		Handler: calls{data: echo}, TLS: serverTLS(), MaxHandshakes: most, HandshakeTimeout: 10 * patience,
		OnReject: func(_ *server.Conn, reason error) {
			failed.Add(1)
			if errors.Is(reason, server.ErrHandshake) {
				reasons.Add(1)
			}
		},
	})
	hello := clientHello(t)
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	for range 3 * most {
		nc := s.dialPlain(t)
		send(t, nc, string(hello))
		all.Go(func() {
			record := append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 1000)...) // never complete
			for _, b := range record {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				if _, err := nc.Write([]byte{b}); err != nil {
					return
				}
			}
		})
	}
	for range 3 {
		nc := tls.Client(s.dialPlain(t), clientTLS())
		must(t, nc.Handshake()) // within the patience that dialPlain sets
		send(t, nc, "hello")
		expect(t, nc, "hello")
	}
	if n := failed.Load(); n < most || n != reasons.Load() {
		t.Errorf("%d clients were rejected, %d of them for their handshake; want %d at least", n, reasons.Load(), most)
	}
}

// TestAHandshakeThatComputesIsNotEnded though others wait: the server itself takes its time for it.
func TestAHandshakeThatComputesIsNotEnded(t *testing.T) {
	config := serverTLS()
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- struct{}{}
		<-gate
		return nil, nil
	}
	s := start(t, rigs()[0], &server.Server{Handler: calls{data: echo}, TLS: config, MaxHandshakes: 1})
	var all sync.WaitGroup
	for range 3 {
		nc := s.dialPlain(t)
		all.Go(func() {
			if err := tls.Client(nc, clientTLS()).Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, entered, "the first handshake")
	time.Sleep(1500 * time.Millisecond) // more than a handshake may take that waits for its client
	close(gate)
	all.Wait()
}

// TestAHandshakeThatWaitsIsForgottenWithItsConnection: while one has the only place, clients come, wait for it and leave.
func TestAHandshakeThatWaitsIsForgottenWithItsConnection(t *testing.T) {
	config := serverTLS()
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- struct{}{}
		<-gate
		return nil, nil
	}
	s := start(t, rigs()[0], &server.Server{Handler: calls{data: echo}, TLS: config, MaxHandshakes: 1, HandshakeTimeout: 10 * patience})
	first, ended := tls.Client(s.dialPlain(t), clientTLS()), make(chan error, 1)
	go func() { ended <- first.Handshake() }()
	await(t, entered, "the first handshake")
	hello := string(clientHello(t))
	const clients = 20
	var waiting []net.Conn
	for range clients {
		nc := s.dialPlain(t)
		send(t, nc, hello)
		waiting = append(waiting, nc)
	}
	until(t, "the other handshakes' waiting", func() bool { return server.WaitingHandshakes(s.Server) == clients })
	for i, nc := range waiting {
		if i != clients/2 { // one of them stays
			reset(t, nc)
		}
	}
	until(t, "the end of those that have left", func() bool { return server.WaitingHandshakes(s.Server) == 1 })
	close(gate)
	must(t, await(t, ended, "the first handshake's end"))
	await(t, entered, "the handshake that has waited")
	until(t, "an empty queue", func() bool { return server.WaitingHandshakes(s.Server) == 0 })
	must(t, s.Close())
}
