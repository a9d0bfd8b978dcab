package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The answer of the old protocol is sent first. The bytes that the request has not consumed go to the new handler, also those that the loop
// has read for the request.
func TestAnUpgradePassesTheInputToTheNewHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, early := range []string{"", "hello", "hello" + strings.Repeat(" world", 20000)} {
			asked := make(chan server.Reply, 1)
			resume := make(chan struct{})
			d := withBodies(p, func(w server.Reply, _ io.Reader, _ int) {
				got, err := w.Input().Peek(4)
				_, e := w.Input().Discard(4)
				asked <- w
				<-resume
				_, e2 := fmt.Fprintf(w, "%s\n", got)
				if err = errors.Join(err, e, e2, w.Conn().SetHandler(server.HandlerFunc(echo))); err != nil {
					t.Error(err)
				}
			})
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "0\n")
			go func() { _, _ = io.WriteString(nc, "body"+early) }() // expect finds what is missing
			w := testkit.Await(t, asked, "the request")
			testkit.Until(t, "input", func() bool { return early == "" || w.Input().Buffered() > 0 })
			close(resume)
			expect(t, nc, "body\n"+early)
			send(t, nc, "more")
			expect(t, nc, "more")
		}
	})
}

// The new owner of the connection reads first what the request has left.
func TestDetachPassesTheInputThatARequestHasLeft(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		type detached struct {
			nc   net.Conn
			rest string
			err  error
		}
		done := make(chan detached, 1)
		waits := make(chan error, 1)
		d := withBodies(p, func(w server.Reply, _ io.Reader, n int) {
			_, err := w.Input().Peek(n)
			_, e := w.Input().Discard(1)
			e2 := w.Conn().Detach(func(nc net.Conn, rest []byte, err error) { done <- detached{nc, string(rest), err} })
			if err = errors.Join(err, e, e2); err != nil {
				t.Error(err)
			}
			_, err = w.Input().Peek(n + 100)
			waits <- err
		})
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "4\n")
		send(t, nc, "body")
		testkit.CheckErr(t, "Peek after Detach", testkit.Await(t, waits, "Peek"), server.ErrClosed)
		got := testkit.Await(t, done, "Detach")
		testkit.Must(t, got.err)
		defer got.nc.Close()
		if got.rest != "ody" {
			t.Errorf("the rest is %q", got.rest)
		}
		send(t, nc, "more")
		expect(t, got.nc, "more")
	})
}

// Otherwise each would wait for the other: the request for input, and Detach or StartTLS for the end of the request.
func TestDetachAndStartTLSEndTheWaitForInput(t *testing.T) {
	changes := map[string]func(c *server.Conn) error{
		"Detach": func(c *server.Conn) error {
			return c.Detach(func(nc net.Conn, _ []byte, err error) {
				if err == nil {
					_ = nc.Close()
				}
			})
		},
		"StartTLS": func(c *server.Conn) error { return c.StartTLS(serverTLS(), nil) },
	}
	for name, change := range changes {
		for _, p := range placements {
			t.Run(name+"/"+p.String(), func(t *testing.T) {
				begun, errs := make(chan *server.Conn, 1), make(chan error, 1)
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: withBodies(p, func(w server.Reply, body io.Reader, _ int) {
					begun <- w.Conn()
					_, err := io.ReadAll(body)
					errs <- err
				})})
				nc := s.dial(t)
				send(t, nc, "4\nbo")
				c := testkit.Await(t, begun, "the request")
				waitsForInput(t, c)
				testkit.Must(t, change(c))
				testkit.CheckErr(t, "Read", testkit.Await(t, errs, "Read"), server.ErrClosed)
			})
		}
	}
}

// A pause stops the input, and its end lets the request go on.
func TestAPauseHoldsTheInputOfARequest(t *testing.T) {
	t.Parallel()
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		paused, resume := make(chan *server.Conn, 1), make(chan struct{})
		s := start(t, r, &server.Server{Handler: withBodies(p, func(w server.Reply, body io.Reader, _ int) {
			_, err := w.Input().Peek(1)
			w.Conn().PauseRead(t)
			paused <- w.Conn()
			<-resume
			q, e := io.ReadAll(body)
			_, _ = fmt.Fprintf(w, "%s %v\n", q, errors.Join(err, e))
		})})
		nc := s.dial(t)
		send(t, nc, "2\na")
		c := testkit.Await(t, paused, "the pause")
		twoTurns(t, c)
		before := c.Stats().BytesRead
		send(t, nc, "b")
		close(resume)
		twoTurns(t, c)
		isIdle(t, s)
		if got := c.Stats().BytesRead; got != before {
			t.Errorf("%d bytes were read during the pause", got-before)
		}
		c.ResumeRead(t)
		expect(t, nc, "ab <nil>\n")
	})
}

// The answer is sent unencrypted, and input after it is encrypted. The request reads nothing more.
func TestARequestMayCallStartTLSAfterItsBody(t *testing.T) {
	for _, p := range placements {
		t.Run(p.String(), func(t *testing.T) {
			errs := make(chan error, 1)
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: withBodies(p, func(w server.Reply, body io.Reader, n int) {
				q, err := io.ReadAll(body)
				_, _ = fmt.Fprintf(w, "%s %v\n", q, err)
				if n == 4 {
					errs <- w.Conn().StartTLS(serverTLS(), nil)
					_, err = w.Input().Peek(100)
					testkit.CheckErr(t, "Peek after StartTLS", err, server.ErrClosed)
				}
			})})
			nc := s.dial(t)
			send(t, nc, "4\n")
			send(t, nc, "body")
			testkit.Must(t, testkit.Await(t, errs, "StartTLS"))
			expect(t, nc, "body <nil>\n")
			secure := tls.Client(nc, clientTLS())
			send(t, secure, "6\n")
			send(t, secure, "secret")
			expect(t, secure, "secret <nil>\n")
		})
	}
}

// A shutdown waits for the body of a request that has begun, however long, and then closes the connection. A next request that was read with
// it is still answered.
func TestAShutdownLetsARequestReadItsBody(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		const n = 12 << 20 // more than maxLateReads reads
		asked := make(chan server.Reply, 1)
		s := start(t, r, &server.Server{Handler: withBodies(p, func(w server.Reply, body io.Reader, n int) {
			asked <- w
			m, err := io.Copy(io.Discard, body)
			_, _ = fmt.Fprintf(w, "%d %v\n", m, err)
		})})
		nc := s.dial(t)
		send(t, nc, fmt.Sprint(n, "\nx"))
		w := testkit.Await(t, asked, "the request")
		waitsForInput(t, w.Conn())
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown", func() bool { return server.IsDraining(w.Conn()) })
		send(t, nc, strings.Repeat("x", n-1)+"next\n")
		expect(t, nc, fmt.Sprint(n, " <nil>\nnext\n"))
		expectEOF(t, nc)
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, ended, "Shutdown"))
		s.drained(t)
	})
}

// The end of the context of Shutdown ends the wait.
func TestTheEndOfAShutdownEndsTheWaitForInput(t *testing.T) {
	eachReader(t, func(t *testing.T, r rig, d *server.Dispatcher, begun chan server.Reply, readings chan reading) {
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "1\n")
		testkit.Await(t, begun, "the request")
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(ctx) }()
		cancel()
		testkit.CheckErr(t, "Read", testkit.Await(t, readings, "Read").err, server.ErrServerClosed)
		var late *server.ShutdownError
		if err := testkit.Await(t, ended, "Shutdown"); !errors.As(err, &late) || late.Conns != 1 {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// The server closes the connection, and the request is told.
func TestInputOfARequestCountsInMaxBuffered(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d, begun, readings := readers(t, server.OnWorkers, false)
		d.Serve = func(w server.Reply, _ []byte) {
			begun <- w
			_, err := w.Input().Peek(1 << 20)
			readings <- reading{"", err}
		}
		s := start(t, r, &server.Server{MaxInput: 1 << 20, MaxBuffered: 400 << 10, Handler: d})
		nc := s.dial(t)
		send(t, nc, "1\n")
		testkit.Await(t, begun, "the request")
		go func() { _, _ = nc.Write(make([]byte, 1<<20)) }() // fails
		testkit.CheckErr(t, "Peek", testkit.Await(t, readings, "Peek").err, server.ErrOverload)
		hangUp(nc)
		s.shutdown(t)
		s.drained(t)
	})
}

// Requests that hold no worker have read a byte each, and more is read ahead for them. At MaxBuffered they are told that their connection ends.
func TestInputOfDeferredRequestsIsBoundedByMaxBuffered(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit, size, conns = 1 << 20, 60_000, 40
		begun, errs, release := make(chan struct{}, 1), make(chan error, 1), make(chan struct{})
		d := withBodies(server.OnWorkers, func(w server.Reply, body io.Reader, _ int) {
			if w.Defer(time.Hour) != nil { // its connection has ended
				return
			}
			begun <- struct{}{}
			go func() {
				_, err := body.Read(make([]byte, 1))
				errs <- err
				<-release
				_, err = io.Copy(io.Discard, body)
				errs <- err
				_ = w.Close() // fails if the connection has ended
			}()
		})
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d, MaxBuffered: limit, CloseTimeout: time.Millisecond}) // the clients do not close their half
		requests, refused := 0, 0
		count := func() {
			if err := testkit.Await(t, errs, "a read"); err != nil {
				testkit.CheckErr(t, "Read", err, server.ErrClosed, server.ErrOverload)
				refused++
			}
			if held := s.Stats().BufferedBytes; held > limit+64<<10 {
				t.Fatalf("%d bytes are held, the limit is %d", held, limit)
			}
		}
		var clients [conns]net.Conn
		for i := range clients {
			clients[i] = s.dial(t)
			send(t, clients[i], "now\n")
			expect(t, clients[i], "now\n")
		}
		for _, nc := range clients {
			send(t, nc, fmt.Sprintln(size))
			select {
			case <-begun:
				requests++
				go func() { _, _ = nc.Write(noise(size)) }() // fails
				count()
			case reason := <-reasons: // there is no room for the request itself
				testkit.CheckErr(t, "Close", reason, server.ErrOverload)
			}
		}
		close(release)
		for range requests {
			count()
		}
		if refused == 0 || refused >= 2*requests {
			t.Errorf("%d of %d reads were refused", refused, 2*requests)
		}
	})
}

// In the steady state the bytes of a body go through buffers that are reused.
func TestReadingABodyDoesNotAllocate(t *testing.T) {
	if server.AssertsLoop {
		t.Skip("the race detector allocates")
	}
	for _, r := range []rig{{"tcp", false, 1}, {"unix", false, 1}} {
		t.Run(r.String(), func(t *testing.T) {
			const chunk = 256 << 10
			got := make(chan int, 1)
			s := start(t, r, &server.Server{Handler: withBodies(server.OnWorkers, func(w server.Reply, body io.Reader, _ int) {
				buf := make([]byte, 32<<10)
				for n := 0; ; {
					m, err := body.Read(buf)
					if n += m; n >= chunk {
						n -= chunk
						got <- 0
					}
					if err != nil {
						return
					}
				}
			})})
			nc := s.dial(t)
			send(t, nc, "1000000000000\n")
			p := make([]byte, chunk)
			step := func() {
				if _, err := nc.Write(p); err != nil {
					t.Error(err)
				}
				<-got
			}
			for range 20 {
				step()
			}
			if n := testing.AllocsPerRun(200, step); n >= 1 {
				t.Errorf("%.1f allocations for %d KB", n, chunk>>10)
			}
		})
	}
}
