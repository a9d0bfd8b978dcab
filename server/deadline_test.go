package server_test

import (
	"bufio"
	"io"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The time counts from the last byte in either direction.
func TestIdleConnectionsAreClosed(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, IdleTimeout: limit})
		c, nc := p.connect(t, s)
		for range 3 {
			staysOpen(t, p, c, clock, limit*3/4)
			_, err := c.WriteString("x")
			testkit.Must(t, err)
			expect(t, nc, "x")
		}
		closesAfter(t, p, c, clock, limit, server.ErrIdle)
		c, nc = p.connect(t, s)
		staysOpen(t, p, c, clock, limit*3/4)
		sendByte(t, c, nc)
		closesAfter(t, p, c, clock, limit, server.ErrIdle)
	})
}

// The request may take any time.
func TestARequestInProgressIsNotIdle(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		release := make(chan struct{})
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			<-release
			_, _ = w.WriteString("done\n")
		})
		d.Opened, d.Closed = p.Open, p.Close
		s, clock := startWithClock(t, r, &server.Server{Handler: d, IdleTimeout: limit, FirstRequestTimeout: limit, ReadTimeout: limit})
		c, nc := p.connect(t, s)
		send(t, nc, "work\n")
		testkit.Until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
		staysOpen(t, p, c, clock, 3*limit)
		close(release)
		expect(t, nc, "done\n")
		awaitNoRequest(t, c)
		closesAfter(t, p, c, clock, limit, server.ErrIdle)
	})
}

// untilNewline is a Data function that consumes input that ends with a newline, and waits for more otherwise.
func untilNewline(_ *server.Conn, p []byte) (int, error) {
	if p[len(p)-1] == '\n' {
		return len(p), nil
	}
	return 0, nil
}

// A client that sends single bytes is closed, too. After the first request the deadline has ended.
func TestFirstRequestTimeoutLimitsTheFirstRequest(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: untilNewline})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, IdleTimeout: -1, FirstRequestTimeout: limit})
		c, nc := p.connect(t, s)
		for range 3 {
			staysOpen(t, p, c, clock, limit/4)
			sendByte(t, c, nc)
		}
		closesAfter(t, p, c, clock, limit/4, server.ErrFirstRequest)

		c, nc = p.connect(t, s)
		send(t, nc, "request\n")
		testkit.Until(t, "the request", func() bool { return c.Stats().BytesRead == 8 })
		staysOpen(t, p, c, clock, 3*limit)
	})
}

// Bytes may arrive steadily. The rule holds on the loop and on workers, for the first request and for later ones.
func TestReadTimeoutLimitsARequestThatHasBegun(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		d := echoLines()
		d.Opened, d.Closed = p.Open, p.Close
		p.data = func(c *server.Conn, p []byte) (int, error) {
			for i, b := range p {
				if b == '\n' {
					return c.Write(p[:i+1])
				}
			}
			return 0, nil
		}
		for _, h := range []server.Handler{p, d} {
			s, clock := startWithClock(t, r, &server.Server{Handler: h, IdleTimeout: -1, ReadTimeout: limit})
			c, nc := p.connect(t, s)
			sendByte(t, c, nc)
			for range 3 {
				staysOpen(t, p, c, clock, limit/4)
				sendByte(t, c, nc)
			}
			closesAfter(t, p, c, clock, limit/4, server.ErrReadTimeout)

			c, nc = p.connect(t, s)
			send(t, nc, "one\ntwo\nthre") // the third comes with the others, and stays
			expect(t, nc, "one\ntwo\n")
			awaitNoRequest(t, c)
			closesAfter(t, p, c, clock, limit, server.ErrReadTimeout)

			c, nc = p.connect(t, s)
			send(t, nc, "one\n")
			expect(t, nc, "one\n")
			awaitNoRequest(t, c)
			staysOpen(t, p, c, clock, 2*limit)
			sendByte(t, c, nc) // not counted from the first
			closesAfter(t, p, c, clock, limit, server.ErrReadTimeout)
		}
	})
}

// The deadline does not count while the rest of a request waits in the kernel because reading is paused.
func TestReadTimeoutDoesNotCountWhileAPauseLeavesInputInTheKernel(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			if p[len(p)-1] == '\n' {
				return c.Write(p)
			}
			return 0, nil
		}})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, IdleTimeout: -1, ReadTimeout: limit})
		c, nc := p.connect(t, s)
		send(t, nc, "be")
		testkit.Until(t, "input", func() bool { return c.Stats().BytesRead == 2 })
		c.PauseRead(nil)
		onLoop(t, c, func() {})
		send(t, nc, "gin") // which makes the pause reach the kernel
		staysOpen(t, p, c, clock, 2*limit)
		c.ResumeRead(nil)
		testkit.Until(t, "the rest of the input", func() bool { return c.Stats().BytesRead == 5 })
		staysOpen(t, p, c, clock, limit/2)
		send(t, nc, "\n")
		expect(t, nc, "begin\n")
	})
}

// WriteTimeout closes it even if the connection is not idle otherwise.
func TestWriteTimeoutClosesAPeerThatTakesNothing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, WriteTimeout: limit, Socket: tight(), MaxOutput: 64 << 20, HighWater: 32 << 20})
		c, nc := p.connect(t, s)
		done := make(chan error, 1)
		testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), func(err error) { done <- err }))
		testkit.Until(t, "output that waits", func() bool { return c.Stats().BufferedBytes > 0 })
		staysOpen(t, p, c, clock, limit/2)
		sendByte(t, c, nc)
		closesOnceStalled(t, p, c, clock, limit/2, server.ErrWriteTimeout)
		testkit.CheckErr(t, "the outcome", testkit.Await(t, done, "the outcome"), server.ErrWriteTimeout)
	})
}

// CloseTimeout ends the wait for a peer that does not read, and for one that has read all and does not close.
func TestCloseTimeoutEndsWaiting(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, CloseTimeout: limit, MaxOutput: 16 << 20, HighWater: 16 << 20, Socket: tight()})
		c, _ := p.connect(t, s)
		_, err := c.Write(make([]byte, 8<<20))
		testkit.Must(t, err)
		c.Close()
		closesOnceStalled(t, p, c, clock, limit, server.ErrCloseTimeout)

		c, nc := p.connect(t, s)
		_, err = c.WriteString("bye")
		testkit.Must(t, err)
		c.Close()
		expect(t, nc, "bye")
		expectEOF(t, nc)
		closesAfter(t, p, c, clock, limit, nil)

		// The same for a peer that has closed its half and does not read.
		c, nc = p.connect(t, s)
		c.SetTimeouts(server.Timeouts{Close: 2 * limit})
		_, err = c.Write(make([]byte, 8<<20)) // below HighWater, so that the end is read
		testkit.Must(t, err)
		closeWrite(t, nc)
		testkit.Until(t, "the end of the peer's half", func() bool { return server.HasReadEnd(c) })
		closesOnceStalled(t, p, c, clock, 2*limit, server.ErrCloseTimeout)
	})
}

// Negative timeouts may be set for the whole server, for one connection, and instead of a server's deadline.
func TestNegativeTimeoutsAreNone(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
		none := server.Timeouts{Idle: -1, Read: -1, FirstRequest: -1, Write: -1, Close: -1}
		p.open = func(c *server.Conn) { c.SetTimeouts(none) }
		s, clock := startWithClock(t, r, &server.Server{Handler: p, IdleTimeout: limit, ReadTimeout: limit, FirstRequestTimeout: limit,
			WriteTimeout: limit, CloseTimeout: limit, Socket: tight()})
		c, nc := p.connect(t, s)
		send(t, nc, "half a request")
		_, err := c.Write(make([]byte, 200_000))
		testkit.Must(t, err)
		staysOpen(t, p, c, clock, 1000*time.Hour)
		c.Close()
		staysOpen(t, p, c, clock, 1000*time.Hour)
		n, err := io.Copy(io.Discard, nc)
		if n != 200_000 || err != nil {
			t.Errorf("%d bytes came, %v", n, err)
		}
		testkit.Must(t, nc.Close())
		wantClosed(t, p, nil)
	})
}

// A deadline that runs already keeps its beginning.
func TestSetTimeoutsCountsFromTheBeginning(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s, clock := startWithClock(t, r, &server.Server{Handler: p})
		c, _ := p.connect(t, s)
		staysOpen(t, p, c, clock, limit)
		c.SetTimeouts(server.Timeouts{Idle: limit / 2})
		wantClosed(t, p, server.ErrIdle)
		c, _ = p.connect(t, s)
		staysOpen(t, p, c, clock, limit/2)
		c.SetTimeouts(server.Timeouts{FirstRequest: limit})
		closesAfter(t, p, c, clock, limit/2, server.ErrFirstRequest)
	})
}
