package server_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The client reads all output, in order, before the end.
func TestCloseDeliversToASlowReader(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		data := noise(10 << 20)
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1})
		c, nc := p.connect(t, s)
		_, err := c.Write(data)
		testkit.Must(t, err)
		c.Close()
		buf := make([]byte, 256<<10)
		var got []byte
		for {
			n, err := nc.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			testkit.Must(t, err)
			if len(got)%3 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if string(got) != string(data) {
			t.Fatalf("%d of %d bytes came", len(got), len(data))
		}
		testkit.Must(t, nc.Close())
		if reason := testkit.Await(t, p.closed, "Close"); reason != nil {
			t.Errorf("the reason is %v", reason)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// No reset destroys the output if the client continues to send: some bytes whenever it has read, so that it does not send too much for a
// connection that is being closed without a CloseTimeout.
func TestCloseReadsToThePeersEnd(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		data := noise(2 << 20)
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1})
		c, nc := p.connect(t, s)
		more, stop, stopped := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
		go func() {
			for junk := make([]byte, 10_000); ; {
				if _, err := nc.Write(junk); err != nil {
					stopped <- err
					return
				}
				select {
				case <-stop:
					stopped <- nc.(halfCloser).CloseWrite()
					return
				case <-more:
				}
			}
		}()
		testkit.Until(t, "input", func() bool { return c.Stats().BytesRead > 0 })
		_, err := c.Write(data)
		testkit.Must(t, err)
		c.Close()
		var got []byte
		for buf := make([]byte, 64<<10); err == nil; {
			var n int
			n, err = nc.Read(buf)
			got = append(got, buf[:n]...)
			select {
			case more <- struct{}{}:
			default:
			}
		}
		if err != io.EOF || string(got) != string(data) {
			t.Fatalf("%d of %d bytes came, %v", len(got), len(data), err)
		}
		close(stop)
		testkit.Must(t, testkit.Await(t, stopped, "the client's end"))
		if reason := testkit.Await(t, p.closed, "Close"); reason != nil {
			t.Errorf("the reason is %v", reason)
		}
	})
}

// Output that was not written fails.
func TestAbortResetsTheConnection(t *testing.T) {
	inAllRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		for _, before := range []func(c *server.Conn){
			func(*server.Conn) {},
			func(c *server.Conn) { fill(t, c, 10_000) },
			func(c *server.Conn) { fill(t, c, 10_000); c.Close() },
			func(c *server.Conn) { c.PauseRead(nil) },
		} {
			c, nc := p.connect(t, s)
			before(c)
			c.Abort()
			if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrAborted) {
				t.Errorf("the reason is %v", reason)
			}
			if _, err := io.Copy(io.Discard, raw(nc)); r.network == "tcp" && !isGone(err) {
				t.Errorf("the client reads to its end with %v, want a reset", err)
			}
		}
		testkit.Must(t, s.Close())
		s.drained(t)
	})
}

// Output that is not flushed fails.
func TestAbortAfterThePeersEndStillAborts(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		const much = 16 << 20 // more than the kernel buffers, and less than HighWater
		s := start(t, r, &server.Server{Handler: p, MaxOutput: 2 * much, HighWater: 2 * much, Socket: tight()})
		c, nc := p.connect(t, s)
		done := make(chan error, 1)
		testkit.Must(t, c.WriteNotify(make([]byte, much), func(err error) { done <- err }))
		closeWrite(t, nc)
		testkit.Until(t, "the closing", func() bool { _, err := c.Write(nil); return errors.Is(err, server.ErrClosed) })
		c.Abort()
		if err := testkit.Await(t, done, "the outcome"); !errors.Is(err, server.ErrAborted) {
			t.Errorf("the outcome is %v, want ErrAborted", err)
		}
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrAborted) {
			t.Errorf("the reason is %v, though not all was flushed", reason)
		}
	})
}

// The connection is read until the peer closes its half.
func TestCloseWriteContinuesReading(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		input := make(chan string, 100)
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			input <- string(p)
			return len(p), nil
		}})
		eof := make(chan struct{}, 2)
		for _, h := range []server.Handler{p, eofProbe{p, func(*server.Conn) { eof <- struct{}{} }}} {
			s := start(t, r, &server.Server{Handler: h})
			c, nc := p.connect(t, s)
			_, err := c.WriteString("last words")
			testkit.Must(t, err)
			testkit.Must(t, c.CloseWrite())
			if _, err := c.WriteString("more"); !errors.Is(err, server.ErrClosed) {
				t.Errorf("Write after CloseWrite: %v", err)
			}
			if err := c.CloseWrite(); !errors.Is(err, server.ErrClosed) {
				t.Errorf("a second CloseWrite: %v", err)
			}
			expect(t, nc, "last words")
			expectEOF(t, nc)
			send(t, nc, "still here")
			if got := testkit.Await(t, input, "input"); got != "still here" {
				t.Errorf("read %q", got)
			}
			closeWrite(t, nc)
			if reason := testkit.Await(t, p.closed, "Close"); reason != nil && reason != io.EOF {
				t.Errorf("the reason is %v", reason)
			}
			s.shutdown(t)
			s.drained(t)
		}
		if len(eof) != 1 {
			t.Errorf("EOF was called %d times, want once", len(eof))
		}
	})
}

// Input that was not consumed is discarded, too. The peer's end is not reported, and does not end the connection.
func TestCloseReadDiscardsFurtherInput(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		var heard atomic.Int32
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			heard.Add(1)
			return 0, nil
		}})
		s := start(t, r, &server.Server{Handler: eofProbe{p, func(*server.Conn) { t.Error("EOF was called") }}, ReadTimeout: 50 * time.Millisecond})
		c, nc := p.connect(t, s)
		c.SetTimeouts(server.Timeouts{Read: -1})
		send(t, nc, "half a mess")
		testkit.Until(t, "input", func() bool { return heard.Load() == 1 })
		testkit.Must(t, c.CloseRead())
		c.SetTimeouts(server.Timeouts{}) // nothing is begun any more that could end too late
		onLoop(t, c, func() {})
		for range 100 {
			send(t, nc, string(make([]byte, 10_000)))
		}
		closeWrite(t, nc)
		isIdle(t, s)
		_, err := c.WriteString("an answer")
		testkit.Must(t, err)
		expect(t, nc, "an answer")
		if n := heard.Load(); n != 1 {
			t.Errorf("Data was called %d times, want once, before CloseRead", n)
		}
		c.Close()
		expectEOF(t, nc)
		if reason := testkit.Await(t, p.closed, "Close"); reason != nil {
			t.Errorf("the reason is %v", reason)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// The halves may be closed in any order, and by any call.
func TestBothHalvesClosedIsTheEnd(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: eofProbe{p, func(*server.Conn) {}}})
		closeOurs := func(c *server.Conn, _ net.Conn) { testkit.Must(t, c.CloseWrite()) }
		closeTheirs := func(_ *server.Conn, nc net.Conn) { closeWrite(t, nc) }
		discardInput := func(c *server.Conn, _ net.Conn) { testkit.Must(t, c.CloseRead()) }
		for i, steps := range [][]func(*server.Conn, net.Conn){
			{closeOurs, closeTheirs}, {closeTheirs, closeOurs},
			{discardInput, closeOurs, closeTheirs}, {discardInput, closeTheirs, closeOurs}, {closeOurs, discardInput, closeTheirs},
			{closeOurs, closeTheirs, func(c *server.Conn, _ net.Conn) { c.Close() }},
		} {
			c, nc := p.connect(t, s)
			for _, step := range steps {
				step(c, nc)
				onLoop(t, c, func() {})
			}
			if reason := testkit.Await(t, p.closed, "Close"); reason != nil && reason != io.EOF {
				t.Errorf("case %d: the reason is %v", i, reason)
			}
			expectEOF(t, nc)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// A readReporter reports each read that has got something, when it has.
type readReporter struct {
	sock.Kernel
	reads chan struct{}
}

func (r *readReporter) Read(fd int, p []byte) (int, error) {
	n, err := r.Kernel.Read(fd, p)
	if n > 0 {
		r.reads <- struct{}{}
	}
	return n, err
}

// A client that continues to send small packets still receives all that was written before.
func TestACloseIsNotEndedByTheNumberOfReads(t *testing.T) {
	data := noise(100 << 10)
	p := newProbe(calls{})
	const packets = 1200 // more than once ended the connection
	reads := &readReporter{reads: make(chan struct{}, packets)}
	srv := &server.Server{Handler: p, CloseTimeout: -1}
	srv.SetCalls(reads)
	s := start(t, rig{"tcp", false, 1}, srv)
	c, nc := p.connect(t, s)
	_, err := c.Write(data)
	testkit.Must(t, err)
	c.Close()
	for range packets {
		if _, err := nc.Write([]byte("x")); err != nil {
			t.Fatalf("the client's write fails: %v", err)
		}
		testkit.Await(t, reads.reads, "a read")
	}
	closeWrite(t, nc)
	got, err := io.ReadAll(nc)
	if err != nil || string(got) != string(data) {
		t.Fatalf("%d of %d bytes came, %v", len(got), len(data), err)
	}
	if reason := testkit.Await(t, p.closed, "Close"); reason != nil {
		t.Errorf("the reason is %v", reason)
	}
}
