package httpd

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tlsio/tlstest"
)

// idleHTTPS are connections of a server, which are idle.
type idleHTTPS struct {
	addr    net.Addr
	clients []*tlstest.Conn
}

// hold makes n connections more, and uses each.
func (s *idleHTTPS) hold(t *testing.T, n int, e tlstest.Exchange) {
	t.Helper()
	for range n {
		c, err := tlstest.Dial(s.addr)
		testkit.Must(t, err)
		s.clients = append(s.clients, c)
		testkit.Must(t, e.Client(c))
	}
}

// The memory is that after a collection. crypto/tls alone has the same configuration, and makes the same handshakes, reads and writes.
// Handlers have looked at Request.TLS.
func TestAnIdleHTTPSConnectionTakesUpAtMostOneKBMoreThanCryptoTLS(t *testing.T) {
	const most = 1 << 10
	few, many := 20, 100
	if testkit.Full() {
		many = 160
	}
	config, err := tlstest.Config()
	testkit.Must(t, err)
	e := tlstest.Exchange{Version: tls.VersionTLS13, Request: []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), Reply: helloLength}
	slope := func(hold func(n int)) int64 {
		hold(few)
		before := tlstest.Heap()
		hold(many - few)
		return (tlstest.Heap() - before) / int64(many-few)
	}
	var alone, ours []int64
	for i := range 3 {
		var held tlstest.Held
		alone = append(alone, slope(func(n int) { testkit.Must(t, held.Hold(n, config, e)) }))
		testkit.Must(t, held.Close())
		s := &Server{NumLoops: 1, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.TLS == nil || req.TLS.Version != tls.VersionTLS13 || req.TLS.ServerName != "localhost" {
				t.Errorf("Request.TLS is %v", req.TLS)
			}
			hello(w, req)
		})}
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), fmt.Sprint(i)))
		testkit.Must(t, err)
		done := make(chan error, 1)
		go func() { done <- s.ServeTLS(l, "", "") }()
		idle := &idleHTTPS{addr: l.Addr()}
		ours = append(ours, slope(func(n int) { idle.hold(t, n, e) }))
		for _, c := range idle.clients {
			testkit.Must(t, c.Close())
		}
		testkit.Must(t, s.Close())
		testkit.WantErr(t, testkit.Await(t, done, "the end of ServeTLS"), http.ErrServerClosed)
	}
	slices.Sort(alone)
	slices.Sort(ours)
	t.Logf("crypto/tls alone %d bytes, a connection %d bytes, that is %d more", alone, ours, ours[1]-alone[1])
	if ours[1] > alone[1]+most {
		t.Errorf("a connection takes up %d bytes, crypto/tls alone %d", ours[1], alone[1])
	}
}
