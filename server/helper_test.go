package server_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func TestMain(m *testing.M) {
	burn()
	parallel := 24
	if testkit.Full() {
		parallel = 6 // the full forms compute
	}
	testkit.ParallelTests(parallel)
	leaktest.Main(m)
}

// rig is a network, encryption and number of loops to run a server with. Backend and driver are chosen by the environment (EVMQ_BACKEND,
// EVMQ_DRIVER, EVMQ_WAKER).
type rig struct {
	network string // tcp or unix
	tls     bool
	loops   int
}

func (r rig) String() string {
	kind := "plain"
	if r.tls {
		kind = "tls"
	}
	return fmt.Sprintf("%s-%s-%d", r.network, kind, r.loops)
}

// rigs returns the rigs that the tests run in: two that differ in network, encryption and number of loops, or with EVMQ_FULL (see
// testkit.Full) every combination of network and encryption. A test whose rule depends on the rig uses allRigs.
func rigs() []rig {
	if testkit.Full() {
		return allRigs()
	}
	return []rig{{"tcp", false, 1}, {"unix", true, 3}}
}

// allRigs returns every combination of network and encryption, with one loop or several.
func allRigs() []rig {
	return []rig{{"tcp", false, 1}, {"tcp", false, 3}, {"tcp", true, 1}, {"tcp", true, 3}, {"unix", false, 1}, {"unix", true, 3}}
}

// each runs a test in the rigs. Tests run beside each other (t.Parallel), but for those that measure or change the whole process.
func each(t *testing.T, test func(t *testing.T, r rig)) {
	t.Helper()
	eachOf(t, rigs(), test)
}

// inAllRigs runs a test in every rig. It is for rules that depend on the rig.
func inAllRigs(t *testing.T, test func(t *testing.T, r rig)) {
	t.Helper()
	eachOf(t, allRigs(), test)
}

// eachAtOnce runs a test in the rigs, beside each other and beside other tests. The test must do little but wait.
func eachAtOnce(t *testing.T, rigs []rig, test func(t *testing.T, r rig)) {
	t.Helper()
	t.Parallel()
	eachOf(t, rigs, func(t *testing.T, r rig) {
		t.Parallel()
		test(t, r)
	})
}

func eachOf(t *testing.T, rigs []rig, test func(t *testing.T, r rig)) {
	t.Helper()
	for _, r := range rigs {
		t.Run(r.String(), func(t *testing.T) { test(t, r) })
	}
}

// running is a running server.
type running struct {
	*server.Server
	rig  rig
	addr net.Addr
}

// start starts srv in the rig. It is closed when the test ends, unless the test did so.
func start(t testing.TB, r rig, srv *server.Server) *running {
	t.Helper()
	if srv.NumLoops == 0 {
		srv.NumLoops = r.loops
	}
	if srv.Logger == nil {
		srv.Logger = slog.New(slog.DiscardHandler)
	}
	if r.tls && srv.TLS == nil {
		srv.TLS = serverTLS()
	}
	address := "127.0.0.1:0"
	if r.network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	if srv.LoopConfig == nil || srv.LoopConfig.Clock == nil { // otherwise the machine may be too slow for a deadline that the test does not mean
		srv.CloseTimeout = cmp.Or(srv.CloseTimeout, testkit.Patience)
		srv.HandshakeTimeout = cmp.Or(srv.HandshakeTimeout, testkit.Patience)
	}
	useExecutor(t, srv)
	srv.Handler = chosen(srv.Handler)
	ln, err := srv.Listen(context.Background(), r.network, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &running{srv, r, ln.Addr()}
}

// dial connects a client, which is closed when the test ends.
func (s *running) dial(t testing.TB) net.Conn {
	t.Helper()
	nc := s.dialPlain(t)
	if s.rig.tls {
		nc = tls.Client(nc, clientTLS())
	}
	return nc
}

// dialPlain is dial without TLS.
func (s *running) dialPlain(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.DialTimeout(s.addr.Network(), s.addr.String(), testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	t.Cleanup(func() { nc.Close() })
	return nc
}

// giveTime lets the deadline of a client count from now on, and not from an earlier step of the test. It does nothing for another reader.
func giveTime(t testing.TB, r io.Reader) {
	t.Helper()
	if nc, ok := r.(net.Conn); ok {
		if err := nc.SetDeadline(time.Now().Add(testkit.Patience)); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// closeWrite closes a client's sending half.
func closeWrite(t testing.TB, nc net.Conn) {
	t.Helper()
	testkit.Must(t, nc.(halfCloser).CloseWrite())
}

type halfCloser interface{ CloseWrite() error }

// shutdown shuts the server down in order, and fails the test if that does not succeed.
func (s *running) shutdown(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatalf("Shutdown: %v", err)
	}
}

// certificate returns a certificate, which is made once.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}, pool
})

func serverTLS() *tls.Config {
	cert, _ := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

func clientTLS() *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// send writes all of p from a client.
func send(t testing.TB, nc net.Conn, p string) {
	t.Helper()
	giveTime(t, nc)
	if _, err := io.WriteString(nc, p); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly want from a client.
func expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	giveTime(t, r)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// expectEOF checks that the stream ends without further bytes.
func expectEOF(t testing.TB, r io.Reader) {
	t.Helper()
	giveTime(t, r)
	rest, err := io.ReadAll(r)
	if err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

// calls is a Handler of functions; those that are nil do nothing.
type calls struct {
	open  func(c *server.Conn)
	data  func(c *server.Conn, p []byte) (int, error)
	close func(c *server.Conn, reason error)
}

func (h calls) Open(c *server.Conn) {
	if h.open != nil {
		h.open(c)
	}
}

func (h calls) Data(c *server.Conn, p []byte) (int, error) {
	if h.data != nil {
		return h.data(c, p)
	}
	return len(p), nil
}

func (h calls) Close(c *server.Conn, reason error) {
	if h.close != nil {
		h.close(c, reason)
	}
}

// echo writes the input back.
func echo(c *server.Conn, p []byte) (int, error) { return c.Write(p) }

// echoLines answers each line on a worker with the same line.
func echoLines() *server.Dispatcher {
	return server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		_, _ = w.Write(line) // fails only if the client has disconnected
		_, _ = w.WriteString("\n")
	})
}
