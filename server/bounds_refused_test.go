package server_test

import (
	"runtime"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// When the server holds MaxBuffered, incomplete ClientHellos and PROXY headers take no memory, not even until the next garbage
// collection.
func TestInputThatIsRefusedIsNotCopied(t *testing.T) {
	hello := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0}, make([]byte, 16<<10)...)[:15<<10]
	proxy := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x0f\x00"), make([]byte, 3000)...)
	for name, row := range map[string]struct {
		tls bool
		say []byte
	}{"hello": {true, hello}, "proxy": {false, proxy}} {
		t.Run(name, func(t *testing.T) {
			a := newAttack(t, rig{"tcp", row.tls, 1}, &server.Server{Handler: calls{}, ProxyProtocol: !row.tls, HandshakeTimeout: testkit.Patience, MaxBuffered: 64 << 10})
			const clients = 500
			for range clients {
				a.clients = append(a.clients, a.dialPlain(t))
			}
			testkit.Until(t, "the connections", func() bool { return a.Stats().OpenConns == clients })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, nc := range a.clients {
				_, _ = nc.Write(row.say) // the server may have closed the connection
			}
			a.awaitIdle(t)
			runtime.ReadMemStats(&after)
			refused := a.Stats().Ended[server.EndedOverload]
			if refused < clients/2 {
				t.Errorf("%d connections were refused", refused)
			}
			if n := (after.TotalAlloc - before.TotalAlloc) / clients; n > 2<<10 {
				t.Errorf("%d bytes were allocated for each connection, for %d bytes of its client", n, len(row.say))
			}
		})
	}
}
