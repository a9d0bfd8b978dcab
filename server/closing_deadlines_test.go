package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The new deadline may be shorter or longer than the old one.
func TestSetTimeoutsTakesEffectWhileClosing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, IdleTimeout: -1, CloseTimeout: -1})
		c, nc := p.connect(t, s)
		c.Close()
		expectEOF(t, nc) // the server waits for the client's end now
		staysOpen(t, p, c, clock, limit/2)
		c.SetTimeouts(server.Timeouts{Close: limit})
		closesAfter(t, p, c, clock, limit/2, nil)

		c, nc = p.connect(t, s)
		c.SetTimeouts(server.Timeouts{Close: limit})
		c.Close()
		expectEOF(t, nc)
		staysOpen(t, p, c, clock, limit/2)
		c.SetTimeouts(server.Timeouts{Close: 2 * limit})
		closesAfter(t, p, c, clock, 3*limit/2, nil)
	})
}

// readSlowly reads the output of c in pieces, and advances the clock before each. It returns the number of bytes.
func readSlowly(t testing.TB, c *server.Conn, nc net.Conn, piece int, clock *testkit.Clock, pause time.Duration) (total int, err error) {
	t.Helper()
	buf := make([]byte, piece)
	for {
		clock.Advance(pause)
		twoTurns(t, c)
		n, err := io.ReadFull(nc, buf)
		if total += n; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// The transfer takes several times as long as CloseTimeout.
func TestCloseTimeoutDoesNotEndATransferThatProgresses(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, CloseTimeout: limit, MaxOutput: 16 << 20, HighWater: 16 << 20, Socket: tight()})
		c, nc := p.connect(t, s)
		transfersSlowly(t, "Close", c, nc, clock, func(c *server.Conn) { c.Close() })
		hangUp(nc)
		wantClosed(t, p, nil)
		c, nc = p.connect(t, s)
		done := make(chan error, 1)
		transfersSlowly(t, "Shutdown", c, nc, clock, func(*server.Conn) { go func() { done <- s.Shutdown(context.Background()) }() })
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		wantClosed(t, p, server.ErrServerClosed)
	})
}

// transfersSlowly makes a client take eight times the limit to read the output that c is given before end is called.
func transfersSlowly(t *testing.T, name string, c *server.Conn, nc net.Conn, clock *testkit.Clock, end func(c *server.Conn)) {
	t.Helper()
	const size = 4 << 20
	testkit.Must(t, raw(nc).(interface{ SetReadBuffer(int) error }).SetReadBuffer(64<<10)) // or the kernel would take output seldom
	_, err := c.Write(make([]byte, size))
	testkit.Must(t, err)
	end(c)
	if n, err := readSlowly(t, c, nc, 64<<10, clock, limit/8); n != size || err != nil {
		t.Errorf("%s: the client has read %d of %d bytes, %v", name, n, size, err)
	}
}

// The write side is closed long before the client has read all, and input of the client meanwhile does not lead to a reset.
func TestCloseTimeoutDoesNotEndATransferThatTheKernelHas(t *testing.T) {
	const size = 300_000
	p := newProbe(calls{})
	s, clock := startWithClock(t, rig{"tcp", false, 1}, &server.Server{Handler: p, CloseTimeout: limit, Socket: server.SocketOptions{WriteBuffer: 2 * size}})
	small := net.Dialer{Timeout: testkit.Patience, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	nc, err := small.Dial("tcp", s.addr.String())
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(2*testkit.Patience)))
	c := testkit.Await(t, p.opened, "Open")
	_, err = c.Write(make([]byte, size))
	testkit.Must(t, err)
	testkit.Until(t, "the kernel to have all", func() bool { return c.Stats().BytesWritten == size })
	if n, err := sock.Unsent(c.FD()); err != nil || n < size/2 {
		t.Fatalf("the kernel has sent all but %d bytes at once, %v", n, err)
	}
	c.Close()
	pieces := 0
	for total := 0; total < size; pieces++ {
		clock.Advance(limit / 16)
		twoTurns(t, c)
		n, err := nc.Read(make([]byte, 6000))
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", total, size, err)
		}
		total += n
		if _, err := nc.Write([]byte("x")); err != nil {
			t.Fatalf("the client could not send after %d of %d bytes: %v", total, size, err)
		}
	}
	expectEOF(t, nc)
	hangUp(nc)
	if reason := testkit.Await(t, p.closed, "Close"); reason != nil {
		t.Errorf("the reason is %v", reason)
	}
}

// CloseTimeout applies, and not WriteTimeout, both to output that waits and to a request that waits to write its answer.
func TestShutdownWaitsCloseTimeoutForAClientThatDoesNotRead(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		answers := &server.Dispatcher{Framing: framing.Lines{}, Opened: p.Open, Closed: p.Close,
			Serve: func(w server.Reply, _ []byte) { _, _ = w.Write(make([]byte, 8<<20)) }} // fails in the end
		for name, h := range map[string]server.Handler{"output": p, "request": answers} {
			s, clock := startWithClock(t, r, &server.Server{Handler: h, CloseTimeout: limit, WriteTimeout: 1000 * limit, Socket: tight()})
			c, nc := p.connect(t, s)
			if name == "output" {
				testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), nil))
			} else {
				send(t, nc, "go\n")
			}
			testkit.Until(t, "output that waits", func() bool { return c.Stats().BytesWritten > 0 && c.Stats().BufferedBytes > 0 })
			done := make(chan error, 1)
			go func() { done <- s.Shutdown(context.Background()) }()
			testkit.Until(t, "the shutdown", func() bool { return server.IsDraining(c) })
			closesOnceStalled(t, p, c, clock, limit, server.ErrCloseTimeout)
			testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
			if clock.Now() >= 1000*limit {
				t.Errorf("%s: closed after %v", name, clock.Now())
			}
		}
	})
}

// Its answer is sent, however long it takes.
func TestCloseTimeoutDoesNotCountWhileARequestIsInProgress(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 4} {
			p := newProbe(calls{})
			release := make(chan struct{})
			d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Opened: p.Open, Closed: p.Close,
				Serve: func(w server.Reply, _ []byte) { <-release; _, _ = w.WriteString("done\n") }}
			s, clock := startWithClock(t, r, &server.Server{Handler: d, CloseTimeout: limit})
			c, nc := p.connect(t, s)
			send(t, nc, "work\n")
			testkit.Until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
			c.Close()
			staysOpen(t, p, c, clock, 3*limit)
			close(release)
			expect(t, nc, "done\n")
			expectEOF(t, nc)
			hangUp(nc)
			wantClosed(t, p, nil)
		}
	})
}

// The deadlines of a request that is not complete and of output that waits run. The connection is not idle.
func TestDeadlinesRunWhileConcurrentRequestsAreInProgress(t *testing.T) {
	for _, test := range []struct {
		name        string
		read, write time.Duration
		sends       string
		want        error
	}{
		{"read", limit, -1, "work\nhalf a request", server.ErrReadTimeout},
		{"write", -1, limit, "work\n", server.ErrWriteTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				p := newProbe(calls{})
				d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: 4, Opened: p.Open, Closed: p.Close,
					Serve: func(w server.Reply, _ []byte) { <-w.Context().Done() }}
				s, clock := startWithClock(t, r, &server.Server{Handler: d, IdleTimeout: limit / 2, ReadTimeout: test.read, WriteTimeout: test.write,
					Socket: tight(), MaxOutput: 64 << 20, HighWater: 32 << 20})
				c, nc := p.connect(t, s)
				send(t, nc, "work\n")
				testkit.Until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
				c.SetTimeouts(server.Timeouts{Idle: -1, Read: test.read, Write: test.write})
				testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), nil))
				before := c.Stats().BytesRead
				send(t, nc, test.sends)
				testkit.Until(t, "the input", func() bool { return c.Stats().BytesRead == before+uint64(len(test.sends)) })
				closesOnceStalled(t, p, c, clock, limit, test.want)
			})
		})
	}
}

// Each of them ends the close if CloseTimeout is longer.
func TestIdleAndWriteTimeoutRunWhileClosing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, CloseTimeout: -1, Socket: tight()})
		c, _ := p.connect(t, s)
		testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), nil))
		c.SetTimeouts(server.Timeouts{Write: limit})
		c.Close()
		closesOnceStalled(t, p, c, clock, limit, server.ErrWriteTimeout)
		c, nc := p.connect(t, s)
		c.Close()
		expectEOF(t, nc)
		c.SetTimeouts(server.Timeouts{Idle: limit})
		closesAfter(t, p, c, clock, limit, nil)
	})
}

// A request that does not end in time ends its connection although output waits for the peer.
func TestADeadlineRunsWhateverTheOutputDoes(t *testing.T) {
	p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
		if string(p) == "much\n" {
			_, err := c.Write(make([]byte, 900<<10))
			return len(p), err
		}
		return 0, nil
	}})
	s, clock := startWithClock(t, rig{"tcp", false, 1}, &server.Server{Handler: p, ReadTimeout: limit, HighWater: 1 << 20, LowWater: 1, MaxOutput: 1 << 20, Socket: tight()})
	c, nc := p.connect(t, s)
	send(t, nc, "much\n")
	testkit.Until(t, "output that waits", func() bool { return s.Stats().BufferedBytes > 0 })
	const half = "half a request"
	send(t, nc, half)
	testkit.Until(t, "half a request", func() bool { return c.Stats().BytesRead == uint64(len("much\n"+half)) })
	closesAfter(t, p, c, clock, limit, server.ErrReadTimeout)
}
