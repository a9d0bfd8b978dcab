package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// tlsRigs runs a test in the rigs with TLS.
func tlsRigs(t *testing.T, test func(t *testing.T, r rig)) {
	each(t, func(t *testing.T, r rig) {
		if r.tls {
			test(t, r)
		}
	})
}

// tlsClient connects with a configuration of the test's own, before the handshake.
func (s *running) tlsClient(t testing.TB, edit func(*tls.Config)) *tls.Conn {
	t.Helper()
	config := clientTLS()
	if edit != nil {
		edit(config)
	}
	return tls.Client(s.dialPlain(t), config)
}

// It has the version, ALPN, and the client's certificate.
func TestTheTLSStateIsKnownInOpen(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		cert, roots := certificate()
		config := serverTLS()
		config.NextProtos = []string{"second", "first"}
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, roots
		states := make(chan tls.ConnectionState, 10)
		p := newProbe(calls{data: echo, open: func(c *server.Conn) {
			state, ok := c.TLS()
			if !ok {
				t.Error("Open came before the handshake")
			}
			states <- state
		}})
		s := start(t, r, &server.Server{Handler: p, TLS: config})
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, with := range []bool{false, true} {
				nc := s.tlsClient(t, func(c *tls.Config) {
					c.MaxVersion, c.NextProtos = version, []string{"first", "unknown"}
					if with {
						c.Certificates = []tls.Certificate{cert}
					}
				})
				send(t, nc, "hello")
				expect(t, nc, "hello")
				state := testkit.Await(t, states, "Open")
				if state.Version != version || state.NegotiatedProtocol != "first" || len(state.VerifiedChains) > 0 != with {
					t.Errorf("%s, protocol %q, client certificate %v; want %s, \"first\", %v", tls.VersionName(state.Version),
						state.NegotiatedProtocol, len(state.VerifiedChains) > 0, tls.VersionName(version), with)
				}
			}
		}
	})
}

// OnReject is called, not the handler, and the client reads the alert.
func TestAClientWithoutARequiredCertificateIsRejected(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		config := serverTLS()
		config.ClientAuth = tls.RequireAndVerifyClientCert
		_, config.ClientCAs = certificate()
		rejected := make(chan error, 10)
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, TLS: config, OnReject: func(c *server.Conn, reason error) {
			if !c.Loop().OnLoop() {
				t.Error("OnReject was not called on the loop")
			}
			rejected <- reason
		}})
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			nc := s.tlsClient(t, func(c *tls.Config) { c.MaxVersion = version })
			_, err := nc.Read(make([]byte, 1))
			if !isAlert(err) {
				t.Errorf("%s: the client reads %v, want an alert", tls.VersionName(version), err)
			}
			if reason := testkit.Await(t, rejected, "OnReject"); !errors.Is(reason, server.ErrHandshake) {
				t.Errorf("%s: the reason is %v", tls.VersionName(version), reason)
			}
		}
		if len(p.opened)+len(p.closed) > 0 {
			t.Error("the handler was called for a connection without a handshake")
		}
		s.shutdown(t)
		if st := s.Stats(); st.FailedHandshakes != 2 || st.Handshakes != 0 {
			t.Errorf("%d handshakes failed, %d succeeded; want 2, 0", st.FailedHandshakes, st.Handshakes)
		}
		s.drained(t)
	})
}

// isAlert reports whether err is an alert of the peer.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func TestTLSSessionsAreResumed(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: server.HandlerFunc(echo)})
		cache := tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			nc := s.tlsClient(t, func(c *tls.Config) { c.ClientSessionCache = cache })
			send(t, nc, "hello")
			expect(t, nc, "hello")
			if got := nc.ConnectionState().DidResume; got != (i > 0) {
				t.Errorf("connection %d: resumed: %v", i, got)
			}
			closeWrite(t, nc)
			expectEOF(t, nc)
		}
	})
}

// The server runs meanwhile.
func TestACertificateIsReloadedByGetCertificate(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		cert, _ := certificate()
		other := cert
		other.OCSPStaple = []byte("the new one")
		var now atomic.Pointer[tls.Certificate]
		now.Store(&cert)
		s := start(t, r, &server.Server{Handler: server.HandlerFunc(echo), TLS: &tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil },
		}})
		for _, want := range []*tls.Certificate{&cert, &other} {
			now.Store(want)
			nc := s.tlsClient(t, nil)
			testkit.Must(t, nc.Handshake())
			if got := nc.OCSPResponse(); !bytes.Equal(got, want.OCSPStaple) {
				t.Errorf("the certificate came with %q, want %q", got, want.OCSPStaple)
			}
		}
	})
}

// It is sent at every end in order. Without it a client could not tell the end from a truncation.
func TestCloseNotifyIsSent(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: testkit.Patience}) // time to read three megabytes on a busy machine
		for how, end := range map[string]func(c *server.Conn, nc net.Conn){
			"Close":            func(c *server.Conn, _ net.Conn) { c.Close() },
			"CloseWrite":       func(c *server.Conn, _ net.Conn) { _ = c.CloseWrite() },
			"the client's end": func(_ *server.Conn, nc net.Conn) { closeWrite(t, nc) },
		} {
			c, nc := p.connect(t, s)
			_, err := c.Write(make([]byte, 3<<20))
			testkit.Must(t, err)
			end(c, nc)
			if n, err := io.Copy(io.Discard, nc); err != nil || n != 3<<20 {
				t.Errorf("%s: the client read %d bytes, %v", how, n, err)
			}
		}
		c, nc := p.connect(t, s)
		c.Abort()
		if _, err := io.Copy(io.Discard, nc); r.network == "tcp" && err == nil {
			t.Error("an aborted stream ends like a good one")
		}
	})
}

// An attacker may have truncated the stream. (Between records, crypto/tls reports an end.)
func TestAStreamThatEndsInsideATLSRecordIsAnError(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: eofProbe{p, func(*server.Conn) { t.Error("a truncation was reported as the end") }}})
		_, nc := p.connect(t, s)
		_, err := raw(nc).Write([]byte("\x17\x03\x03\x00\x20and so on"))
		testkit.Must(t, err)
		testkit.Must(t, raw(nc).Close())
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, io.ErrUnexpectedEOF) {
			t.Errorf("the reason is %v", reason)
		}
	})
}

// Request and end follow the handshake at once, before the server has read its end.
func TestAClientThatClosesEarlyLosesNothing(t *testing.T) {
	t.Parallel()
	tlsRigs(t, func(t *testing.T, r rig) {
		config := serverTLS()
		config.VerifyConnection = func(tls.ConnectionState) error { // between the client's flights
			time.Sleep(brief)
			return nil
		}
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, TLS: config})
		for _, size := range []int{0, 10, 200_000} {
			nc := s.dialPlain(t)
			slow := &gathering{Conn: nc}
			client := tls.Client(slow, clientTLS())
			request := string(noise(size))
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(client, request)
				sent <- errors.Join(err, client.Handshake(), client.CloseWrite(), slow.flush(), nc.(halfCloser).CloseWrite())
			}()
			got, err := io.ReadAll(client)
			if err != nil || string(got) != request {
				t.Errorf("%d of %d bytes came back, %v", len(got), size, err)
			}
			testkit.Must(t, testkit.Await(t, sent, "the sending"))
			if reason := testkit.Await(t, p.closed, "Close"); reason != io.EOF {
				t.Errorf("the reason is %v", reason)
			}
		}
	})
}

// gathering is a net.Conn that delays the writes after the first record until flush.
type gathering struct {
	net.Conn
	hello bool
	kept  bytes.Buffer
}

func (g *gathering) Write(p []byte) (int, error) {
	if !g.hello {
		g.hello = true
		return g.Conn.Write(p)
	}
	return g.kept.Write(p)
}

// SetWriteDeadline does nothing: crypto/tls sets one after close_notify, which would end the delayed writes.
func (g *gathering) SetWriteDeadline(time.Time) error { return nil }

func (g *gathering) flush() error {
	_, err := g.Conn.Write(g.kept.Bytes())
	return err
}

func TestAClientHelloMayArriveByteByByte(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: server.HandlerFunc(echo)})
		nc := tls.Client(bytewise{s.dialPlain(t)}, clientTLS())
		send(t, nc, "hello")
		expect(t, nc, "hello")
	})
}

// bytewise is a net.Conn that writes a byte at a time.
type bytewise struct{ net.Conn }

func (b bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// It is encrypted, and both ends read slowly.
func TestMuchDataIsSentInBothDirectionsAtOnce(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		there, back := noise(6<<20), noise(6<<20+1)
		var got bytes.Buffer
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return got.Write(p) }})
		s := start(t, r, &server.Server{Handler: p, Socket: tight(), MaxOutput: 16 << 20, HighWater: 16 << 20})
		c, nc := p.connect(t, s)
		_, err := c.Write(back)
		testkit.Must(t, err)
		go func() {
			_, _ = nc.Write(there) // a failure shows in the answers
			_ = nc.(halfCloser).CloseWrite()
		}()
		all, err := io.ReadAll(nc)
		if err != nil || !bytes.Equal(all, back) {
			t.Errorf("%d of %d bytes came, %v", len(all), len(back), err)
		}
		if reason := testkit.Await(t, p.closed, "Close"); reason != io.EOF {
			t.Errorf("the reason is %v", reason)
		}
		if !bytes.Equal(got.Bytes(), there) {
			t.Errorf("%d of %d bytes were received", got.Len(), len(there))
		}
		_ = nc.Close()
		s.shutdown(t)
		s.drained(t)
	})
}

// It comes before or after the handshake, and needs no goroutine.
func TestBytesThatAreNotTLSAreRejected(t *testing.T) {
	t.Parallel()
	tlsRigs(t, func(t *testing.T, r rig) {
		rejected := make(chan error, 10)
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, HandshakeTimeout: 3 * brief, OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
		for what, send := range map[string]string{
			"a request in plain":       "GET / HTTP/1.0\r\n\r\n",
			"a record of another kind": "\x17\x03\x01\x00\x05hello",
			"an empty record":          "\x16\x03\x01\x00\x00",
			"another message":          "\x16\x03\x01\x00\x04\x02\x00\x00\x00",
			"a hello of nonsense":      "\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd",
			"half a record":            "\x16\x03\x01\x01\x00\x01\x00\x00\xfc",
			"half a header":            "\x16\x03",
			"a hello without an end":   strings.Repeat("\x16\x03\x01\x40\x00"+"\x01\x7f\xff\xff"+strings.Repeat("x", 1<<14-4), 5),
			"nothing":                  "",
		} {
			since := time.Now()
			nc := s.dialPlain(t)
			_, _ = io.WriteString(nc, send) // may be refused in the middle
			reason := testkit.Await(t, rejected, what+": OnReject")
			if !errors.Is(reason, server.ErrHandshake) {
				t.Errorf("%s: the reason is %v", what, reason)
			}
			if (what == "nothing" || strings.HasPrefix(what, "half")) && time.Since(since) < 3*brief {
				t.Errorf("%s: closed after %v, earlier than the timeout", what, time.Since(since))
			}
		}
		s.shutdown(t)
		s.drained(t)
		// After the handshake, too, for which a client has more time here.
		s = start(t, r, &server.Server{Handler: p})
		_, nc := p.connect(t, s)
		_, err := raw(nc).Write([]byte("\x17\x03\x03\x00\x20this is no record of the session"))
		testkit.Must(t, err)
		if _, err := nc.Read(make([]byte, 1)); !isAlert(err) {
			t.Errorf("the client reads %v, want an alert", err)
		}
		if reason := testkit.Await(t, p.closed, "Close"); reason == nil || reason == io.EOF {
			t.Errorf("the reason is %v", reason)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// clientHello returns a ClientHello.
func clientHello(t testing.TB) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, clientTLS()).Handshake() // fails, since it gets no answer
		theirs.Close()
	}()
	p := make([]byte, 1<<14)
	n, err := ours.Read(p)
	testkit.Must(t, err)
	return p[:n]
}
