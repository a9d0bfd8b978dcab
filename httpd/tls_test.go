package httpd

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// certificate returns a self-signed certificate for the name, for servers and clients.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	testkit.Must(t, err)
	leaf, err := x509.ParseCertificate(der)
	testkit.Must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv, Leaf: leaf}
}

// serveTLS starts a server with TLS, and returns its address and the configuration of a client that trusts it.
func serveTLS(t *testing.T, s *Server) (addr string, client *tls.Config) {
	t.Helper()
	cert := certificate(t, "server")
	if s.TLSConfig == nil {
		s.TLSConfig = new(tls.Config)
	}
	s.TLSConfig.Certificates = []tls.Certificate{cert}
	s.NumLoops = 1
	if s.ErrorLog == nil {
		s.ErrorLog = log.New(io.Discard, "", 0)
	}
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = s.Close() // connections may be left
		testkit.WantErr(t, testkit.Await(t, done, "the end of ServeTLS"), http.ErrServerClosed)
	})
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	return l.Addr().String(), &tls.Config{RootCAs: pool}
}

// dialTLS connects to a server with TLS.
func dialTLS(t *testing.T, addr string, config *tls.Config) *client {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, config)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = nc.Close() }) // the test is over
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	return &client{t, nc, bufio.NewReader(nc)}
}

// Request.TLS has the certificate of the client, and a client without one is refused if one is required.
func TestClientCertificates(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		cert := certificate(t, "client")
		pool := x509.NewCertPool()
		pool.AddCert(cert.Leaf)
		s.TLSConfig = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			fmt.Fprint(w, req.TLS.PeerCertificates[0].Subject.CommonName, len(req.TLS.VerifiedChains))
		})
		addr, config := serveTLS(t, s)
		config.Certificates = []tls.Certificate{cert}
		c := dialTLS(t, addr, config)
		c.send(get("/"))
		if resp := c.response(); resp.body != "client1" {
			t.Errorf("the response is %q", resp.body)
		}
		config = config.Clone()
		config.Certificates = nil
		nc, err := tls.Dial("tcp", addr, config)
		if err == nil { // with TLS 1.3 the refusal comes after the client's part of the handshake
			_, err = io.Copy(io.Discard, nc)
			_ = nc.Close() // it was refused
		}
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("without a certificate: %v", err)
		}
	})
}

// A client that speaks HTTP to a server with TLS is told so, as by net/http, however it sends its request, and other clients are not concerned.
func TestPlainHTTPToTheTLSPortIsRefused(t *testing.T) {
	theirs := httptest.NewUnstartedServer(http.HandlerFunc(serveByPath))
	theirs.Config.ErrorLog = log.New(io.Discard, "", 0)
	theirs.StartTLS()
	defer theirs.Close()
	addr, config := serveTLS(t, &Server{Handler: http.HandlerFunc(serveByPath)})
	talk := func(addr, input string, n int) string {
		c := dial(t, addr)
		for i := 0; i < len(input); i += n {
			if _, err := io.WriteString(c, input[i:min(i+n, len(input))]); err != nil {
				break // it has responded
			}
		}
		return c.rest()
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "CONNECT", "PRI"} {
		request := method + " / HTTP/1.1\r\nHost: x\r\n\r\n"
		want := talk(theirs.Listener.Addr().String(), request, len(request))
		for _, n := range []int{1, 4, 5, len(request)} {
			if got := talk(addr, request, n); got != want {
				t.Errorf("the response to %s in pieces of %d bytes is %q, and that of net/http %q", method, n, got, want)
			}
		}
	}
	body := strings.Repeat("x", 1<<20)
	if got := talk(addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body), 16<<10); !strings.HasPrefix(got, "HTTP/1.0 400 ") {
		t.Errorf("the response to a long request is %q", got)
	}
	c := dial(t, addr)
	c.send("GET")
	c.closeWrite()
	c.wantEnd()
	other := dialTLS(t, addr, config)
	other.send(get("/size?n=5"))
	if resp := other.response(); resp.body != "xxxxx" {
		t.Errorf("the response to another client is %v", resp)
	}
}

// The protocols that are offered are those of NextProtos, or else of Protocols.
func TestProtocolsAreNegotiated(t *testing.T) {
	http1, http2 := new(http.Protocols), new(http.Protocols)
	http1.SetHTTP1(true)
	http2.SetHTTP2(true)
	for _, row := range []struct {
		name      string
		protocols *http.Protocols
		next      []string
		offered   []string
		want      string
	}{
		{"default", nil, nil, []string{"h2", "http/1.1"}, "h2"},
		{"default, client with HTTP/1.1", nil, nil, []string{"http/1.1"}, "http/1.1"},
		{"default, client without ALPN", nil, nil, nil, ""},
		{"only HTTP/1", http1, nil, []string{"h2", "http/1.1"}, "http/1.1"},
		{"only HTTP/2", http2, nil, []string{"h2", "http/1.1"}, "h2"},
		{"NextProtos", nil, []string{"http/1.1"}, []string{"h2", "http/1.1"}, "http/1.1"},
	} {
		s := &Server{Handler: http.HandlerFunc(serveByPath), Protocols: row.protocols, TLSConfig: &tls.Config{NextProtos: row.next}}
		addr, config := serveTLS(t, s)
		config.NextProtos = row.offered
		c := dialTLS(t, addr, config)
		if got := c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != row.want {
			t.Errorf("%s: the protocol is %q", row.name, got)
		}
		if row.want != "h2" {
			c.send(get("/size?n=5"))
			if resp := c.response(); resp.body != "xxxxx" {
				t.Errorf("%s: the response is %v", row.name, resp)
			}
		}
	}
}

// Bodies, files, pipelined requests, and hijacked connections work with TLS as without.
func TestHTTPSIsServedAsHTTP(t *testing.T) {
	name, content := testFile(t, 200_000)
	eachPlacement(t, func(t *testing.T, s *Server) {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/file":
				http.ServeFile(w, req, name)
			case "/echo":
				_ = http.NewResponseController(w).EnableFullDuplex() // returns nil
				_, _ = io.Copy(w, req.Body)                          // the client sees it
			case "/hijack":
				nc, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(nc, rw) // as above
				_ = nc.Close()         // as above
			}
		})
		addr, config := serveTLS(t, s)
		c := dialTLS(t, addr, config)
		c.send(get("/file") + post("/echo", "Content-Length: 5\r\n") + "hello" + get("/file"))
		for _, want := range []string{string(content), "hello", string(content)} {
			if resp := c.response(); resp.body != want {
				t.Errorf("the response has %d bytes, not %d", len(resp.body), len(want))
			}
		}
		c.send(get("/hijack") + "raw")
		testkit.Must(t, c.Conn.(*tls.Conn).CloseWrite())
		if got := c.rest(); got != "raw" {
			t.Errorf("the hijacked connection sends %q", got)
		}
	})
}

// The context of a request ends when a client with TLS goes away.
func TestTheContextEndsWhenAClientWithTLSGoesAway(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	addr, config := serveTLS(t, &Server{Placement: server.OnWorkers, Handler: http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		begun <- struct{}{}
		<-req.Context().Done()
		ended <- struct{}{}
	})})
	c := dialTLS(t, addr, config)
	c.send(get("/"))
	testkit.Await(t, begun, "the request")
	_ = c.Close() // by intention
	testkit.Await(t, ended, "the end of the context")
}
