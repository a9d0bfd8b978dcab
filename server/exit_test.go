package server_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// A handler of single requests replaces one of concurrent requests while two requests end.
func TestAnotherHandlerDoesNotGetARequestTwice(t *testing.T) {
	var running atomic.Int32
	seq := &server.Dispatcher{Framing: framing.Lines{Max: 1 << 10}, Serve: func(w server.Reply, line []byte) {
		if n := running.Add(1); n > 1 {
			t.Errorf("%d sequential handlers of one connection", n)
		}
		before := string(line)
		for range 20 {
			runtime.Gosched()
		}
		if string(line) != before {
			t.Errorf("message changed from %q to %q", before, line)
		}
		_, _ = w.Write(line)
		_, _ = w.WriteString("\n")
		running.Add(-1)
	}}
	conc := &server.Dispatcher{Framing: framing.Lines{Max: 1 << 10}, Concurrent: 2, Serve: func(w server.Reply, line []byte) {
		testkit.Must(t, w.Conn().SetHandler(seq))
		_, _ = w.Write(line)
		_, _ = w.WriteString("\n")
	}}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: conc, Workers: 4})
	length := 100 * time.Millisecond
	if testkit.Full() {
		length = 250 * time.Millisecond
	}
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		nc := s.dial(t)
		for range 1 {
			send(t, nc, "aaaa\nbbbb\ncccc\ndddd\neeee\nffff\n")
			expect(t, nc, "aaaa\nbbbb\ncccc\ndddd\neeee\nffff\n")
		}
		nc.Close()
	}
}

// The panic is handled like any other.
func TestAPanicOfTheFramingAtTheEndIsIsolated(t *testing.T) {
	panics := make(chan any, 1)
	split := func(data []byte, atEOF bool) (int, []byte, error) {
		if atEOF {
			panic("at EOF")
		}
		return bufio.ScanLines(data, atEOF)
	}
	closed := make(chan error, 1)
	d := server.Dispatch(split, func(w server.Reply, line []byte) {})
	d.Closed = func(c *server.Conn, reason error) { closed <- reason }
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, OnPanic: func(c *server.Conn, v any, stack []byte) { panics <- v }})
	nc := s.dial(t)
	send(t, nc, "half")
	closeWrite(t, nc)
	testkit.Await(t, panics, "OnPanic")
	if err := testkit.Await(t, closed, "Close"); !errors.Is(err, server.ErrPanic) {
		t.Error(err)
	}
}

// t.FailNow in a handler calls runtime.Goexit. The loop continues.
func TestAGoexitOnALoopEndsItsConnectionAlone(t *testing.T) {
	for _, where := range []string{"open", "data", "close"} {
		for _, survive := range []bool{false, true} {
			t.Run(fmt.Sprint(where, survive), func(t *testing.T) {
				bad := true
				exit := func(at string) {
					if at == where && bad {
						bad = false
						runtime.Goexit()
					}
				}
				p := newProbe(calls{
					open:  func(c *server.Conn) { exit("open") },
					data:  func(c *server.Conn, p []byte) (int, error) { exit("data"); return c.Write(p) },
					close: func(c *server.Conn, reason error) { exit("close") },
				})
				srv := &server.Server{Handler: p}
				if survive {
					srv.OnPanic = func(*server.Conn, any, []byte) {}
				}
				s := start(t, rig{"tcp", false, 1}, srv)
				nc := s.dial(t)
				_, _ = nc.Write([]byte("x"))
				if where == "close" {
					nc.Close()
				} else {
					nc.Read(make([]byte, 1)) // its end
				}
				nc = s.dial(t)
				send(t, nc, "x")
				expect(t, nc, "x")
				testkit.Must(t, s.Close())
			})
		}
	}
}

// After a Goexit its place among MaxHandshakes is free.
func TestAPanicInAHandshakeIsIsolated(t *testing.T) {
	for name, fn := range map[string]func(){"panic": func() { panic("certificate") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			cert, _ := certificate()
			bad := true
			conf := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				if bad {
					bad = false
					fn()
				}
				return &cert, nil
			}}
			p := newProbe(calls{data: echo})
			s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: p, TLS: conf, MaxHandshakes: 1,
				OnPanic: func(*server.Conn, any, []byte) {}})
			if err := s.dial(t).(*tls.Conn).Handshake(); err == nil {
				t.Error("the first handshake succeeded")
			}
			nc := s.dial(t)
			send(t, nc, "x")
			expect(t, nc, "x")
		})
	}
}

// A handshake may be longer than the limit of its buffer.
func TestALongCertificateFits(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	testkit.Must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: noise(230 << 10)}}}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, key.Public(), key)
	testkit.Must(t, err)
	conf := serverTLS()
	conf.ClientAuth = tls.RequireAnyClientCert
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: p, TLS: conf})
	for i := range 3 {
		cc := clientTLS()
		cc.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		nc := tls.Client(s.dialPlain(t), cc)
		send(t, nc, "x")
		b := make([]byte, 1)
		if _, err := nc.Read(b); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		nc.Close()
	}
}
