package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// caller is a Handler of dialled connections that passes its calls on to the test.
type caller struct {
	opened chan *server.Conn
	lines  chan string
	closed chan error
}

func newCaller() *caller {
	return &caller{make(chan *server.Conn, 10), make(chan string, 10), make(chan error, 10)}
}

func (h *caller) Open(c *server.Conn) { h.opened <- c }

func (h *caller) Data(_ *server.Conn, p []byte) (int, error) {
	for i, b := range p {
		if b == '\n' {
			h.lines <- string(p[:i])
			return i + 1, nil
		}
	}
	return 0, nil
}

func (h *caller) Close(_ *server.Conn, reason error) { h.closed <- reason }

// failed checks that Close was called once, with a reason that matches the targets, and Open was not.
func (h *caller) failed(t *testing.T, targets ...error) {
	t.Helper()
	reason := testkit.Await(t, h.closed, "Close")
	if reason == nil {
		t.Error("Close was called without an error")
	}
	if len(targets) > 0 {
		testkit.CheckErr(t, "Close", reason, targets...)
	}
	h.untouched(t)
}

// untouched checks that no further method was called.
func (h *caller) untouched(t *testing.T) {
	t.Helper()
	if len(h.opened)+len(h.closed) > 0 {
		t.Errorf("Open was called %d times and Close %d times more than they should be", len(h.opened), len(h.closed))
	}
}

// dialConfig makes a client of the rig.
func dialConfig(r rig, h server.Handler) *server.DialConfig {
	o := &server.DialConfig{Handler: h, Value: "mine"}
	if r.tls {
		o.TLS = clientTLS()
	}
	return o
}

// Output that is written before Open is sent first, in order.
func TestOutputWrittenBeforeADialHasEndedIsSentFirst(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		for range 10 {
			h := newCaller()
			c, err := s.Dial(context.Background(), s.addr.Network(), s.addr.String(), dialConfig(r, h))
			testkit.Must(t, err)
			for _, line := range []string{"one\n", "two\n"} {
				_, err = c.WriteString(line)
				testkit.Must(t, err)
			}
			if got := testkit.Await(t, h.opened, "Open"); got != c || c.Value() != "mine" || c.ID() == (server.ConnID{}) || s.Conn(c.ID()) != c {
				t.Errorf("Open has %v, with %v and the name %v", got, c.Value(), c.ID())
			}
			_, err = c.WriteString("three\n")
			testkit.Must(t, err)
			for _, want := range []string{"one", "two", "three"} {
				if got := testkit.Await(t, h.lines, "the answer"); got != want {
					t.Errorf("the answer is %q, want %q", got, want)
				}
			}
			if addr := c.RemoteAddr(); addr.Network() != s.addr.Network() || r.network == "tcp" && addr.String() != s.addr.String() {
				t.Errorf("the peer is %s %s, want %s %s", addr.Network(), addr, s.addr.Network(), s.addr)
			}
			c.Close()
			if reason := testkit.Await(t, h.closed, "Close"); reason != nil {
				t.Errorf("Close was called with %v", reason)
			}
			h.untouched(t)
		}
		s.shutdown(t)
		if st := s.Stats(); st.Opened != 20 || st.Closed != 20 || st.BufferedBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Close reports it once.
func TestADialThatFailsIsReported(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		gone, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		testkit.Must(t, gone.Close())
		_, port, err := net.SplitHostPort(gone.Addr().String())
		testkit.Must(t, err)
		for _, row := range []struct {
			network, address string
			want             error
		}{
			{"tcp", gone.Addr().String(), syscall.ECONNREFUSED},
			{"tcp", "localhost:" + port, syscall.ECONNREFUSED}, // all its addresses
			{"unix", t.TempDir() + "/none", syscall.ENOENT},
			{"tcp", "no-such-name.invalid:80", nil},
			{"tcp", "127.0.0.1:no-such-service", nil},
		} {
			h := newCaller()
			c, err := s.Dial(context.Background(), row.network, row.address, dialConfig(r, h))
			testkit.Must(t, err)
			done := make(chan error, 1)
			if err := c.WriteNotify([]byte("hello"), func(err error) { done <- err }); err != nil {
				testkit.CheckErr(t, "a write that came too late", err, server.ErrClosed)
				done <- err
			}
			if row.want != nil {
				h.failed(t, row.want)
			} else {
				h.failed(t)
			}
			testkit.CheckErr(t, "the write", testkit.Await(t, done, "the write's outcome"), server.ErrClosed)
		}
		for _, row := range [][2]string{{"udp", "127.0.0.1:1"}, {"tcp4", "[::1]:1"}, {"tcp6", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}} {
			_, err := s.Dial(context.Background(), row[0], row[1], nil)
			testkit.CheckErr(t, "Dial "+row[0]+" "+row[1], err, server.ErrInvalid)
		}
		s.shutdown(t)
		_, err = s.Dial(context.Background(), "tcp", gone.Addr().String(), nil)
		testkit.CheckErr(t, "Dial", err, server.ErrServerClosed)
		if st := s.Stats(); st.OpenConns != 0 || st.BufferedBytes != 0 || st.Opened != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// The name is localhost, with a listener on only one of its addresses.
func TestOfSeveralAddressesOneIsTriedAfterTheOther(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		for _, host := range []string{"127.0.0.1", "[::1]"} {
			ln, err := s.Listen(context.Background(), "tcp", host+":0", nil)
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				continue // a machine without IPv6
			}
			testkit.Must(t, err)
			_, port, err := net.SplitHostPort(ln.Addr().String())
			testkit.Must(t, err)
			addrs, err := net.LookupHost("localhost")
			testkit.Must(t, err)
			reachable := false
			for _, a := range addrs {
				reachable = reachable || net.JoinHostPort(a, port) == ln.Addr().String()
			}
			h := newCaller()
			c, err := s.Dial(context.Background(), "tcp", "localhost:"+port, dialConfig(r, h))
			testkit.Must(t, err)
			if !reachable {
				h.failed(t, syscall.ECONNREFUSED)
				continue
			}
			testkit.Await(t, h.opened, "Open")
			c.Abort()
			testkit.CheckErr(t, "Close", testkit.Await(t, h.closed, "Close"), server.ErrAborted)
			h.untouched(t)
		}
	})
}

// unresponsive returns an address of this machine that accepts no more connections: its listener's queue is full.
func unresponsive(t *testing.T) (address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	testkit.Must(t, err)
	unix.CloseOnExec(fd)
	t.Cleanup(func() { unix.Close(fd) })
	testkit.Must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := unix.Getsockname(fd)
	testkit.Must(t, err)
	listenFull(t, fd, sa)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*unix.SockaddrInet4).Port))
}

// A dial that is aborted ends, too, and so does one during a shutdown.
func TestADialThatTakesTooLongEnds(t *testing.T) {
	address := unresponsive(t)
	each(t, func(t *testing.T, r rig) {
		s, clock := startWithClock(t, r, &server.Server{Handler: echoLines()})
		h := newCaller()
		o := dialConfig(r, h)
		o.Timeout = limit
		c, err := s.Dial(context.Background(), "tcp", address, o)
		testkit.Must(t, err)
		twoTurns(t, c)
		clock.Advance(limit)
		h.failed(t, server.ErrDialTimeout)

		h = newCaller()
		c, err = s.Dial(context.Background(), "tcp", address, dialConfig(r, h))
		testkit.Must(t, err)
		c.Abort()
		h.failed(t, server.ErrAborted)

		h = newCaller()
		c, err = s.Dial(context.Background(), "tcp", address, dialConfig(r, h))
		testkit.Must(t, err)
		c.Close() // there is no peer to flush to
		reason := testkit.Await(t, h.closed, "Close")
		if reason != nil {
			t.Errorf("Close was called with %v", reason)
		}
		h.untouched(t)

		h = newCaller()
		_, err = s.Dial(context.Background(), "tcp", address, dialConfig(r, h))
		testkit.Must(t, err)
		s.shutdown(t)
		h.failed(t, server.ErrServerClosed)
	})
}

// The handshake fails, or does not end in time.
func TestATLSDialToAServerWithoutTLSFails(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
	plain, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: calls{open: func(c *server.Conn) { _, _ = c.WriteString("220 hello, who are you?\r\n") }}})
	testkit.Must(t, err)
	h := newCaller()
	_, err = s.Dial(context.Background(), "tcp", plain.Addr().String(), dialConfig(rig{tls: true}, h))
	testkit.Must(t, err)
	h.failed(t, server.ErrHandshake)

	silent, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: calls{}})
	testkit.Must(t, err)
	h = newCaller()
	o := dialConfig(rig{tls: true}, h)
	o.Timeout = 20 * time.Millisecond
	_, err = s.Dial(context.Background(), "tcp", silent.Addr().String(), o)
	testkit.Must(t, err)
	h.failed(t)
}

// A tunnel of two connections then needs no lock.
func TestNearPutsADialOnTheSameLoop(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		near := newCaller()
		first, err := s.Dial(context.Background(), s.addr.Network(), s.addr.String(), dialConfig(r, near))
		testkit.Must(t, err)
		for range 2 * r.loops {
			o := dialConfig(r, near)
			o.Near = first
			c, err := s.Dial(context.Background(), s.addr.Network(), s.addr.String(), o)
			testkit.Must(t, err)
			if c.Loop() != first.Loop() {
				t.Error("the connection is on another loop")
			}
		}
		for range 1 + 2*r.loops {
			testkit.Await(t, near.opened, "Open")
		}
	})
}

// Each side's bytes are forwarded at once, also those that come before the other side is connected, and so is each side's end.
func TestATunnelForwardsEachByteAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var loose atomic.Int32
		back := start(t, r, &server.Server{Handler: echoLines()})
		forward := func(other func(*server.Conn) *server.Conn) calls {
			return calls{
				data: func(c *server.Conn, p []byte) (int, error) { return other(c).Write(p) },
				close: func(c *server.Conn, _ error) {
					loose.Add(-1)
					other(c).Close()
				},
			}
		}
		peer := func(c *server.Conn) *server.Conn { return c.Value().(*server.Conn) }
		front := forward(peer)
		front.open = func(c *server.Conn) {
			loose.Add(2)
			o := dialConfig(r, forward(peer))
			o.Near, o.Value = c, c
			upstream, err := c.Server().Dial(context.Background(), back.addr.Network(), back.addr.String(), o)
			testkit.Must(t, err)
			c.SetValue(upstream)
		}
		s := start(t, r, &server.Server{Handler: front})
		for range 10 {
			nc := s.dial(t)
			send(t, nc, "at once\n")
			expect(t, nc, "at once\n")
			testkit.Must(t, pipelined(nc, "more", 100))
			closeWrite(t, nc)
			_, _ = io.Copy(io.Discard, nc)
			hangUp(nc)
		}
		testkit.Until(t, "the tunnels' end", func() bool { return loose.Load() == 0 })
	})
}

// The call itself fails.
func TestDialAboveMaxConnsIsRefused(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := &server.Server{Handler: calls{}, MaxConns: 1, NumLoops: r.loops, Logger: slog.New(slog.DiscardHandler)}
		testkit.Must(t, s.Start())
		defer s.Close()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		defer ln.Close()
		_, err = s.Dial(context.Background(), "tcp", ln.Addr().String(), nil)
		testkit.Must(t, err)
		_, err = s.Dial(context.Background(), "tcp", ln.Addr().String(), nil)
		testkit.CheckErr(t, "Dial", err, server.ErrOverload)
	})
}

// The time does not count from the last turn of the loop.
func TestADialsTimeCountsFromItsCall(t *testing.T) {
	s, clock := startWithClock(t, rigs()[0], &server.Server{Handler: echoLines()})
	testkit.Must(t, pipelined(s.dial(t), "awake", 1))
	address := unresponsive(t)
	clock.Advance(limit) // while the loop sleeps
	h := newCaller()
	c, err := s.Dial(context.Background(), "tcp", address, &server.DialConfig{Handler: h, Timeout: limit})
	testkit.Must(t, err)
	twoTurns(t, c)
	clock.Advance(limit - 1)
	twoTurns(t, c)
	if len(h.closed) > 0 {
		t.Fatalf("the dial ended before its time: %v", <-h.closed)
	}
	clock.Advance(1)
	h.failed(t, server.ErrDialTimeout)
}

// resetting makes the peer reset a connection after it is established and before the server handles it.
type resetting struct {
	sock.Kernel
	peer net.Listener
}

func (r *resetting) SockError(fd int) error {
	err := r.Kernel.SockError(fd)
	if err == nil {
		err = errors.Join(r.reset(), awaitReset(fd))
	}
	return err
}

func (r *resetting) reset() error {
	nc, err := r.peer.Accept()
	if err != nil {
		return err
	}
	return errors.Join(nc.(*net.TCPConn).SetLinger(0), nc.Close())
}

// awaitReset waits until fd was reset.
func awaitReset(fd int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(testkit.Patience.Milliseconds()))
	return err
}

// Its peer is gone when the server reads the peer's address.
func TestADialledConnectionThatIsResetAtOnceOpensAndIsReset(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer peer.Close()
	srv := &server.Server{Handler: echoLines()}
	srv.SetCalls(&resetting{peer: peer})
	s := start(t, rig{"tcp", false, 1}, srv)
	h := newCaller()
	_, err = s.Dial(context.Background(), "tcp", peer.Addr().String(), &server.DialConfig{Handler: h})
	testkit.Must(t, err)
	c := testkit.Await(t, h.opened, "Open")
	if got := c.RemoteAddr().String(); got != peer.Addr().String() {
		t.Errorf("the peer is %s, want %s", got, peer.Addr())
	}
	if reason := testkit.Await(t, h.closed, "Close"); !errors.Is(reason, syscall.ECONNRESET) {
		t.Errorf("Close was called with %v", reason)
	}
}
