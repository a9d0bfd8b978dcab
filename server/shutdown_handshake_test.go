package server_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Its client has sent no request, and is not waited for, whether the handshake has begun before the shutdown or during it.
func TestAConnectionWhoseHandshakeEndsDuringShutdownIsIdle(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		entered, gate := make(chan struct{}, 10), make(chan struct{})
		config := serverTLS()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			entered <- struct{}{}
			<-gate
			return nil, nil
		}
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, TLS: config, CloseTimeout: -1, IdleTimeout: -1})
		clients, handshaken := []net.Conn{s.dial(t), s.dial(t)}, make(chan error, 2)
		for _, nc := range clients {
			go func() { handshaken <- nc.(*tls.Conn).Handshake() }()
			testkit.Await(t, entered, "the handshake")
		}
		otherClient := s.dialPlain(t)
		testkit.Until(t, "the connections", func() bool { return s.Stats().OpenConns == 3 })
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.shutdown(t)
		}()
		expectEOF(t, otherClient) // the shutdown has begun
		close(gate)
		for range clients {
			testkit.Must(t, testkit.Await(t, handshaken, "the handshake's end"))
		}
		testkit.Await(t, done, "Shutdown's end")
		for _, nc := range clients {
			expectEOF(t, nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), server.ErrServerClosed)
		}
	})
}
