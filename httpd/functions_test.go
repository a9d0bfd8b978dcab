package httpd

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The functions of the package serve until their listener fails. A request in progress is served after that, and then no goroutine is left,
// which TestMain checks.
func TestTheFunctionsServeUntilTheirListenerFails(t *testing.T) {
	cert := certificate(t, "server")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	testkit.Must(t, err)
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	testkit.Must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	testkit.Must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	h := newHolding()
	for name, row := range map[string]struct {
		serve func(net.Listener) error
		dial  func(addr string) *client
	}{
		"Serve":    {func(l net.Listener) error { return Serve(l, h) }, func(addr string) *client { return dial(t, addr) }},
		"ServeTLS": {func(l net.Listener) error { return ServeTLS(l, h, certFile, keyFile) }, func(addr string) *client { return dialTLS(t, addr, &tls.Config{RootCAs: pool}) }},
	} {
		l := &failing{Listener: listen(t), failed: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- row.serve(l) }()
		c := row.dial(l.Addr().String())
		c.send(get("/"))
		c.response()
		c.send(get("/hold"))
		testkit.Await(t, h.begun, "the request")
		close(l.failed)
		_ = dial(t, l.Addr().String()) // its Accept fails
		testkit.WantErr(t, testkit.Await(t, done, "the end of "+name), errListener)
		h.goOn <- struct{}{}
		if resp := c.response(); resp.status != 200 {
			t.Errorf("%s: the response is %v", name, resp)
		}
	}
}

var errListener = errors.New("the listener has failed")

// A failing listener has no descriptor, and its Accept fails when failed is closed.
type failing struct {
	net.Listener
	failed chan struct{}
}

func (l *failing) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	select {
	case <-l.failed:
		if err == nil {
			_ = nc.Close() // the client expects no response
		}
		return nil, errListener
	default:
		return nc, err
	}
}

// Serve refuses a listener of package crypto/tls, and closes it.
func TestServeRefusesAListenerWithTLS(t *testing.T) {
	l, s := listen(t), new(Server)
	defer func() { testkit.Must(t, s.Close()) }()
	testkit.WantErr(t, s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate(t, "server")}})), server.ErrUnsupported)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
