package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// closedAfter wants the connection closed for this reason, and not before so long has passed.
func closedAfter(t testing.TB, p *probe, since time.Time, least time.Duration, want error) {
	t.Helper()
	reason := await(t, p.closed, "Close")
	if !errors.Is(reason, want) {
		t.Errorf("the reason is %v, want %v", reason, want)
	}
	if d := time.Since(since); d < least {
		t.Errorf("closed after %v, earlier than %v", d, least)
	}
}

const brief = 100 * time.Millisecond

// TestIdleConnectionsAreClosed, counted from the last byte in whichever direction.
func TestIdleConnectionsAreClosed(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, IdleTimeout: brief})
		since := time.Now()
		c, nc := p.connect(t, s)
		for range 3 { // whether it is in time depends on the machine; if it is, it counts
			time.Sleep(brief / 4)
			before := time.Now()
			if _, err := c.WriteString("x"); err == nil {
				if _, err := io.ReadFull(nc, make([]byte, 1)); err == nil {
					since = before
				}
			}
		}
		closedAfter(t, p, since, brief, server.ErrIdle)
		since = time.Now()
		c, nc = p.connect(t, s)
		time.Sleep(brief / 4)
		sent := time.Now()
		_, _ = io.WriteString(nc, "x") // which a slow machine may do too late
		closedAfter(t, p, since, brief, server.ErrIdle)
		if took := time.Since(sent); c.Stats().BytesRead == 1 && took < brief {
			t.Errorf("closed %v after a byte had come", took)
		}
	})
}

// TestARequestInWorkIsNotIdle however long it takes.
func TestARequestInWorkIsNotIdle(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		release := make(chan struct{})
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			<-release
			_, _ = w.WriteString("done\n")
		})
		d.Opened, d.Closed = p.Open, p.Close
		s := start(t, r, &server.Server{Handler: d})
		c, nc := p.connect(t, s)
		if _, err := io.WriteString(nc, "work\n"); err != nil {
			t.Fatal(err)
		}
		until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
		c.SetTimeouts(server.Timeouts{Idle: brief, FirstRequest: brief, Read: brief})
		time.Sleep(3 * brief)
		close(release)
		expect(t, nc, "done\n")
		closedAfter(t, p, time.Now().Add(-brief/2), 0, server.ErrIdle)
	})
}

// TestAFirstRequestIsDue even from a client that sends a byte now and then.
func TestAFirstRequestIsDue(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			if p[len(p)-1] == '\n' {
				return len(p), nil
			}
			return 0, nil
		}})
		s := start(t, r, &server.Server{Handler: p, FirstRequestTimeout: brief})
		since := time.Now()
		_, nc := p.connect(t, s)
		go drip(nc)
		closedAfter(t, p, since, brief, server.ErrFirstRequest)

		// Who has sent one may be silent for as long as he likes.
		s = start(t, r, &server.Server{Handler: p, FirstRequestTimeout: 5 * time.Second})
		c, nc := p.connect(t, s)
		send(t, nc, "request\n")
		until(t, "the request", func() bool { return c.Stats().BytesRead == 8 })
		c.SetTimeouts(server.Timeouts{FirstRequest: time.Millisecond})
		onLoop(t, c, func() {})
		time.Sleep(brief)
		if len(p.closed) > 0 {
			t.Errorf("closed after its first request: %v", <-p.closed)
		}
	})
}

// drip sends a byte every few milliseconds until that fails.
func drip(nc net.Conn) {
	for {
		if _, err := nc.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestARequestThatIsBegunMustEnd however steadily bytes come, on the loop and on workers, first request or later one.
func TestARequestThatIsBegunMustEnd(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
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
			s := start(t, r, &server.Server{Handler: h, ReadTimeout: brief})
			since := time.Now()
			_, nc := p.connect(t, s)
			go drip(nc)
			closedAfter(t, p, since, brief, server.ErrReadTimeout)

			_, nc = p.connect(t, s)
			since = time.Now()
			send(t, nc, "one\ntwo\nthre") // the third comes with the others, and stays
			expect(t, nc, "one\ntwo\n")
			closedAfter(t, p, since, brief, server.ErrReadTimeout)

			_, nc = p.connect(t, s)
			send(t, nc, "one\n")
			expect(t, nc, "one\n")
			time.Sleep(2 * brief)
			since = time.Now()
			send(t, nc, "t") // not counted from the first
			closedAfter(t, p, since, brief, server.ErrReadTimeout)
		}
	})
}

// TestAPauseIsNotThePeersDelay: a request whose rest waits in the kernel while reading rests is not late.
func TestAPauseIsNotThePeersDelay(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			if p[len(p)-1] == '\n' {
				return c.Write(p)
			}
			return 0, nil
		}})
		s := start(t, r, &server.Server{Handler: p, ReadTimeout: 2 * time.Second})
		c, nc := p.connect(t, s)
		send(t, nc, "be")
		until(t, "input", func() bool { return c.Stats().BytesRead == 2 })
		c.PauseRead(nil)
		onLoop(t, c, func() {})
		send(t, nc, "gin") // which makes the pause reach the kernel
		time.Sleep(2200 * time.Millisecond)
		c.ResumeRead(nil)
		time.Sleep(brief)
		send(t, nc, "\n")
		expect(t, nc, "begin\n")
	})
}

// TestAPeerThatTakesNothingIsCutOff by WriteTimeout, also when the connection is not idle otherwise.
func TestAPeerThatTakesNothingIsCutOff(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, WriteTimeout: brief, Socket: tight()})
		c, nc := p.connect(t, s)
		done := make(chan error, 1)
		since := time.Now()
		must(t, c.WriteNotify(make([]byte, 8<<20), func(err error) { done <- err }))
		go drip(nc)
		closedAfter(t, p, since, brief, server.ErrWriteTimeout)
		if err := await(t, done, "the outcome"); !errors.Is(err, server.ErrWriteTimeout) {
			t.Errorf("the outcome is %v", err)
		}
	})
}

// TestCloseTimeoutEndsWaiting for a peer that does not read, and for one that has read all and does not close.
func TestCloseTimeoutEndsWaiting(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: brief, MaxOutput: 16 << 20, HighWater: 16 << 20, Socket: tight()})
		c, _ := p.connect(t, s)
		_, err := c.Write(make([]byte, 8<<20))
		must(t, err)
		since := time.Now()
		c.Close()
		closedAfter(t, p, since, brief, server.ErrCloseTimeout)

		c, nc := p.connect(t, s)
		_, err = c.WriteString("bye")
		must(t, err)
		since = time.Now()
		c.Close()
		expect(t, nc, "bye")
		expectEOF(t, nc)
		if reason := await(t, p.closed, "Close"); reason != nil || time.Since(since) < brief {
			t.Errorf("closed after %v with %v, want nil after %v", time.Since(since), reason, brief)
		}

		// A peer that has closed its half and does not read is no better.
		c, nc = p.connect(t, s)
		c.SetTimeouts(server.Timeouts{Close: 2 * brief})
		_, err = c.Write(make([]byte, 8<<20)) // below HighWater, so that the end is read
		must(t, err)
		closeWrite(t, nc)
		closedAfter(t, p, time.Now().Add(-brief), 0, server.ErrCloseTimeout)
	})
}

// TestNegativeTimeoutsAreNone: for a whole server, for one connection, and against a server's own.
func TestNegativeTimeoutsAreNone(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return 0, nil }})
		none := server.Timeouts{Idle: -1, Read: -1, FirstRequest: -1, Write: -1, Close: -1}
		p.open = func(c *server.Conn) { c.SetTimeouts(none) }
		s := start(t, r, &server.Server{Handler: p, IdleTimeout: brief, ReadTimeout: brief, FirstRequestTimeout: brief,
			WriteTimeout: brief, CloseTimeout: brief, Socket: tight()})
		c, nc := p.connect(t, s)
		send(t, nc, "half a request")
		_, err := c.Write(make([]byte, 200_000))
		must(t, err)
		time.Sleep(3 * brief)
		c.Close()
		time.Sleep(3 * brief)
		if len(p.closed) > 0 {
			t.Fatalf("closed: %v", <-p.closed)
		}
		n, err := io.Copy(io.Discard, nc)
		if n != 200_000 || err != nil {
			t.Errorf("%d bytes came, %v", n, err)
		}
		must(t, nc.Close())
		if reason := await(t, p.closed, "Close"); reason != nil {
			t.Errorf("the reason is %v", reason)
		}
	})
}

// TestSetTimeoutsCountsFromTheBeginning of what runs already.
func TestSetTimeoutsCountsFromTheBeginning(t *testing.T) {
	eachAtOnce(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		since := time.Now()
		c, _ := p.connect(t, s)
		time.Sleep(brief)
		c.SetTimeouts(server.Timeouts{Idle: brief / 2})
		closedAfter(t, p, since, brief, server.ErrIdle)
		since = time.Now()
		c, _ = p.connect(t, s)
		c.SetTimeouts(server.Timeouts{FirstRequest: brief})
		closedAfter(t, p, since, brief, server.ErrFirstRequest)
	})
}
