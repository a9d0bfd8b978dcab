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
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// TestSetTimeoutsTakesEffectWhileClosing: shorter and longer than what ran before.
func TestSetTimeoutsTakesEffectWhileClosing(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1})
		since := time.Now()
		c, nc := p.connect(t, s)
		c.Close()
		expectEOF(t, nc) // the server waits for the client's end now
		c.SetTimeouts(server.Timeouts{Close: brief})
		closedAfter(t, p, since, brief, nil)

		c, nc = p.connect(t, s)
		c.SetTimeouts(server.Timeouts{Close: 2 * time.Second})
		since = time.Now()
		c.Close()
		expectEOF(t, nc)
		c.SetTimeouts(server.Timeouts{Close: 4 * time.Second})
		closedAfter(t, p, since, 4*time.Second, nil)
	})
}

// readSlowly reads all that comes, in pieces, with a rest before each, and returns how much it was.
func readSlowly(nc net.Conn, piece int, rest time.Duration) (total int, err error) {
	buf := make([]byte, piece)
	for {
		time.Sleep(rest) // the reader is slow; how slow does not matter
		n, err := io.ReadFull(nc, buf)
		if total += n; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// TestCloseTimeoutDoesNotEndATransferThatProgresses, though it takes several times as long.
func TestCloseTimeoutDoesNotEndATransferThatProgresses(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: time.Second, MaxOutput: 16 << 20, HighWater: 16 << 20, Socket: tight()})
		c, nc := p.connect(t, s)
		transfersSlowly(t, "Close", c, nc, func(c *server.Conn) { c.Close() })
		hangUp(nc)
		if reason := await(t, p.closed, "Close"); reason != nil {
			t.Errorf("Close: the reason is %v", reason)
		}
		c, nc = p.connect(t, s)
		done := make(chan error, 1)
		transfersSlowly(t, "Shutdown", c, nc, func(*server.Conn) { go func() { done <- s.Shutdown(context.Background()) }() })
		hangUp(nc)
		must(t, await(t, done, "Shutdown's end"))
		wantError(t, "Close", await(t, p.closed, "Close"), server.ErrServerClosed)
	})
}

// transfersSlowly has a client read for some three seconds what c is given before end is called.
func transfersSlowly(t *testing.T, name string, c *server.Conn, nc net.Conn, end func(c *server.Conn)) {
	t.Helper()
	const size = 4 << 20
	_, err := c.Write(make([]byte, size))
	must(t, err)
	end(c)
	if n, err := readSlowly(nc, 64<<10, 50*time.Millisecond); n != size || err != nil {
		t.Errorf("%s: the client has read %d of %d bytes, %v", name, n, size, err)
	}
}

// TestCloseTimeoutDoesNotEndATransferThatTheKernelHas: our half is closed long before the client has read all, and what the client sends
// meanwhile does not reset the rest.
func TestCloseTimeoutDoesNotEndATransferThatTheKernelHas(t *testing.T) {
	t.Parallel()
	const size = 300_000
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, CloseTimeout: time.Second, Socket: server.SocketOptions{WriteBuffer: 2 * size}})
	small := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	nc, err := small.Dial("tcp", s.addr.String())
	must(t, err)
	defer nc.Close()
	must(t, nc.SetDeadline(time.Now().Add(2*patience)))
	c := await(t, p.opened, "Open")
	_, err = c.Write(make([]byte, size))
	must(t, err)
	until(t, "the kernel to have all", func() bool { return c.Stats().BytesWritten == size })
	if n, err := sock.Unsent(c.FD()); err != nil || n < size/2 {
		t.Fatalf("the kernel has sent all but %d bytes at once, %v", n, err)
	}
	c.Close()
	pieces := 0
	for total := 0; total < size; pieces++ {
		time.Sleep(60 * time.Millisecond) // the reader is slow; how slow does not matter
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
	if reason := await(t, p.closed, "Close"); reason != nil {
		t.Errorf("the reason is %v", reason)
	}
}

// TestShutdownWaitsCloseTimeoutForAClientThatDoesNotRead, and not WriteTimeout: with output that waits, and with a request that waits to
// write its answer.
func TestShutdownWaitsCloseTimeoutForAClientThatDoesNotRead(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		answers := &server.Dispatcher{Framing: framing.Lines{}, Opened: p.Open, Closed: p.Close,
			Serve: func(w server.Reply, _ []byte) { _, _ = w.Write(make([]byte, 8<<20)) }} // fails in the end
		for name, h := range map[string]server.Handler{"output": p, "request": answers} {
			s := start(t, r, &server.Server{Handler: h, CloseTimeout: brief, Socket: tight()})
			c, nc := p.connect(t, s)
			if name == "output" {
				must(t, c.WriteNotify(make([]byte, 8<<20), nil))
			} else {
				send(t, nc, "go\n")
			}
			until(t, "output that waits", func() bool { return c.Stats().BytesWritten > 0 && c.Stats().BufferedBytes > 0 })
			since := time.Now()
			s.shutdown(t)
			closedAfter(t, p, since, brief, server.ErrCloseTimeout)
		}
	})
}

// TestCloseTimeoutDoesNotCountWhileARequestIsInWork: its answer is sent, however long it takes.
func TestCloseTimeoutDoesNotCountWhileARequestIsInWork(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 4} {
			p := newProbe(calls{})
			release := make(chan struct{})
			d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Opened: p.Open, Closed: p.Close,
				Serve: func(w server.Reply, _ []byte) { <-release; _, _ = w.WriteString("done\n") }}
			s := start(t, r, &server.Server{Handler: d, CloseTimeout: brief})
			c, nc := p.connect(t, s)
			send(t, nc, "work\n")
			until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
			c.Close()
			time.Sleep(3 * brief) // it has to be ended for nothing
			if len(p.closed) > 0 {
				t.Fatalf("closed: %v", <-p.closed)
			}
			close(release)
			expect(t, nc, "done\n")
			expectEOF(t, nc)
			hangUp(nc)
			if reason := await(t, p.closed, "Close"); reason != nil {
				t.Errorf("the reason is %v", reason)
			}
		}
	})
}

// TestDeadlinesRunWhileConcurrentRequestsAreInWork: of the request that is not complete, and of output that waits; the connection is not
// idle.
func TestDeadlinesRunWhileConcurrentRequestsAreInWork(t *testing.T) {
	for _, test := range []struct {
		name        string
		read, write time.Duration
		sends       string
		want        error
	}{
		{"read", brief, -1, "work\nhalf a request", server.ErrReadTimeout},
		{"write", -1, brief, "work\n", server.ErrWriteTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachAtOnce(t, func(t *testing.T, r rig) {
				p := newProbe(calls{})
				d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: 4, Opened: p.Open, Closed: p.Close,
					Serve: func(w server.Reply, _ []byte) { <-w.Context().Done() }}
				s := start(t, r, &server.Server{Handler: d, IdleTimeout: brief / 2, Socket: tight(), MaxOutput: 64 << 20, HighWater: 32 << 20})
				c, nc := p.connect(t, s)
				c.SetTimeouts(server.Timeouts{Idle: -1})
				send(t, nc, "work\n")
				until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
				since := time.Now()
				c.SetTimeouts(server.Timeouts{Read: test.read, Write: test.write})
				must(t, c.WriteNotify(make([]byte, 8<<20), nil))
				send(t, nc, test.sends)
				closedAfter(t, p, since, brief, test.want)
			})
		})
	}
}

// TestIdleAndWriteTimeoutRunWhileClosing where CloseTimeout is longer.
func TestIdleAndWriteTimeoutRunWhileClosing(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1, Socket: tight()})
		c, _ := p.connect(t, s)
		must(t, c.WriteNotify(make([]byte, 8<<20), nil))
		since := time.Now()
		c.SetTimeouts(server.Timeouts{Write: brief})
		c.Close()
		closedAfter(t, p, since, brief, server.ErrWriteTimeout)
		c, nc := p.connect(t, s)
		since = time.Now()
		c.Close()
		expectEOF(t, nc)
		c.SetTimeouts(server.Timeouts{Idle: brief})
		closedAfter(t, p, since, brief, nil)
	})
}

// TestADeadlineRunsWhateverTheOutputDoes: a request that does not end in time ends its connection although output waits for the peer.
func TestADeadlineRunsWhateverTheOutputDoes(t *testing.T) {
	p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
		if string(p) == "much\n" {
			_, err := c.Write(make([]byte, 900<<10))
			return len(p), err
		}
		return 0, nil
	}})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, ReadTimeout: brief, HighWater: 1 << 20, LowWater: 1, MaxOutput: 1 << 20, Socket: tight()})
	_, nc := p.connect(t, s)
	send(t, nc, "much\n")
	until(t, "output that waits", func() bool { return s.Stats().BufferedBytes > 0 })
	send(t, nc, "half a request")
	wantError(t, "Close", await(t, p.closed, "Close"), server.ErrReadTimeout)
}
