package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// hidden is a listener without a SyscallConn method. fail, if not nil, is called before each Accept.
type hidden struct {
	net.Listener
	fail func() error
}

func (l hidden) Accept() (net.Conn, error) {
	if l.fail != nil {
		if err := l.fail(); err != nil {
			return nil, err
		}
	}
	return l.Listener.Accept()
}

// safeBuffer is a bytes.Buffer for any goroutine.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A client above MaxConns reads BusyText, or an alert of TLS, and is counted. Nothing is logged.
func TestAListenerWithoutADescriptorRefusesAsOthersDo(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		var log safeBuffer
		want := "busy\n"
		p := newProbe(calls{data: echo})
		srv := &server.Server{Handler: p, MaxConns: 1, BusyText: "busy\n", Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if withTLS {
			srv.TLS = serverTLS()
			want = "\x15\x03\x01\x00\x02\x02\x50"
		}
		s := start(t, rigs()[0], srv)
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		_, err = s.AddListener(hidden{Listener: inner}, nil)
		testkit.Must(t, err)
		behind := &running{s.Server, rig{"tcp", withTLS, 1}, inner.Addr()}
		first := behind.dial(t)
		send(t, first, "first")
		expect(t, first, "first")
		for range 5 {
			nc := behind.dialPlain(t)
			expect(t, nc, want)
			expectEOF(t, nc)
		}
		testkit.Until(t, "the count of refusals", func() bool { return s.Stats().Refused == 5 })
		send(t, first, "still served")
		expect(t, first, "still served")
		if st := s.Stats(); st.OpenConns != 1 || st.AcceptErrors != 0 || log.String() != "" {
			t.Errorf("%d connections, %d errors, and the log says %q", st.OpenConns, st.AcceptErrors, log.String())
		}
		testkit.Must(t, s.Close())
	}
}

// While a loop is blocked, no more than 64 clients wait for their refusal. The end of the server waits until it has closed their
// connections, whatever the program has posted to the loop before.
func TestRefusalsThatWaitForALoopAreBoundedAndEndWithTheServer(t *testing.T) {
	loops := programLoops(t, 1, event.DriverDefault)
	s := start(t, rig{"tcp", false, 0}, &server.Server{Handler: calls{data: echo}, MaxConns: 1, BusyText: "busy\n", UseLoops: loops})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	_, err = s.AddListener(hidden{Listener: inner}, nil)
	testkit.Must(t, err)
	behind := &running{s.Server, s.rig, inner.Addr()}
	all := []net.Conn{behind.dial(t)}
	testkit.Until(t, "a connection", func() bool { return s.Stats().Opened == 1 })
	release := make(chan struct{})
	testkit.Must(t, loops[0].Post(func() { <-release }))
	for range 60_000 { // more than are called in 50 turns
		testkit.Must(t, loops[0].Post(func() {}))
	}
	for range 70 {
		all = append(all, behind.dialPlain(t))
	}
	testkit.Until(t, "the refusals of those above the bound", func() bool { return s.Stats().Accepted == 71 && s.Stats().Refused == 6 })
	closed := make(chan uint64)
	go func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		closed <- s.Stats().Refused
	}()
	testkit.Until(t, "the end", func() bool { return errors.Is(s.Start(), server.ErrServerClosed) })
	close(release)
	testkit.WantEqual(t, "refusals before the end of Close", testkit.Await(t, closed, "Close"), 70)
	hangUp(all...)
}

// A temporary error is logged once, and Accept is called again; another error is Serve's result.
func TestATemporaryErrorOfAcceptDoesNotEndServe(t *testing.T) {
	for _, temporary := range []error{
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)},
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ECONNABORTED)},
		syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	} {
		var log safeBuffer
		s, clock := startWithClock(t, rigs()[0], &server.Server{Handler: echoLines(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		lasting := errors.New("the listener is broken")
		var calls atomic.Int32
		var broken atomic.Bool
		served := make(chan error, 1)
		go func() {
			served <- s.Serve(hidden{inner, func() error {
				switch {
				case calls.Add(1) <= 3:
					return temporary
				case broken.Load():
					return lasting
				}
				return nil
			}})
		}()
		testkit.Until(t, "the fourth call of Accept", func() bool {
			clock.Advance(time.Second)
			return calls.Load() > 3
		})
		behind := &running{s.Server, rig{"tcp", false, 1}, inner.Addr()}
		for i := range 2 {
			if err := pipelined(behind.dial(t), "hello", 3); err != nil {
				t.Fatalf("%v %d: %v: %s %+v", temporary, i, err, log.String(), s.Stats())
			}
		}
		broken.Store(true)
		if nc, err := net.Dial("tcp", inner.Addr().String()); err == nil { // for an Accept that is under way
			nc.Close()
		}
		testkit.CheckErr(t, "Serve", testkit.Await(t, served, "Serve's end"), lasting)
		if st := s.Stats(); st.AcceptErrors != 3 || st.Pauses != 3 {
			t.Errorf("%v: %d errors and %d pauses, want 3 and 3", temporary, st.AcceptErrors, st.Pauses)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%v: %d lines are logged, want 1: %s", temporary, n, log.String())
		}
		testkit.Must(t, s.Close())
	}
}

// A pause of Accept ends when the listener or the server is closed.
func TestAPauseOfAcceptEndsWithTheListener(t *testing.T) {
	for _, end := range []string{"listener", "server"} {
		s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		ln, err := s.AddListener(hidden{inner, func() error { return syscall.EMFILE }}, nil)
		testkit.Must(t, err)
		testkit.Until(t, "a pause", func() bool { return s.Stats().Pauses > 0 })
		if end == "listener" {
			testkit.Must(t, ln.Close())
			testkit.Must(t, ln.Wait())
		} else {
			s.shutdown(t)
		}
	}
}

// The listener still belongs to the caller, and the error says how to serve it.
func TestAListenerThatCannotBeServedIsRefusedAtOnce(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	packets, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
	testkit.Must(t, err)
	defer packets.Close()
	for _, row := range []struct {
		l    net.Listener
		want error
		text string
	}{
		{nil, server.ErrInvalid, "nil"},
		{tls.NewListener(tcp, serverTLS()), server.ErrUnsupported, "Server.TLS"},
		{packets, server.ErrUnsupported, "not a stream"},
	} {
		for _, serve := range []func() error{
			func() error { _, err := s.AddListener(row.l, nil); return err },
			func() error { return s.Serve(row.l) },
		} {
			err := serve()
			testkit.CheckErr(t, "AddListener", err, row.want)
			if err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("the error %q does not name %s", err, row.text)
			}
		}
	}
	testkit.Must(t, tcp.Close()) // fails if it is closed already
}

// The error names the type of the connection, or TLS.
func TestServeEndsWhereNoConnectionHasADescriptor(t *testing.T) {
	for text, wrap := range map[string]func(net.Conn) net.Conn{
		"Server.TLS":    func(nc net.Conn) net.Conn { return tls.Server(nc, serverTLS()) },
		"bareConn":      func(nc net.Conn) net.Conn { return bareConn{nc} },
		"no descriptor": func(nc net.Conn) net.Conn { return bareConn{nc} },
	} {
		s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		nc, err := net.Dial("tcp", inner.Addr().String())
		testkit.Must(t, err)
		defer nc.Close()
		err = s.Serve(wrapping{inner, wrap})
		testkit.CheckErr(t, "Serve", err, server.ErrUnsupported)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Serve: %v does not name %s", err, text)
		}
		testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
		if _, err := io.ReadAll(nc); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client: %v", err)
		}
	}
}

// bareConn hides all but the methods of net.Conn.
type bareConn struct{ net.Conn }

// wrapping is a listener that wraps the connections that it accepts.
type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrapping) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(nc), nil
}

// The error names the call that supports the network.
func TestANetworkOfTheOtherKindIsRefusedAndTheErrorNamesTheCall(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: calls{}})
	for network, call := range map[string]string{
		"udp": "ListenPacket", "udp4": "ListenPacket", "udp6": "ListenPacket", "tcp5": "tcp", "": "tcp", "unixpacket": "unix", "unixgram": "unix",
	} {
		_, err := s.Listen(context.Background(), network, "127.0.0.1:0", nil)
		testkit.CheckErr(t, "Listen "+network, err, server.ErrInvalid)
		if err == nil || !strings.Contains(err.Error(), call) {
			t.Errorf("Listen %s: %v does not name %s", network, err, call)
		}
	}
	for network, call := range map[string]string{"tcp": "Listen", "tcp4": "Listen", "tcp6": "Listen", "unix": "Listen", "udp5": "udp", "": "udp"} {
		_, err := s.ListenPacket(context.Background(), network, "127.0.0.1:0", &server.PacketConfig{Handler: echoPacket})
		testkit.CheckErr(t, "ListenPacket "+network, err, server.ErrInvalid)
		if err == nil || !strings.Contains(err.Error(), "use "+call) && !strings.Contains(err.Error(), call) {
			t.Errorf("ListenPacket %s: %v does not name %s", network, err, call)
		}
	}
}

// embedding is a listener that has the descriptor of the one that it embeds, and an Accept of its own.
type embedding struct {
	*net.TCPListener
	accepted chan net.Conn
}

func (l embedding) Accept() (net.Conn, error) {
	nc, err := l.TCPListener.Accept()
	if err == nil {
		l.accepted <- nc
	}
	return nc, err
}

// The Accept of a listener is called, also if the listener embeds one of package net, whose descriptor a loop could accept from.
func TestAcceptOfAListenerThatEmbedsAnotherIsCalled(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: calls{data: echo}})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	l := embedding{inner.(*net.TCPListener), make(chan net.Conn, 1)}
	ln, err := s.AddListener(l, nil)
	testkit.Must(t, err)
	nc := (&running{s.Server, s.rig, ln.Addr()}).dial(t)
	testkit.Await(t, l.accepted, "the call of Accept")
	send(t, nc, "hello")
	expect(t, nc, "hello")
}
