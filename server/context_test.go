package server_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// unanswered is a resolver whose name server never answers. asked gets a value for each question.
func unanswered(asked chan<- string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		select {
		case asked <- address:
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
}

// A context that has ended makes every call that takes one fail with its cause, and nothing is left.
func TestAnEndedContextIsRefused(t *testing.T) {
	mine := errors.New("mine")
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}, PacketHandler: func(*server.PacketConn, []byte, netip.AddrPort) {}})
	for name, call := range map[string]func(ctx context.Context) error{
		"Listen":       func(ctx context.Context) error { _, err := s.Listen(ctx, "tcp", "127.0.0.1:0", nil); return err },
		"ListenPacket": func(ctx context.Context) error { _, err := s.ListenPacket(ctx, "udp", "127.0.0.1:0", nil); return err },
		"Dial":         func(ctx context.Context) error { _, err := s.Dial(ctx, "tcp", s.addr.String(), nil); return err },
		"Dial a name":  func(ctx context.Context) error { _, err := s.Dial(ctx, "tcp", "localhost:1", nil); return err },
	} {
		testkit.CheckErr(t, name, call(endedContext(mine)), mine)
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		testkit.CheckErr(t, name, call(late), context.DeadlineExceeded)
		cancel()
	}
	if n := len(s.Listeners()) + len(s.PacketConns()); n != 1 {
		t.Errorf("%d sockets are open, want 1", n)
	}
	if n := s.Stats().OpenConns; n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

// The end of Dial's context ends a connection whose name is being looked up, that connects, or whose TLS handshake is under way.
func TestTheEndOfDialsContextEndsTheDial(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer silent.Close()
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
	asked := make(chan string, 1)
	for name, row := range map[string]struct {
		address string
		cfg     server.DialConfig
		under   func(c *server.Conn)
	}{
		"lookup": {"name.example.:80", server.DialConfig{Resolver: unanswered(asked)}, func(*server.Conn) { testkit.Await(t, asked, "the question") }},
		"handshake": {silent.Addr().String(), server.DialConfig{TLS: clientTLS()}, func(*server.Conn) {
			nc, err := silent.Accept()
			testkit.Must(t, err)
			t.Cleanup(func() { nc.Close() })
		}},
		"at once": {silent.Addr().String(), server.DialConfig{TLS: clientTLS()}, func(*server.Conn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newProbe(calls{})
			row.cfg.Handler = h
			ctx, cancel := context.WithCancelCause(t.Context())
			c, err := s.Dial(ctx, "tcp", row.address, &row.cfg)
			testkit.Must(t, err)
			row.under(c)
			cancel(mine)
			testkit.CheckErr(t, "the reason", testkit.Await(t, h.closed, "Close"), server.ErrAborted, mine)

			if row.cfg.Resolver != nil { // one resolver lets the lookups of a name that overlap share their question, and then it goes on without them
				row.cfg.Resolver = unanswered(asked)
			}
			deadline, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer stop()
			_, err = s.Dial(deadline, "tcp", row.address, &row.cfg)
			if err == nil { // else the deadline has passed before the call
				err = testkit.Await(t, h.closed, "Close")
			}
			testkit.CheckErr(t, "the reason", err, server.ErrDialTimeout, context.DeadlineExceeded, os.ErrDeadlineExceeded)
			if len(h.opened) > 0 {
				t.Error("Open was called")
			}
		})
	}
}

// Once Open was called, the end of Dial's context has no effect.
func TestTheEndOfDialsContextDoesNotEndAnOpenConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		h := newProbe(calls{})
		ctx, cancel := context.WithCancel(t.Context())
		cfg := dialConfig(r, h)
		c, err := s.Dial(ctx, s.addr.Network(), s.addr.String(), cfg)
		testkit.Must(t, err)
		if testkit.Await(t, h.opened, "Open") != c {
			t.Error("Open of another connection")
		}
		cancel()
		read := make(chan string, 1)
		testkit.Must(t, c.SetHandler(calls{data: func(_ *server.Conn, p []byte) (int, error) { offer(read, string(p)); return len(p), nil }}))
		_, err = c.WriteString("x\n")
		testkit.Must(t, err)
		testkit.Await(t, read, "the answer")
	})
}

// A name that does not resolve ends the dial with the error of the resolver, and a name server that does not answer with the
// timeout.
func TestADialFailsWithTheResolversError(t *testing.T) {
	refused := errors.New("no name server")
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
	h := newProbe(calls{})
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}
	_, err := s.Dial(t.Context(), "tcp", "name.example.:80", &server.DialConfig{Handler: h, Resolver: none})
	testkit.Must(t, err)
	var dns *net.DNSError
	if reason := testkit.Await(t, h.closed, "Close"); !errors.As(reason, &dns) || dns.Name != "name.example." {
		t.Errorf("the reason is %v", reason)
	}
	_, err = s.Dial(t.Context(), "tcp", "name.example.:80", &server.DialConfig{Handler: h, Resolver: unanswered(nil), Timeout: 50 * time.Millisecond})
	testkit.Must(t, err)
	testkit.CheckErr(t, "the reason", testkit.Await(t, h.closed, "Close"), server.ErrDialTimeout)
}

// A configuration that the caller passes is copied and not written to.
func TestConfigurationsAreNotWrittenTo(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
	dial, listen, add, packet := &server.DialConfig{TLS: clientTLS()}, &server.ListenerConfig{}, &server.ConnConfig{},
		&server.PacketConfig{Handler: func(*server.PacketConn, []byte, netip.AddrPort) {}}
	dial.TLS.ServerName = ""
	_, err := s.Dial(t.Context(), "tcp", "localhost:1", dial)
	testkit.Must(t, err)
	_, err = s.Listen(t.Context(), "tcp", "127.0.0.1:0", listen)
	testkit.Must(t, err)
	nc, err := net.Dial("tcp", s.addr.String())
	testkit.Must(t, err)
	_, err = s.AddConn(nc, add)
	testkit.Must(t, err)
	_, err = s.ListenPacket(t.Context(), "udp", "127.0.0.1:0", packet)
	testkit.Must(t, err)
	if dial.TLS.ServerName != "" || dial.Timeout != 0 || dial.Resolver != nil || !reflect.ValueOf(*listen).IsZero() || *add != (server.ConnConfig{}) {
		t.Error("a configuration was written to")
	}
}
