package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A reading is the outcome of reading a body to its end.
type reading struct {
	text string
	err  error
}

// readers returns a Dispatcher whose requests read until an error, and report that, and a channel of the requests that have begun. With later,
// another goroutine reads, after the function has returned.
func readers(t *testing.T, p server.Placement, later bool) (d *server.Dispatcher, begun chan server.Reply, readings chan reading) {
	begun, readings = make(chan server.Reply, 100), make(chan reading, 100)
	return withBodies(p, func(w server.Reply, _ io.Reader, _ int) {
		read := func() {
			begun <- w
			text, err := io.ReadAll(w.Input())
			readings <- reading{string(text), err}
		}
		if !later {
			read()
			return
		}
		if err := w.Defer(time.Hour); err != nil {
			t.Errorf("Defer: %v", err)
		}
		go func() {
			read()
			_ = w.Close() // fails if the connection has ended
		}()
	}), begun, readings
}

// eachReader runs test with requests that read in their function, in each placement, and after it.
func eachReader(t *testing.T, test func(t *testing.T, r rig, d *server.Dispatcher, begun chan server.Reply, readings chan reading)) {
	t.Helper()
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("deferred=%v", later), func(t *testing.T) {
				d, begun, readings := readers(t, p, later)
				test(t, r, d, begun, readings)
			})
		}
	})
}

// A request that waits for input is told how the connection ended. After the peer's half only, the answer is still sent.
func TestAWaitForInputEndsWithTheInput(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(t *testing.T, s *running, nc net.Conn, w server.Reply)
		want error // besides ErrClosed
		data bool  // what had arrived before is read
	}{
		"end of the stream": {func(t *testing.T, _ *running, nc net.Conn, _ server.Reply) { closeWrite(t, nc) }, nil, true},
		"reset":             {func(t *testing.T, _ *running, nc net.Conn, _ server.Reply) { reset(t, nc) }, nil, true},
		"Abort":             {func(_ *testing.T, _ *running, _ net.Conn, w server.Reply) { w.Conn().Abort() }, server.ErrAborted, true},
		"Close":             {func(t *testing.T, _ *running, _ net.Conn, w server.Reply) { testkit.Must(t, w.Conn().Close()) }, server.ErrClosed, true},
		"CloseRead":         {func(t *testing.T, _ *running, _ net.Conn, w server.Reply) { testkit.Must(t, w.Conn().CloseRead()) }, nil, true},
		"Server.Close":      {func(_ *testing.T, s *running, _ net.Conn, _ server.Reply) { go s.Close() }, server.ErrServerClosed, true},
	} {
		t.Run(name, func(t *testing.T) {
			eachReader(t, func(t *testing.T, r rig, d *server.Dispatcher, begun chan server.Reply, readings chan reading) {
				s := start(t, r, &server.Server{Handler: d})
				nc := s.dial(t)
				send(t, nc, "1\nabc")
				w := testkit.Await(t, begun, "the request")
				testkit.Until(t, "the input", func() bool { return w.Input().Buffered() == 0 })
				row.end(t, s, nc, w)
				got := testkit.Await(t, readings, "the end")
				switch {
				case got.text != "abc":
					t.Errorf("read %q", got.text)
				case name == "reset":
					if !errors.Is(got.err, server.ErrClosed) && got.err != nil { // on a unix socket, and with TLS, it may look like an end
						t.Errorf("the error is %v", got.err)
					}
				case row.want == nil && got.err != nil || row.want != nil && (!errors.Is(got.err, server.ErrClosed) || !errors.Is(got.err, row.want)):
					t.Errorf("the error is %v, want %v", got.err, row.want)
				}
				hangUp(nc)
			})
		})
	}
}

// Its waiting call returns, too, and so do later calls of a copy, also while the next request is in progress.
func TestAnInputEndsWithItsRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		errs := make(chan error, 10)
		d := withBodies(p, func(w server.Reply, _ io.Reader, n int) {
			if n == 2 {
				return
			}
			if n == 1 {
				if err := w.Defer(-1); err != nil {
					t.Errorf("Defer: %v", err)
				}
			}
			began := make(chan struct{})
			go func() {
				close(began)
				in := w.Input()
				_, err := in.Peek(1)
				errs <- err
				_, err = in.Peek(0)
				errs <- err
				_, err = in.Discard(1)
				errs <- err
				_, err = in.Read(make([]byte, 1))
				errs <- err
				errs <- in.SetReadDeadline(time.Now())
			}()
			<-began
			if n == 1 {
				go w.Close()
			}
		})
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		for _, first := range []string{"0\n", "1\n"} {
			send(t, nc, first)
			for range 5 {
				testkit.CheckErr(t, "a method", testkit.Await(t, errs, "the end"), server.ErrReplyEnded)
			}
			send(t, nc, "2\nnow\n")
			expect(t, nc, "now\n")
		}
		testkit.CheckErr(t, "the zero Input", second(server.Input{}.Peek(0)), server.ErrReplyEnded)
		testkit.CheckErr(t, "the zero Input", server.Input{}.SetReadDeadline(time.Time{}), server.ErrReplyEnded)
	})
}

// A call that need not wait succeeds there.
func TestWaitingForInputOnTheLoopIsAnError(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d, replies := deferring(t, 1)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nbc")
		w := testkit.Await(t, replies, "a request")
		s.deferred(t, 1)
		onLoop(t, w.Conn(), func() {
			p, err := w.Input().Peek(w.Input().Buffered())
			if err != nil {
				t.Errorf("Peek: %q, %v", p, err)
			}
			_, err = w.Input().Peek(3)
			testkit.CheckErr(t, "Peek", err, event.ErrOnLoop)
			_, err = w.Input().Read(make([]byte, 3))
			if len(p) == 0 {
				testkit.CheckErr(t, "Read", err, event.ErrOnLoop)
			}
		})
		testkit.Must(t, w.Close())
	})
}

// Those of Requests.Serve have a copy of their message, and others may run at the same time.
func TestConcurrentRequestsHaveNoInput(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: several(2, func(w server.Reply, _ []byte) {
			_, err := w.Input().Peek(1)
			_, _ = fmt.Fprintln(w, errors.Is(err, server.ErrUnsupported), w.Input().Buffered(), errors.Is(w.Input().SetReadDeadline(time.Time{}), server.ErrUnsupported))
		})})
		nc := s.dial(t)
		send(t, nc, "a\n")
		expect(t, nc, "true 0 true\n")
	})
}

// The limit is that of the server, or that of the framing if it is larger.
func TestPeekIsLimitedByMaxInput(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		const maxInput = 1 << 20
		s := start(t, r, &server.Server{MaxInput: maxInput, Handler: withBodies(p, func(w server.Reply, _ io.Reader, n int) {
			q, err := w.Input().Peek(n)
			if m, e := w.Input().Discard(len(q)); m != len(q) || e != nil {
				t.Errorf("Discard: %d, %v", m, e)
			}
			_, _ = fmt.Fprintln(w, len(q), errors.Is(err, server.ErrTooLong))
		})})
		nc := s.dial(t)
		send(t, nc, fmt.Sprint(maxInput, "\n", strings.Repeat("x", maxInput)))
		expect(t, nc, fmt.Sprint(maxInput, " false\n"))
		send(t, nc, fmt.Sprint(maxInput+1, "\n"))
		expect(t, nc, "0 true\n")
	})
}

// ReadTimeout counts while the request waits, in total, and not while it does something else or reading is paused.
func TestReadTimeoutLimitsTheWaitsOfARequest(t *testing.T) {
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprintf("ends=%v", ends), func(t *testing.T) {
			eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
				errs := make(chan error, 10)
				conns := make(chan *server.Conn, 1)
				next := make(chan struct{})
				d := withBodies(p, func(w server.Reply, body io.Reader, n int) {
					conns <- w.Conn()
					var b [1]byte
					for range n {
						_, err := body.Read(b[:])
						errs <- err
						<-next
					}
					_, _ = w.WriteString("done\n")
				})
				closed := make(chan error, 1)
				d.Closed = func(_ *server.Conn, reason error) { closed <- reason }
				s, clock := startWithClock(t, r, &server.Server{ReadTimeout: limit, Handler: d})
				nc := s.dial(t)
				send(t, nc, "3\n")
				c := testkit.Await(t, conns, "the request")
				wait := func(part time.Duration) {
					waitsForInput(t, c)
					clock.Advance(part)
					twoTurns(t, c)
				}
				wait(limit / 2)
				send(t, nc, "a")
				testkit.Must(t, testkit.Await(t, errs, "a byte"))
				clock.Advance(2 * limit) // it does something else
				twoTurns(t, c)
				next <- struct{}{}
				wait(limit / 4)
				c.PauseRead(t)
				twoTurns(t, c)
				clock.Advance(2 * limit)
				twoTurns(t, c)
				c.ResumeRead(t)
				twoTurns(t, c)
				if !ends {
					send(t, nc, "bc")
					for range 2 {
						testkit.Must(t, testkit.Await(t, errs, "a byte"))
						next <- struct{}{}
					}
					expect(t, nc, "done\n")
					return
				}
				clock.Advance(limit/2 + deadlineTick)
				got := testkit.Await(t, errs, "the deadline")
				testkit.CheckErr(t, "Read", got, server.ErrClosed)
				testkit.CheckErr(t, "Read", got, server.ErrReadTimeout)
				close(next)
				testkit.CheckErr(t, "Close", testkit.Await(t, closed, "Close"), server.ErrReadTimeout)
			})
		})
	}
}

// A request that has set a deadline of its own is not limited by ReadTimeout, also if that deadline is none.
func TestADeadlineOfTheInputReplacesReadTimeout(t *testing.T) {
	for _, own := range []time.Duration{0, 3 * limit} {
		t.Run(fmt.Sprint(own), func(t *testing.T) {
			eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
				conns := make(chan *server.Conn, 1)
				d := withBodies(p, func(w server.Reply, body io.Reader, _ int) {
					at := time.Time{}
					if own > 0 {
						at = time.Now().Add(own)
					}
					testkit.Must(t, w.Input().SetReadDeadline(at))
					conns <- w.Conn()
					_, err := body.Read(make([]byte, 1))
					fmt.Fprintln(w, errors.Is(err, os.ErrDeadlineExceeded))
				})
				s, clock := startWithClock(t, r, &server.Server{ReadTimeout: limit, Handler: d})
				nc := s.dial(t)
				send(t, nc, "1\n")
				c := testkit.Await(t, conns, "the request")
				waitsForInput(t, c)
				clock.Advance(2 * limit)
				twoTurns(t, c)
				if own == 0 {
					send(t, nc, "a")
					expect(t, nc, "false\n")
					return
				}
				clock.Advance(limit)
				expect(t, nc, "true\n")
			})
		})
	}
}

// Requests that arrived together share the memory of what was read for them. The deadline of the first does not concern the second.
func TestADeadlineOfTheInputEndsWithItsRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		conns := make(chan *server.Conn, 1)
		d := withBodies(p, func(w server.Reply, body io.Reader, n int) {
			if n == 0 {
				testkit.Must(t, w.Input().SetReadDeadline(time.Now().Add(-time.Second)))
				_, err := w.Input().Peek(1000)
				testkit.CheckErr(t, "Peek", err, os.ErrDeadlineExceeded)
				return
			}
			conns <- w.Conn()
			_, err := io.ReadFull(body, make([]byte, n))
			testkit.CheckErr(t, "Read", err, server.ErrReadTimeout)
		})
		closed := make(chan error, 1)
		d.Closed = func(_ *server.Conn, reason error) { closed <- reason }
		s, clock := startWithClock(t, r, &server.Server{ReadTimeout: limit, Handler: d})
		send(t, s.dial(t), "0\n0\n1\n")
		c := testkit.Await(t, conns, "the last request")
		waitsForInput(t, c)
		clock.Advance(limit + deadlineTick)
		testkit.CheckErr(t, "Close", testkit.Await(t, closed, "Close"), server.ErrReadTimeout)
	})
}

// waitsForInput waits until the request of c waits.
func waitsForInput(t testing.TB, c *server.Conn) {
	t.Helper()
	testkit.Until(t, "a request that waits", func() bool {
		waits := false
		onLoop(t, c, func() { waits = server.WaitsForInput(c) })
		return waits
	})
}
