package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// withBodies returns a Dispatcher of lines. A line with a number is followed by that number of bytes, the body, which serve reads; "now" is
// answered at once.
func withBodies(p server.Placement, serve func(w server.Reply, body io.Reader, n int)) *server.Dispatcher {
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		n, err := strconv.Atoi(string(line))
		if err != nil {
			_, _ = fmt.Fprintf(w, "%s\n", line)
			return
		}
		serve(w, io.LimitReader(w.Input(), int64(n)), n)
	})
	d.Placement = p
	return d
}

// sums answers with the length and a sum of the body.
func sums(w server.Reply, body io.Reader, n int) {
	var sum uint32
	total := 0
	buf := make([]byte, 10000)
	for {
		m, err := body.Read(buf)
		for _, b := range buf[:m] {
			sum = sum*31 + uint32(b)
		}
		if total += m; err != nil {
			if err != io.EOF || total != n {
				_, _ = fmt.Fprintf(w, "%d of %d bytes: %v\n", total, n, err)
				return
			}
			break
		}
	}
	_, _ = fmt.Fprintf(w, "%d %d\n", total, sum)
}

func sumOf(p []byte) string {
	var sum uint32
	for _, b := range p {
		sum = sum*31 + uint32(b)
	}
	return fmt.Sprintf("%d %d\n", len(p), sum)
}

// Bodies of all lengths arrive whole, whatever the pieces in which they are sent, and the next request follows them.
func TestARequestReadsItsBody(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		s := start(t, r, &server.Server{Handler: withBodies(p, sums)})
		nc := s.dial(t)
		for _, n := range []int{0, 1, 5, 1000, 64 << 10, 200 << 10, 3 << 20} {
			body := noise(n)
			for _, piece := range []int{n + 100, n/3 + 1, n/50 + 1} {
				all := append([]byte(strconv.Itoa(n)+"\n"), body...)
				all = append(all, "next\n"...)
				for len(all) > 0 {
					m := min(piece, len(all))
					send(t, nc, string(all[:m]))
					all = all[m:]
				}
				expect(t, nc, sumOf(body)+"next\n")
			}
		}
		hangUp(nc)
		s.shutdown(t)
		s.drained(t)
	})
}

// Each byte arrives by itself.
func TestABodyMayArriveByteByByte(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		got := make(chan byte, 1)
		s := start(t, r, &server.Server{Handler: withBodies(p, func(w server.Reply, body io.Reader, n int) {
			var b [10]byte
			for range n {
				m, err := body.Read(b[:])
				if m != 1 || err != nil {
					t.Errorf("Read: %d, %v", m, err)
				}
				got <- b[0]
			}
			_, _ = w.WriteString("done\n")
		})})
		nc := s.dial(t)
		for range 2 {
			send(t, nc, "20\n")
			for i := range 20 {
				send(t, nc, string(rune('a'+i)))
				if b := testkit.Await(t, got, "a byte"); b != byte('a'+i) {
					t.Fatalf("byte %q, want %q", b, rune('a'+i))
				}
			}
			expect(t, nc, "done\n")
		}
	})
}

// Peek waits for n bytes and no longer, returns the same bytes again, and at the end of the stream those that have arrived.
func TestPeekConsumesNothing(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		steps := make(chan string, 10)
		s := start(t, r, &server.Server{Handler: withBodies(p, func(w server.Reply, _ io.Reader, _ int) {
			in := w.Input()
			peek := func(n int) {
				q, err := in.Peek(n)
				steps <- fmt.Sprintf("%s %v", q, err)
			}
			peek(0)
			peek(3)
			peek(2)
			peek(6)
			n, err := in.Discard(4)
			steps <- fmt.Sprintf("%d %v %d", n, err, in.Buffered())
			peek(2)
			peek(5)
			peek(-1)
			n, err = in.Discard(9)
			steps <- fmt.Sprintf("%d %v", n, err)
		})})
		nc := s.dial(t)
		step := func(want string) {
			t.Helper()
			if got := testkit.Await(t, steps, "a step"); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		send(t, nc, "0\n")
		step(" <nil>")
		send(t, nc, "abc")
		step("abc <nil>")
		step("ab <nil>")
		send(t, nc, "def")
		step("abcdef <nil>")
		step("4 <nil> 2")
		step("ef <nil>")
		send(t, nc, "gh")
		closeWrite(t, nc)
		step("efgh EOF")
		step("efgh <nil>")
		step("4 EOF")
	})
}

// The rest of a body that the function does not read is the next request.
func TestWhatARequestLeavesIsTheNextRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		s := start(t, r, &server.Server{Handler: withBodies(p, func(w server.Reply, body io.Reader, n int) {
			got, err := w.Input().Peek(n + 3)
			_, e := io.CopyN(io.Discard, body, int64(n))
			_, _ = fmt.Fprintf(w, "%s %v\n", got[n:], errors.Join(err, e))
		})})
		nc := s.dial(t)
		send(t, nc, "4\nbodyone\n5\n")
		send(t, nc, "body2two\nthree\n")
		expect(t, nc, "one <nil>\none\ntwo <nil>\ntwo\nthree\n")
	})
}

// A message of the request stays as it is while its body is read.
func TestReadingTheBodyDoesNotChangeTheMessage(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			_, err := io.CopyN(io.Discard, w.Input(), 1<<20)
			_, _ = fmt.Fprintf(w, "%s %v\n", line, err)
		})
		d.Placement = p
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		for range 2 {
			send(t, nc, "the message\n"+strings.Repeat("x", 1<<20))
			expect(t, nc, "the message <nil>\n")
		}
	})
}

// An unread body stops at the limit, and the kernel's buffers stop the client.
func TestALargeBodyTakesBoundedMemory(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const maxInput = 100 << 10
		paused, resume := make(chan struct{}), make(chan struct{})
		s := start(t, r, &server.Server{MaxInput: maxInput, Socket: tight(), Handler: withBodies(server.Adaptive, func(w server.Reply, body io.Reader, n int) {
			var b [1]byte
			_, _ = io.ReadFull(body, b[:])
			close(paused)
			<-resume
			m, err := io.Copy(io.Discard, body)
			_, _ = fmt.Fprintf(w, "%d %v\n", m, err)
		})})
		nc := s.dial(t)
		const n = 16 << 20
		send(t, nc, strconv.Itoa(n)+"\n")
		sent := make(chan error, 1)
		go func() {
			_, err := nc.Write(bytes.Repeat([]byte("x"), n))
			sent <- err
		}()
		testkit.Await(t, paused, "the first byte")
		testkit.Until(t, "the limit", func() bool { return s.Stats().BufferedBytes >= maxInput/2 })
		twoTurnsOfAll(t, s)
		if got := s.Stats().BufferedBytes; got > 8*maxInput {
			t.Errorf("%d bytes are held", got)
		}
		isIdle(t, s)
		close(resume)
		expect(t, nc, fmt.Sprintf("%d <nil>\n", n-1))
		testkit.Must(t, testkit.Await(t, sent, "Write"))
	})
}

// twoTurnsOfAll lets each loop handle what has arrived.
func twoTurnsOfAll(t testing.TB, s *running) {
	t.Helper()
	for _, l := range server.EventLoops(s.Server) {
		for range 2 {
			done := make(chan struct{})
			testkit.Must(t, l.Post(func() { close(done) }))
			testkit.Await(t, done, "a Post")
		}
	}
}

// The time is that of the loops' clock. Bytes that have arrived are returned also then, and a later deadline lets the request go on.
func TestWaitingForInputEndsAtTheReadDeadline(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		type result struct {
			text string
			err  error
		}
		results, begun := make(chan result, 1), make(chan struct{})
		s, clock := startWithClock(t, r, &server.Server{Handler: withBodies(server.Adaptive, func(w server.Reply, _ io.Reader, _ int) {
			in := w.Input()
			close(begun)
			for _, d := range []time.Duration{time.Hour, -time.Hour, 0} {
				deadline := time.Now().Add(d)
				if d == 0 {
					deadline = time.Time{}
				}
				if err := in.SetReadDeadline(deadline); err != nil {
					t.Errorf("SetReadDeadline: %v", err)
				}
				p, err := in.Peek(3)
				results <- result{string(p), err}
			}
		})})
		nc := s.dial(t)
		send(t, nc, "0\nab")
		testkit.Await(t, begun, "the request") // before the clock passes the deadline of the handshake
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					clock.Advance(time.Minute)
				}
			}
		}()
		for range 2 {
			got := testkit.Await(t, results, "Peek")
			var timeout interface{ Timeout() bool }
			if got.text != "ab" || !errors.Is(got.err, os.ErrDeadlineExceeded) || !errors.As(got.err, &timeout) || !timeout.Timeout() {
				t.Errorf("Peek: %q, %v", got.text, got.err)
			}
		}
		send(t, nc, "c")
		if got := testkit.Await(t, results, "Peek"); got.text != "abc" || got.err != nil {
			t.Errorf("Peek: %q, %v", got.text, got.err)
		}
	})
}
