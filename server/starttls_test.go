package server_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// starter is a handler of lines that begins TLS at the line STARTTLS, and answers every other line with it.
type starter struct {
	*probe
	config server.StartTLSConfig
	ended  chan error // the argument of Done
}

func newStarter() *starter {
	s := &starter{probe: newProbe(calls{}), ended: make(chan error, 100)}
	s.config.Done = func(c *server.Conn, err error) {
		if !c.Loop().OnLoop() {
			err = errors.New("Done was not called on the loop")
		}
		offer(s.ended, err)
	}
	return s
}

func (s *starter) Data(c *server.Conn, p []byte) (int, error) {
	line, _, ok := strings.Cut(string(p), "\n")
	if !ok {
		return 0, nil
	}
	if line != "STARTTLS" {
		_, err := c.WriteString(line + "\n")
		return len(line) + 1, err
	}
	if _, err := c.WriteString("ready\n"); err != nil {
		return 0, err
	}
	if err := c.StartTLS(serverTLS(), &s.config); err != nil {
		return 0, err
	}
	_, err := c.WriteString("encrypted\n")
	return len("STARTTLS\n"), err
}

// dispatcher returns the same handler on workers.
func (s *starter) dispatcher(t testing.TB, concurrent int) *server.Dispatcher {
	return &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Opened: s.Open, Closed: s.Close, Serve: func(w server.Reply, line []byte) {
		if string(line) != "STARTTLS" {
			_, _ = w.WriteString(string(line) + "\n")
			return
		}
		_, _ = w.WriteString("rea")
		if err := w.Conn().StartTLS(serverTLS(), &s.config); err != nil {
			t.Error(err)
		}
		if _, err := w.Conn().WriteString("encrypted\n"); err != nil {
			t.Error(err)
		}
		_, _ = w.WriteString("dy\n")
	}}
}

// plainRigs runs a test in the rigs without TLS.
func plainRigs(t *testing.T, test func(t *testing.T, r rig)) {
	each(t, func(t *testing.T, r rig) {
		if !r.tls {
			test(t, r)
		}
	})
}

// upgradeClient sends STARTTLS on nc, reads the unencrypted answer, and does the handshake.
func upgradeClient(t testing.TB, nc net.Conn) *tls.Conn {
	t.Helper()
	send(t, nc, "STARTTLS\n")
	expect(t, nc, "ready\n")
	tc := tls.Client(nc, clientTLS())
	testkit.Must(t, tc.Handshake())
	return tc
}

// Earlier output is sent unencrypted, with a handler on the loop and on workers. The Conn stays the same, and Open is not called again.
func TestStartTLSEncryptsLaterWrites(t *testing.T) {
	for name, handler := range map[string]func(t *testing.T, s *starter) server.Handler{
		"on the loop": func(_ *testing.T, s *starter) server.Handler { return s },
		"on a worker": func(t *testing.T, s *starter) server.Handler { return s.dispatcher(t, 0) },
		"concurrent":  func(t *testing.T, s *starter) server.Handler { return s.dispatcher(t, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			plainRigs(t, func(t *testing.T, r rig) {
				h := newStarter()
				s := start(t, r, &server.Server{Handler: handler(t, h)})
				c, nc := h.connect(t, s)
				if _, ok := c.TLS(); ok {
					t.Error("it speaks TLS already")
				}
				id := c.ID()
				send(t, nc, "clear\n")
				expect(t, nc, "clear\n")
				tc := upgradeClient(t, nc)
				testkit.Must(t, testkit.Await(t, h.ended, "Done"))
				expect(t, tc, "encrypted\n")
				send(t, tc, "one\ntwo\n")
				expect(t, tc, "one\ntwo\n")
				if state, ok := c.TLS(); !ok || state.Version != tls.VersionTLS13 || c.ID() != id {
					t.Errorf("TLS is %v, version %x; the name is %v, before %v", ok, state.Version, c.ID(), id)
				}
				if st := s.Stats(); st.Handshakes != 1 || st.FailedHandshakes != 0 || st.Opened != 1 {
					t.Errorf("%d handshakes, %d failed, %d opened", st.Handshakes, st.FailedHandshakes, st.Opened)
				}
				testkit.CheckErr(t, "a second StartTLS", c.StartTLS(serverTLS(), nil), server.ErrInvalid)
				testkit.Must(t, tc.CloseWrite())
				expectEOF(t, tc)
				hangUp(tc)
				testkit.CheckErr(t, "Close", testkit.Await(t, h.closed, "Close"), io.EOF)
				s.shutdown(t)
				s.drained(t)
			})
		})
	}
}

// An attacker may have inserted it (CVE-2011-0411). It is not given to the handler, neither before nor after the handshake, whether it
// is a command or a ClientHello, in the same packet or later.
func TestInputBehindTheCommandInClearIsRefused(t *testing.T) {
	for _, behind := range []string{"evil\n", "e", string(clientHello(t))} {
		plainRigs(t, func(t *testing.T, r rig) {
			h := newStarter()
			s := start(t, r, &server.Server{Handler: h})
			_, nc := h.connect(t, s)
			send(t, nc, "STARTTLS\n"+behind)
			testkit.CheckErr(t, "Done", testkit.Await(t, h.ended, "Done"), server.ErrHandshake)
			testkit.CheckErr(t, "Close", testkit.Await(t, h.closed, "Close"), server.ErrHandshake)
			if st := s.Stats(); st.FailedHandshakes != 1 || st.Ended[server.EndedHandshake] != 1 {
				t.Errorf("%d handshakes have failed, %d connections ended for it", st.FailedHandshakes, st.Ended[server.EndedHandshake])
			}
			all, _ := io.ReadAll(nc) // a close with unread input is a reset
			if strings.Contains(string(all), "evil") {
				t.Errorf("the client has read %q", all)
			}
		})
	}
	plainRigs(t, func(t *testing.T, r rig) {
		h := newStarter()
		s := start(t, r, &server.Server{Handler: h})
		_, nc := h.connect(t, s)
		send(t, nc, "STARTTLS\n")
		expect(t, nc, "ready\n")
		send(t, nc, "evil\n") // later packets are no requests either
		testkit.CheckErr(t, "Done", testkit.Await(t, h.ended, "Done"), server.ErrHandshake)
		testkit.CheckErr(t, "Close", testkit.Await(t, h.closed, "Close"), server.ErrHandshake)
	})
}

// HelloFollows is set. The ClientHello follows a command, or is the beginning of the connection.
func TestAClientHelloMayFollowStartTLSAtOnce(t *testing.T) {
	plainRigs(t, func(t *testing.T, r rig) {
		h := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			if _, ok := c.TLS(); ok {
				return c.Write(p)
			}
			n := 0
			if p[0] != 22 {
				if n = strings.Index(string(p), "\n") + 1; n == 0 {
					return 0, nil
				}
			}
			return n, c.StartTLS(serverTLS(), &server.StartTLSConfig{HelloFollows: true})
		}})
		s := start(t, r, &server.Server{Handler: h})
		for _, command := range []string{"", "STARTTLS\n"} {
			_, nc := h.connect(t, s)
			tc := tls.Client(&prefixed{nc, command}, clientTLS())
			send(t, tc, "hello")
			expect(t, tc, "hello")
			hangUp(tc)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// prefixed is a client's net.Conn that sends a prefix together with its first bytes.
type prefixed struct {
	net.Conn
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	n := len(p.prefix)
	k, err := p.Conn.Write(append([]byte(p.prefix), b...))
	p.prefix = ""
	return max(0, k-n), err
}

func TestAClientStartsTLSOnAConnectionThatItHasDialled(t *testing.T) {
	plainRigs(t, func(t *testing.T, r rig) {
		h := newStarter()
		s := start(t, r, &server.Server{Handler: h})
		got, done := make(chan string, 100), make(chan error, 1)
		var c *server.Conn
		client := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			n := 0
			for line := range strings.Lines(string(p)) {
				if !strings.HasSuffix(line, "\n") {
					break
				}
				n += len(line)
				got <- line
				if line == "ready\n" {
					return n, c.StartTLS(clientTLS(), &server.StartTLSConfig{Client: true, Done: func(_ *server.Conn, err error) { done <- err }})
				}
			}
			return n, nil
		}})
		c, err := s.Dial(t.Context(), s.addr.Network(), s.addr.String(), &server.DialConfig{Handler: client})
		testkit.Must(t, err)
		testkit.CheckErr(t, "StartTLS", c.StartTLS(&tls.Config{}, &server.StartTLSConfig{Client: true}), server.ErrInvalid)
		testkit.Must(t, second(c.WriteString("STARTTLS\n")))
		if line := testkit.Await(t, got, "the answer"); line != "ready\n" {
			t.Errorf("the answer is %q", line)
		}
		testkit.Must(t, testkit.Await(t, done, "Done"))
		testkit.Must(t, testkit.Await(t, h.ended, "the server's Done"))
		if line := testkit.Await(t, got, "the first encrypted line"); line != "encrypted\n" {
			t.Errorf("the line is %q", line)
		}
		_, err = c.WriteString("hello\n")
		testkit.Must(t, err)
		if line := testkit.Await(t, got, "the echo"); line != "hello\n" {
			t.Errorf("the line is %q", line)
		}
		if state, ok := c.TLS(); !ok || state.ServerName != "localhost" {
			t.Errorf("TLS is %v, %q", ok, state.ServerName)
		}
		testkit.Must(t, c.Close())
		testkit.CheckErr(t, "Close", testkit.Await(t, client.closed, "Close"), nil)
		s.shutdown(t)
		s.drained(t)
	})
}

// The error is ErrInvalid or ErrClosed.
func TestStartTLSRefusesInvalidCalls(t *testing.T) {
	h := newStarter()
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h})
	c, nc := h.connect(t, s)
	renegotiating := clientTLS()
	renegotiating.Renegotiation = tls.RenegotiateOnceAsClient
	called := func(*server.Conn, error) { t.Error("Done was called") }
	for name, row := range map[string]struct {
		config *tls.Config
		cfg    server.StartTLSConfig
	}{
		"nil":                 {nil, server.StartTLSConfig{}},
		"no certificate":      {&tls.Config{}, server.StartTLSConfig{}},
		"no name":             {&tls.Config{}, server.StartTLSConfig{Client: true}},
		"renegotiation":       {renegotiating, server.StartTLSConfig{Client: true}},
		"a hello to a client": {clientTLS(), server.StartTLSConfig{Client: true, HelloFollows: true}},
	} {
		row.cfg.Done = called
		testkit.CheckErr(t, name, c.StartTLS(row.config, &row.cfg), server.ErrInvalid)
	}
	send(t, nc, "hello\n")
	expect(t, nc, "hello\n")
	dialling, err := s.Dial(t.Context(), "tcp", s.addr.String(), &server.DialConfig{Handler: calls{}, TLS: clientTLS()})
	testkit.Must(t, err)
	testkit.CheckErr(t, "before Open", dialling.StartTLS(clientTLS(), &server.StartTLSConfig{Client: true, Done: called}), server.ErrInvalid)
	testkit.Must(t, c.Close())
	testkit.CheckErr(t, "after Close", c.StartTLS(serverTLS(), &server.StartTLSConfig{Done: called}), server.ErrClosed)
}

// Whatever ends the connection meanwhile, Done is called once, before Close, and later writes have their outcome.
func TestStartTLSEndsInOneWay(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(t *testing.T, s *running, c *server.Conn, nc net.Conn) // nil: HandshakeTimeout passes
		want error
	}{
		"the peer":    {func(_ *testing.T, _ *running, _ *server.Conn, nc net.Conn) { hangUp(nc) }, server.ErrHandshake},
		"Abort":       {func(_ *testing.T, _ *running, c *server.Conn, _ net.Conn) { c.Abort() }, server.ErrAborted},
		"its time":    {nil, server.ErrHandshake},
		"server's":    {func(t *testing.T, s *running, _ *server.Conn, _ net.Conn) { testkit.Must(t, s.Close()) }, server.ErrServerClosed},
		"no hello":    {func(t *testing.T, _ *running, _ *server.Conn, nc net.Conn) { send(t, nc, "GET / HTTP/1.1\r\n") }, server.ErrHandshake},
		"half":        {func(t *testing.T, _ *running, _ *server.Conn, nc net.Conn) { send(t, nc, "\x16\x03\x01"); hangUp(nc) }, server.ErrHandshake},
		"bad version": {func(t *testing.T, _ *running, _ *server.Conn, nc net.Conn) { handshakeWith(nc, tls.VersionTLS10) }, server.ErrHandshake},
	} {
		t.Run(name, func(t *testing.T) {
			plainRigs(t, func(t *testing.T, r rig) {
				var closed atomic.Bool
				p := newProbe(calls{data: echo, close: func(*server.Conn, error) { closed.Store(true) }})
				s, clock := startWithClock(t, r, &server.Server{Handler: p, HandshakeTimeout: limit})
				c, nc := p.connect(t, s)
				done, written := make(chan error, 2), make(chan error, 2)
				testkit.Must(t, c.StartTLS(serverTLS(), &server.StartTLSConfig{Done: func(_ *server.Conn, err error) {
					if closed.Load() {
						t.Error("Done was called after Close")
					}
					done <- err
				}}))
				testkit.Must(t, c.WriteNotify([]byte("encrypted"), func(err error) { written <- err }))
				onLoop(t, c, func() {})
				if row.end != nil {
					row.end(t, s, c, nc)
				} else {
					passTime(t, c, clock, limit, "Done", func() bool { return len(done) > 0 })
				}
				err := testkit.Await(t, done, "Done")
				testkit.CheckErr(t, "Done", err, row.want)
				testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), row.want)
				testkit.CheckErr(t, "the write", testkit.Await(t, written, "the write's outcome"), row.want)
				if len(done) > 0 || len(written) > 0 {
					t.Error("an outcome was reported twice")
				}
				testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
			})
		})
	}
}

// handshakeWith does a client's handshake with one version, and ignores its result.
func handshakeWith(nc net.Conn, version uint16) {
	config := clientTLS()
	config.MinVersion, config.MaxVersion = version, version
	_ = tls.Client(nc, config).Handshake()
}

// If output waits, it is sent encrypted first.
func TestCloseEndsAStartTLSThatHasNothingToSend(t *testing.T) {
	plainRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p})
		for _, waits := range []bool{false, true} {
			c, nc := p.connect(t, s)
			done := make(chan error, 1)
			_, err := c.WriteString("ready\n")
			testkit.Must(t, err)
			testkit.Must(t, c.StartTLS(serverTLS(), &server.StartTLSConfig{Done: func(_ *server.Conn, err error) { done <- err }}))
			if waits {
				_, err = c.WriteString("encrypted")
				testkit.Must(t, err)
			}
			testkit.Must(t, c.Close())
			expect(t, nc, "ready\n")
			if waits {
				tc := tls.Client(nc, clientTLS())
				expect(t, tc, "encrypted")
				expectEOF(t, tc)
				testkit.Must(t, testkit.Await(t, done, "Done"))
			} else {
				expectEOF(t, nc)
				testkit.CheckErr(t, "Done", testkit.Await(t, done, "Done"), server.ErrClosed)
			}
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), nil)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// Many at once wait for MaxHandshakes.
func TestStartTLSTakesAClientHelloByteByByte(t *testing.T) {
	plainRigs(t, func(t *testing.T, r rig) {
		h := newStarter()
		s := start(t, r, &server.Server{Handler: h, MaxHandshakes: 1})
		const clients = 8
		ended := make(chan error, clients)
		for range clients {
			nc := s.dial(t)
			send(t, nc, "STARTTLS\n")
			expect(t, nc, "ready\n")
			go func() {
				tc := tls.Client(slow{nc}, clientTLS())
				_, err := io.WriteString(tc, "hello\n")
				for sc := bufio.NewScanner(tc); err == nil && sc.Scan() && sc.Text() != "hello"; {
				}
				ended <- err
			}()
		}
		for range clients {
			testkit.Must(t, testkit.Await(t, ended, "a client's end"))
			testkit.Must(t, testkit.Await(t, h.ended, "Done"))
		}
	})
}

// slow is a net.Conn that sends each byte by itself.
type slow struct{ net.Conn }

func (s slow) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := s.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// A connection whose ClientHello has not arrived ends at once, and a running handshake is completed.
func TestShutdownCompletesARunningStartTLS(t *testing.T) {
	plainRigs(t, func(t *testing.T, r rig) {
		entered, gate := make(chan struct{}, 10), make(chan struct{})
		config := serverTLS()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			entered <- struct{}{}
			<-gate
			return nil, nil
		}
		done := make(chan error, 2)
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.WriteString("ready\n")
			return len(p), errors.Join(err, c.StartTLS(config, &server.StartTLSConfig{Done: func(_ *server.Conn, err error) { done <- err }}))
		}})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1, IdleTimeout: -1})
		_, silent := p.connect(t, s)
		_, upgraded := p.connect(t, s)
		for _, nc := range []net.Conn{silent, upgraded} {
			send(t, nc, "STARTTLS\n")
			expect(t, nc, "ready\n")
		}
		tc, handshaken := tls.Client(upgraded, clientTLS()), make(chan error, 1)
		go func() { handshaken <- tc.Handshake() }()
		testkit.Await(t, entered, "the handshake")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.shutdown(t)
		}()
		expectEOF(t, silent)
		testkit.CheckErr(t, "Done", testkit.Await(t, done, "Done"), server.ErrServerClosed)
		close(gate)
		testkit.Must(t, testkit.Await(t, handshaken, "the handshake's end"))
		testkit.Must(t, testkit.Await(t, done, "Done"))
		expectEOF(t, tc)
		testkit.Await(t, ended, "Shutdown's end")
		s.drained(t)
	})
}
