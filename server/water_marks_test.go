package server_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// They are reported high, low, high, low, each at its mark, and the connection is not read between high and low.
func TestWaterMarksAreReportedAlternately(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		const high, low = 300_000, 50_000
		var mu sync.Mutex
		var log []string
		report := func(what string, wrong bool) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, what)
			if wrong {
				t.Errorf("%s was called on the wrong side of its mark", what)
			}
		}
		var overHighWater atomic.Bool
		var highs, lows atomic.Int32 // the client's kernel may buffer so much that one follows the other at once
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			if overHighWater.Load() {
				t.Error("Data was called between the high mark and the low one")
			}
			return len(p), nil
		}})
		h := markProbe{p,
			func(c *server.Conn) {
				overHighWater.Store(true)
				highs.Add(1)
				report("high", c.Stats().BufferedBytes < high)
			},
			func(c *server.Conn) {
				overHighWater.Store(false)
				lows.Add(1)
				report("low", c.Stats().BufferedBytes > low)
			}}
		s := start(t, r, &server.Server{Handler: h, HighWater: high, LowWater: low, Socket: tight()})
		c, nc := p.connect(t, s)
		for i := range int32(3) {
			const n = 4 << 20
			testkit.Must(t, c.WriteNotify(make([]byte, n), nil))
			testkit.Until(t, "the high mark", func() bool { return highs.Load() > i })
			send(t, nc, "not now")
			if _, err := io.CopyN(io.Discard, nc, n); err != nil {
				t.Fatal(err)
			}
			testkit.Until(t, "the low mark", func() bool { return lows.Load() > i })
		}
		testkit.Until(t, "what was sent meanwhile", func() bool { return c.Stats().BytesRead == 3*7 })
		isIdle(t, s)
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(log, " "); got != "high low high low high low" {
			t.Errorf("called: %s", got)
		}
	})
}

// A handler that consumes 10 to 20 bytes at a time, as with libevent's read marks, is given all input, in pieces of any size, and is not
// called again until there is more.
func TestAHandlerMayConsumeAnyPartOfItsInput(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const low, high = 10, 20
		all := noise(65_000)
		var got []byte
		waiting, idle := 0, 0 // bytes that were too few; calls without new bytes
		done := make(chan struct{})
		p := newProbe(calls{data: func(_ *server.Conn, p []byte) (int, error) {
			if len(p) < low {
				if len(p) == waiting {
					idle++
				}
				waiting = len(p)
				return 0, nil
			}
			waiting = 0
			n := min(len(p), high)
			got = append(got, p[:n]...)
			if len(all)-len(got) < low {
				close(done)
				return len(p), nil
			}
			return n, nil
		}})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		for rest := all; len(rest) > 0; {
			n := 1 + rand.IntN(min(50, len(rest)))
			send(t, nc, string(rest[:n]))
			rest = rest[n:]
		}
		testkit.Await(t, done, "everything")
		onLoop(t, c, func() {
			if idle > 0 || !bytes.Equal(got, all[:len(got)]) {
				t.Errorf("%d of %d bytes, %d calls without anything new", len(got), len(all), idle)
			}
		})
	})
}

// A client that sends requests and never reads the answers makes the server stop reading at the high mark.
func TestAClientThatDoesNotReadTakesBoundedMemory(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Write(bytes.Repeat(p, 4))
			return len(p), err
		}})
		high := make(chan struct{}, 1000)
		h := markProbe{p, func(*server.Conn) { high <- struct{}{} }, func(*server.Conn) {}}
		s := start(t, r, &server.Server{Handler: h, Socket: tight()})
		_, nc := p.connect(t, s)
		go func() {
			for junk := make([]byte, 10_000); ; {
				if _, err := nc.Write(junk); err != nil {
					return
				}
			}
		}()
		testkit.Await(t, high, "the high mark")
		for rest := true; rest; { // the kernel may accept so much that it is repeated
			select {
			case <-high:
			case <-time.After(time.Second):
				rest = false
			}
		}
		const least, most = server.DefaultMaxOutput / 16, server.DefaultMaxOutput/4 + 5*(64<<10)
		testkit.Until(t, "an output that waits", func() bool { return s.Stats().BufferedBytes > least }) // without the time that the server takes to fill it
		isIdle(t, s)                                                                                     // nothing more is read
		if n := s.Stats().BufferedBytes; n > most {
			t.Errorf("%d bytes are buffered for a client that does not read; want no more than %d", n, most)
		}
		if len(p.closed) > 0 {
			t.Errorf("closed: %v", <-p.closed)
		}
		testkit.Must(t, s.Close())
		s.drained(t)
	})
}

// A handler that consumes one message at a time is given no more messages than its output has room for answers.
func TestPipelinedRequestsDoNotOverrunTheOutput(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const requests, size = 5000, 2000
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Write(bytes.Repeat(p[:1], size))
			return 1, err
		}})
		s := start(t, r, &server.Server{Handler: p, Socket: tight()})
		_, nc := p.connect(t, s)
		send(t, nc, strings.Repeat("x", requests))
		closeWrite(t, nc)
		got, err := io.ReadAll(nc)
		if err != nil || len(got) != requests*size {
			t.Errorf("%d bytes of answers came, %v; want %d", len(got), err, requests*size)
		}
		hangUp(nc)
		if reason := testkit.Await(t, p.closed, "Close"); reason != io.EOF {
			t.Errorf("the reason is %v", reason)
		}
	})
}

// Any goroutine may call ResumeRead. Nothing is lost.
func TestPauseReadHoldsAllInputBack(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		var paused atomic.Bool
		var got atomic.Int64
		p := newProbe(calls{})
		p.data = func(c *server.Conn, p []byte) (int, error) {
			if paused.Load() {
				t.Error("Data was called while reading was paused")
			}
			got.Add(1)
			if p[0] == 'p' { // pauses after this byte, before the next ones
				paused.Store(true)
				c.PauseRead(nil)
			}
			return 1, nil
		}
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		want := int64(0)
		for i, resume := range []func(){func() { c.ResumeRead(nil) }, func() { go c.ResumeRead(nil) }, func() { onLoop(t, c, func() { c.ResumeRead(nil) }) }} {
			send(t, nc, "xxpxx")
			testkit.Until(t, "the pause", paused.Load)
			send(t, nc, "xx") // which the kernel reports, and keeps
			isIdle(t, s)
			if want += 3; got.Load() != want {
				t.Fatalf("round %d: %d bytes were consumed before the pause, want %d", i, got.Load(), want)
			}
			paused.Store(false)
			resume()
			want += 4
			testkit.Until(t, "the rest", func() bool { return got.Load() == want })
		}
		onLoop(t, c, func() { c.PauseRead(nil); c.ResumeRead(nil) })
		send(t, nc, "x")
		testkit.Until(t, "input after both", func() bool { return got.Load() == want+1 })
	})
}

// The loop does not spin.
func TestAResetIsNoticedWhileReadingIsPaused(t *testing.T) {
	eachAtOnce(t, allRigs(), func(t *testing.T, r rig) {
		if r.network == "unix" {
			return // which has no reset
		}
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { c.PauseRead(nil); return len(p), nil }})
		s := start(t, r, &server.Server{Handler: p})
		for range 3 {
			c, nc := p.connect(t, s)
			send(t, nc, "pause")
			testkit.Until(t, "the pause", func() bool { return c.Stats().BytesRead == 5 })
			send(t, nc, "this is kept by the kernel")
			isIdle(t, s)
			reset(t, nc)
			if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
				t.Errorf("the reason is %v", reason)
			}
		}
		isIdle(t, s)
	})
}

// The loop does not spin, nothing is lost, and the end is reported after ResumeRead, after the input before it.
func TestAHalfCloseWaitsWhileReadingIsPaused(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		for _, late := range []string{"", "what comes before the end"} {
			var got bytes.Buffer
			p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return got.Write(p) }})
			ended := make(chan string, 1)
			s := start(t, r, &server.Server{Handler: eofProbe{p, func(c *server.Conn) { ended <- got.String(); c.Close() }}})
			c, nc := p.connect(t, s)
			c.PauseRead(nil)
			onLoop(t, c, func() {})
			send(t, nc, late)
			closeWrite(t, nc)
			isIdle(t, s)
			if len(ended) > 0 {
				t.Error("EOF was called while reading was paused")
			}
			_, err := c.WriteString("still open")
			testkit.Must(t, err)
			expect(t, nc, "still open")
			c.ResumeRead(nil)
			if all := testkit.Await(t, ended, "EOF"); all != late {
				t.Errorf("%q came before the end, %q was sent", all, late)
			}
			expectEOF(t, nc)
		}
	})
}

// After an end of the stream that was handled, the loop does not turn. It does not turn after a reset that follows, or while the send
// buffer has room.
func TestAnEndOfTheStreamDoesNotSpin(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p := newProbe(calls{})
		eof := make(chan struct{}, 10)
		s := start(t, r, &server.Server{Handler: eofProbe{p, func(*server.Conn) { eof <- struct{}{} }}, Socket: tight()})
		c, nc := p.connect(t, s)
		const n = 3 << 20
		testkit.Must(t, c.WriteNotify(make([]byte, n), nil))
		if _, err := io.CopyN(io.Discard, nc, n); err != nil { // then the kernel has room again
			t.Fatal(err)
		}
		isIdle(t, s)
		closeWrite(t, nc)
		testkit.Await(t, eof, "EOF")
		isIdle(t, s)
		if len(eof) > 0 || len(p.closed) > 0 {
			t.Error("EOF was called again, or the connection closed")
		}
		reset(t, nc)
		isIdle(t, s)
		testkit.Until(t, "the refusal of a gone peer", func() bool { _, err := c.WriteString("x"); return errors.Is(err, server.ErrClosed) })
		if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
			t.Errorf("the reason is %v", reason)
		}
	})
}

// A handler can then repeat the write, also with a small MaxOutput.
func TestLowWaterFollowsEveryRefusal(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		want := noise(3 << 20)
		rest := want
		write := func(c *server.Conn) {
			for len(rest) > 0 {
				n, err := c.Write(rest[:min(len(rest), 5000)])
				if err != nil {
					if !errors.Is(err, server.ErrFull) {
						t.Error(err)
					}
					return
				}
				rest = rest[n:]
			}
			c.Close()
		}
		p := markProbe{probe: newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { write(c); return len(p), nil }}),
			high: func(*server.Conn) {}, low: write}
		s := start(t, r, &server.Server{Handler: p, MaxOutput: 20_000})
		nc := s.dial(t)
		send(t, nc, "go")
		testkit.Must(t, nc.(halfCloser).CloseWrite())
		got, err := io.ReadAll(nc)
		testkit.Must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came, of %d", len(got), len(want))
		}
		hangUp(nc)
	})
}
