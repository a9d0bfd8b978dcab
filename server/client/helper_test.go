package client_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// start starts srv, which is closed when the test ends.
func start(t testing.TB, srv *server.Server) *server.Server {
	t.Helper()
	if srv.Logger == nil {
		srv.Logger = slog.New(slog.DiscardHandler)
	}
	if srv.Handler == nil {
		srv.Handler = echoLines()
	}
	testkit.Must(t, srv.Start())
	t.Cleanup(func() { testkit.Must(t, srv.Close()) })
	return srv
}

// echoLines answers each line with the line.
func echoLines() *server.Dispatcher {
	return server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		_, _ = w.WriteString(string(line) + "\n") // fails only if the client has disconnected
	})
}

// listen makes srv listen, in the network "tcp", "unix" or "tls", and returns a Client of it on another server.
func listen(t testing.TB, network string, srv *server.Server) *client.Client {
	t.Helper()
	c := &client.Client{Server: start(t, &server.Server{NumLoops: 2}), Framing: framing.Lines{}, Network: "tcp"}
	address := "127.0.0.1:0"
	switch network {
	case "unix":
		c.Network, address = network, filepath.Join(t.TempDir(), "s")
	case "tls":
		cert, pool := certificate()
		srv.TLS, c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}, &tls.Config{RootCAs: pool, ServerName: "localhost"}
	}
	ln, err := start(t, srv).Listen(context.Background(), c.Network, address, nil)
	testkit.Must(t, err)
	c.Address = ln.Addr().String()
	t.Cleanup(func() { c.Close() })
	return c
}

// A peer accepts connections and serves each with a function, on a goroutine.
type peer struct {
	net.Listener
	accepted chan net.Conn
}

// newPeer listens, and returns a Client that connects to it. serve is called with the number of the connection, from 1; nil serves none.
func newPeer(t testing.TB, serve func(n int, nc net.Conn, lines *bufio.Reader)) (*peer, *client.Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	p := &peer{ln, make(chan net.Conn, 1000)}
	var all []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for n := 1; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all = append(all, nc)
			p.accepted <- nc
			if serve != nil {
				running.Go(func() { serve(n, nc, bufio.NewReader(nc)); nc.Close() })
			}
		}
	})
	c := &client.Client{Server: start(t, &server.Server{NumLoops: 1}), Address: ln.Addr().String(), Framing: framing.Lines{}}
	t.Cleanup(func() {
		c.Close()
		ln.Close()
		testkit.Must(t, c.Server.Close())
		for len(p.accepted) > 0 {
			(<-p.accepted).Close()
		}
		running.Wait()
	})
	return p, c
}

// echoes answers each line with the line, until the client closes. It does not use io.Copy, for which package net keeps pipes.
func echoes(_ int, nc net.Conn, lines *bufio.Reader) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if _, err = io.WriteString(nc, line); err != nil {
			return
		}
	}
}

// do is Do with a line, which must be answered with want.
func do(t testing.TB, c *client.Client, line, want string) {
	t.Helper()
	ctx, cancel := testkit.Soon()
	defer cancel()
	answer, err := c.Do(ctx, []byte(line+"\n"))
	if err != nil || string(answer) != want {
		t.Fatalf("the answer to %q is %q, %v; want %q", line, answer, err, want)
	}
}

// fails calls Do with a line, which must fail with the errors.
func fails(t testing.TB, c *client.Client, line string, want ...error) {
	t.Helper()
	ctx, cancel := testkit.Soon()
	defer cancel()
	answer, err := c.Do(ctx, []byte(line+"\n"))
	if answer != nil || err == nil {
		t.Errorf("the answer to %q is %q, %v", line, answer, err)
	}
	for _, target := range want {
		testkit.CheckErr(t, "Do of "+line, err, target)
	}
}

// background calls Do with a line on another goroutine.
func background(ctx context.Context, c *client.Client, line string) (outcome chan result) {
	outcome = make(chan result, 1)
	go func() {
		answer, err := c.Do(ctx, []byte(line+"\n"))
		outcome <- result{string(answer), err}
	}()
	return outcome
}

type result struct {
	answer string
	err    error
}

// many makes calls on n goroutines, each of which checks its own answers.
func many(t testing.TB, c *client.Client, n, calls int) {
	t.Helper()
	testkit.Within(t, fmt.Sprintf("%d calls on %d goroutines", calls, n), func() {
		var all sync.WaitGroup
		for g := range n {
			all.Go(func() {
				var buf []byte
				for i := range calls {
					want := fmt.Sprintf("call %d of %d", i, g)
					answer, err := c.AppendDo(context.Background(), buf[:0], []byte(want+"\n"))
					if err != nil || string(answer) != want {
						t.Errorf("the answer to %q is %q, %v", want, answer, err)
						return
					}
					buf = answer
				}
			})
		}
		all.Wait()
	})
}

// untilStats waits until the statistics satisfy a condition.
func untilStats(t testing.TB, c *client.Client, what string, is func(s client.Stats) bool) {
	t.Helper()
	var last client.Stats
	defer func() {
		if !is(last) {
			t.Logf("%+v", last)
		}
	}()
	testkit.Until(t, what, func() bool { last = c.Stats(); return is(last) })
}

// certificate returns a certificate for localhost, which is made once.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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
