package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A probe is a calls that also reports each connection's beginning and end to the test.
type probe struct {
	calls
	opened chan *server.Conn
	closed chan error // the reasons
}

func newProbe(h calls) *probe {
	return &probe{h, make(chan *server.Conn, 1<<14), make(chan error, 1<<14)}
}

func (p *probe) Open(c *server.Conn) {
	p.calls.Open(c)
	offer(p.opened, c)
}

func (p *probe) Close(c *server.Conn, reason error) {
	p.calls.Close(c, reason)
	offer(p.closed, reason)
}

// offer sends v if the channel is not full: the loop must not wait.
func offer[T any](ch chan T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// An eofProbe is a probe that keeps the connection open at the peer's end.
type eofProbe struct {
	*probe
	eof func(c *server.Conn)
}

func (p eofProbe) EOF(c *server.Conn) { p.eof(c) }

// A markProbe is a probe with the methods of MarkHandler.
type markProbe struct {
	*probe
	high, low func(c *server.Conn)
}

func (p markProbe) HighWater(c *server.Conn) { p.high(c) }
func (p markProbe) LowWater(c *server.Conn)  { p.low(c) }

// connect makes one connection, and returns both its ends.
func (p *probe) connect(t testing.TB, s *running) (*server.Conn, net.Conn) {
	t.Helper()
	nc := s.dial(t)
	if tc, ok := nc.(*tls.Conn); ok {
		testkit.Must(t, tc.Handshake())
	}
	return testkit.Await(t, p.opened, "Open"), nc
}

// tight returns options for small buffers in the kernel, which little output fills.
func tight() server.SocketOptions {
	return server.SocketOptions{ReadBuffer: 64 << 10, WriteBuffer: 64 << 10}
}

// raw is the client's socket under TLS.
func raw(nc net.Conn) net.Conn {
	if tc, ok := nc.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return nc
}

// arrives waits until the server's socket has all that a client has sent, so that the next read of the server finds it, and the connection
// waits to be accepted. A write to a TCP connection returns before, while the kernel delivers its bytes; a write to a unix socket does not.
func arrives(t testing.TB, nc net.Conn) {
	t.Helper()
	tcp, ok := raw(nc).(*net.TCPConn)
	if !ok {
		return
	}
	rc, err := tcp.SyscallConn()
	testkit.Must(t, err)
	testkit.Until(t, "the arrival of what the client has sent", func() bool {
		var left int
		testkit.Must(t, errors.Join(rc.Control(func(fd uintptr) { left, err = sock.Unsent(int(fd)) }), err))
		return left == 0
	})
}

// reset makes the client's system reset the connection. A unix socket has no reset; there it is a close with unread input.
func reset(t testing.TB, nc net.Conn) {
	t.Helper()
	if tcp, ok := raw(nc).(*net.TCPConn); ok {
		testkit.Must(t, tcp.SetLinger(0))
	}
	testkit.Must(t, raw(nc).Close())
}

// isGone reports whether err is an error of a socket whose peer has closed or reset the connection.
func isGone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// fill writes to c until that is refused, and returns how many bytes were accepted.
func fill(t testing.TB, c *server.Conn, piece int) (accepted int) {
	t.Helper()
	p := make([]byte, piece)
	for {
		n, err := c.Write(p)
		if errors.Is(err, server.ErrFull) {
			if n != 0 {
				t.Errorf("Write accepted %d bytes and returned %v", n, err)
			}
			return accepted
		}
		if err != nil {
			t.Fatal(err)
		}
		accepted += n
	}
}

// onLoop runs fn on c's loop and waits for it.
func onLoop(t testing.TB, c *server.Conn, fn func()) {
	t.Helper()
	done := make(chan struct{})
	testkit.Must(t, c.Loop().Post(func() { fn(); close(done) }))
	testkit.Await(t, done, "a Post")
}

// outcomes collects the results of writes, each of which must be reported once, on its connection's loop.
type outcomes struct {
	mu       sync.Mutex
	reported map[string][]error
	abroad   int // reports on other goroutines than the loop's
}

func (o *outcomes) of(c *server.Conn, name string) func(error) {
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.reported == nil {
			o.reported = map[string][]error{}
		}
		o.reported[name] = append(o.reported[name], err)
		if !c.Loop().OnLoop() {
			o.abroad++
		}
	}
}

func (o *outcomes) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.reported)
}

// check fails the test unless there were exactly n outcomes, each reported once, on its loop. It returns the number of those without an error.
func (o *outcomes) check(t testing.TB, n int) (good int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.reported) != n {
		t.Errorf("%d writes have an outcome, want %d", len(o.reported), n)
	}
	if o.abroad > 0 {
		t.Errorf("%d outcomes were not reported on the connection's loop", o.abroad)
	}
	for name, errs := range o.reported {
		if len(errs) != 1 {
			t.Errorf("%s was reported %d times: %v", name, len(errs), errs)
		}
		if errs[0] == nil {
			good++
		}
	}
	return good
}

// isIdle fails the test if the loops turn while nothing is to be done. A loop that spins makes millions of turns a second.
func isIdle(t testing.TB, s *running) {
	t.Helper()
	turns := func() (n uint64) {
		for _, l := range s.Stats().Loops {
			n += l.Loop.Turns
		}
		return n
	}
	const allowed = 200
	before := turns()
	time.Sleep(100 * time.Millisecond)
	if n := turns() - before; n > allowed {
		t.Errorf("the loops made %d turns while there was nothing to do", n)
	}
}

// drained checks that a server that has ended holds no memory, connections or requests by its counters, and has closed its descriptors.
func (s *running) drained(t testing.TB) {
	t.Helper()
	if st := s.Stats(); st.BufferedBytes != 0 || st.Opened != st.Closed || st.OpenConns != 0 {
		t.Errorf("%d bytes are counted as buffered, %d connections of %d opened and %d closed; want 0, 0",
			st.BufferedBytes, st.OpenConns, st.Opened, st.Closed)
	}
}

func name(i, j int) string { return fmt.Sprintf("%d.%d", i, j) }

// noise returns n bytes without a repeated pattern.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

// brief is a short time in tests that wait for the system's clock.
const brief = 100 * time.Millisecond
