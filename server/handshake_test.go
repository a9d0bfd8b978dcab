package server_test

import (
	"crypto/tls"
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
