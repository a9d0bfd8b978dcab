package server_test

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tlsio/tlstest"
	"github.com/evmq/evmq/server"
)

// tlsOverhead is how many bytes of memory an idle TLS connection has at most, besides those of crypto/tls.
const tlsOverhead = 1 << 10

// idleTLS makes connections of a server that uses TLS.
type idleTLS struct {
	*running
	clients []*tlstest.Conn
}

// hold makes n connections more, and uses each.
func (s *idleTLS) hold(t *testing.T, n int, e tlstest.Exchange) {
	t.Helper()
	for range n {
		c, err := tlstest.Dial(s.addr)
		testkit.Must(t, err)
		s.clients = append(s.clients, c)
		testkit.Must(t, e.Client(c))
	}
	testkit.Until(t, "the end of the handshakes", func() bool { // their goroutines have memory, too
		return s.Stats().Opened == uint64(len(s.clients)) && server.RunningHandshakes(s.Server) == 0
	})
}

func (s *idleTLS) close(t *testing.T) {
	t.Helper()
	for _, c := range s.clients {
		testkit.Must(t, c.Close())
	}
	testkit.Must(t, s.Close())
}

// slope returns the bytes that a connection takes up: the difference between few and many connections.
func slope(few, many int, hold func(n int)) int64 {
	hold(few)
	before := tlstest.Heap()
	hold(many - few)
	return (tlstest.Heap() - before) / int64(many-few)
}

// The memory is that after a collection. crypto/tls alone has the same configuration and makes the same handshakes.
func TestAnIdleTLSConnectionTakesUpAtMostOneKBMoreThanCryptoTLS(t *testing.T) {
	onWorkers := server.Dispatch(everything, echoReply)
	onWorkers.Placement = server.OnWorkers
	handlers := map[string]server.Handler{"loop": server.HandlerFunc(echo), "workers": onWorkers}
	for _, row := range []struct {
		version uint16
		bytes   int
		handler string
		quick   bool
	}{
		{tls.VersionTLS13, 0, "loop", true}, {tls.VersionTLS13, 1 << 10, "loop", false}, {tls.VersionTLS13, 1 << 20, "loop", true},
		{tls.VersionTLS13, 1 << 10, "workers", false}, {tls.VersionTLS13, 1 << 20, "workers", false},
		{tls.VersionTLS12, 0, "loop", false}, {tls.VersionTLS12, 1 << 10, "loop", false}, {tls.VersionTLS12, 1 << 20, "loop", false},
		{tls.VersionTLS12, 1 << 10, "workers", true},
	} {
		if !row.quick && !testkit.Full() {
			continue
		}
		t.Run(fmt.Sprintf("%s/%d/%s", tls.VersionName(row.version), row.bytes, row.handler), func(t *testing.T) {
			few, many := 20, 80
			if row.bytes > 1<<16 {
				few, many = 5, 20
			}
			config, err := tlstest.Config()
			testkit.Must(t, err)
			e := tlstest.Echo(row.version, row.bytes)
			var alone, ours []int64
			for range 3 {
				var held tlstest.Held
				alone = append(alone, slope(few, many, func(n int) { testkit.Must(t, held.Hold(n, config, e)) }))
				testkit.Must(t, held.Close())
				s := &idleTLS{running: start(t, rig{"unix", false, 1}, &server.Server{Handler: handlers[row.handler], TLS: config})}
				ours = append(ours, slope(few, many, func(n int) { s.hold(t, n, e) }))
				s.close(t)
			}
			slices.Sort(alone)
			slices.Sort(ours)
			t.Logf("crypto/tls alone %d bytes, a connection %d bytes, that is %d more", alone, ours, ours[1]-alone[1])
			if ours[1] > alone[1]+tlsOverhead {
				t.Errorf("a connection takes up %d bytes, crypto/tls alone %d", ours[1], alone[1])
			}
		})
	}
}

// The goroutine of a handshake ends with it. A loop and a worker have one each.
func TestAnIdleTLSConnectionHasNoGoroutine(t *testing.T) {
	config, err := tlstest.Config()
	testkit.Must(t, err)
	before := runtime.NumGoroutine()
	s := &idleTLS{running: start(t, rig{"unix", false, 1}, &server.Server{Handler: server.Dispatch(everything, echoReply), Workers: 2, TLS: config})}
	for _, bytes := range []int{0, 64, 1 << 17} {
		s.hold(t, 20, tlstest.Echo(tls.VersionTLS13, bytes))
	}
	testkit.Until(t, "the end of the handshakes", func() bool { return runtime.NumGoroutine()-before < 10 })
	s.close(t)
}

// echoReply writes the request back.
func echoReply(w server.Reply, p []byte) {
	_, _ = w.Write(p) // fails only if the client has disconnected
}

// everything is a bufio.SplitFunc whose message is all bytes that have arrived.
func everything(data []byte, _ bool) (int, []byte, error) { return len(data), data, nil }
