package server_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// describe answers each line with the peer's address, and with the names that TLS has agreed on.
func describe(c *server.Conn, p []byte) (int, error) {
	state, encrypted := c.TLS()
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	_, err := fmt.Fprintf(c, "%s %v %s %s\n", host, encrypted, state.ServerName, state.NegotiatedProtocol)
	return len(p), err
}

// protocols is a server's configuration of TLS with one application protocol.
func protocols(name string) *tls.Config {
	config := serverTLS()
	config.NextProtos = []string{name}
	return config
}

// The combinations include the fields of the server. The test checks the layers of a connection and their order, and that the names and
// the address reach the handler.
func TestTLSAndPROXYOfAListenerInEachCombination(t *testing.T) {
	for i := range 4 {
		srv := &server.Server{Handler: calls{data: describe}, ProxyProtocol: i&1 != 0}
		if i&2 != 0 {
			srv.TLS = protocols("of the server")
		}
		s := start(t, rig{"tcp", false, 2}, srv)
		for j := range 9 {
			cfg := server.ListenerConfig{Plain: j%3 == 1, ProxyProtocol: j/3 == 1, NoProxyProtocol: j/3 == 2}
			protocol := ""
			if srv.TLS != nil && !cfg.Plain {
				protocol = "of the server"
			}
			if j%3 == 2 {
				cfg.TLS, protocol = protocols("of the listener"), "of the listener"
			}
			proxied := (srv.ProxyProtocol || cfg.ProxyProtocol) && !cfg.NoProxyProtocol
			for way := range listenWays {
				t.Run(fmt.Sprintf("server TLS=%v PROXY=%v, listener %d, %s", srv.TLS != nil, srv.ProxyProtocol, j, way), func(t *testing.T) {
					nc := (&running{s.Server, s.rig, listenWays[way](t, s, cfg).Addr()}).dialPlain(t)
					want := "127.0.0.1 false  \n"
					if proxied {
						send(t, nc, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n")
						want = strings.Replace(want, "127.0.0.1", "192.0.2.1", 1)
					}
					if protocol != "" {
						config := clientTLS()
						config.NextProtos = []string{"of the listener", "of the server"}
						nc = tls.Client(nc, config)
						want = strings.Replace(want, "false  ", "true localhost "+protocol, 1)
					}
					send(t, nc, "name\n")
					if got, err := bufio.NewReader(nc).ReadString('\n'); err != nil || got != want {
						t.Errorf("read %q, %v; want %q", got, err, want)
					}
				})
			}
		}
	}
}

// listenWays are the ways in which a server gets a listener.
var listenWays = map[string]func(*testing.T, *running, server.ListenerConfig) *server.Listener{
	"Listen": listenWith,
	"AddListener": func(t *testing.T, s *running, cfg server.ListenerConfig) *server.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		ln, err := s.AddListener(l, &cfg)
		testkit.Must(t, err)
		return ln
	},
	"AddListener, without a descriptor": func(t *testing.T, s *running, cfg server.ListenerConfig) *server.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		ln, err := s.AddListener(hidden{Listener: l}, &cfg)
		testkit.Must(t, err)
		return ln
	},
}

// Each kind of connection reports it once, with its reason.
func TestAFailedHandshakeIsReportedAndCounted(t *testing.T) {
	for name, fail := range map[string]func(nc net.Conn){
		"no TLS":        func(nc net.Conn) { _, _ = io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n") },
		"the end":       func(nc net.Conn) { hangUp(nc) },
		"half a hello":  func(nc net.Conn) { _, _ = io.WriteString(nc, "\x16\x03\x01\x00\x20\x01"); hangUp(nc) },
		"a version":     func(nc net.Conn) { handshakeWith(nc, tls.VersionTLS10) },
		"a certificate": func(nc net.Conn) { _ = tls.Client(nc, &tls.Config{ServerName: "localhost"}).Handshake() },
		"a protocol": func(nc net.Conn) {
			config := clientTLS()
			config.NextProtos = []string{"another"}
			_ = tls.Client(nc, config).Handshake()
		},
	} {
		t.Run(name, func(t *testing.T) {
			rejected := make(chan error, 2)
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{open: func(*server.Conn) { t.Error("Open was called") }}, TLS: protocols("one"),
				OnReject: func(_ *server.Conn, err error) { rejected <- err }})
			fail(s.dialPlain(t))
			err := testkit.Await(t, rejected, "OnReject")
			if testkit.CheckErr(t, "OnReject", err, server.ErrHandshake); errors.Is(err, server.ErrClosed) {
				t.Errorf("the reason is %v", err)
			}
			testkit.Until(t, "the end", func() bool { return s.Stats().OpenConns == 0 })
			if st := s.Stats(); st.FailedHandshakes != 1 || st.Handshakes != 0 || st.Ended[server.EndedHandshake] != 1 || len(rejected) > 0 {
				t.Errorf("%d handshakes have failed, %d ended, %d connections ended for it", st.FailedHandshakes, st.Handshakes, st.Ended[server.EndedHandshake])
			}
		})
	}
}
