package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// steps runs a request that reads n bytes of its body when the test says so, several times, and reports each outcome.
func steps(p server.Placement, later bool) (d *server.Dispatcher, read chan int, readings chan reading, begun chan server.Reply) {
	read, readings, begun = make(chan int), make(chan reading, 10), make(chan server.Reply, 1)
	return withBodies(p, func(w server.Reply, _ io.Reader, _ int) {
		serve := func() {
			begun <- w
			for n := range read {
				buf := make([]byte, n)
				n, err := io.ReadFull(w.Input(), buf)
				readings <- reading{string(buf[:n]), err}
			}
			_, _ = w.WriteString("done\n") // fails if the client has gone
		}
		if !later || w.Defer(-1) != nil {
			serve()
			return
		}
		go func() {
			serve()
			_ = w.Close() // fails if the connection has ended
		}()
	}), read, readings, begun
}

// The request itself reads the bytes that arrived before the reset. Then its Input returns ErrClosed.
func TestAResetEndsTheInputOfARequestThatReadsTheSocket(t *testing.T) {
	for _, cancels := range []bool{false, true} {
		for _, p := range placements {
			t.Run(fmt.Sprintf("%v,cancels=%v", p, cancels), func(t *testing.T) {
				d, read, readings, begun := steps(p, false)
				d.CancelOnEOF = cancels
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
				nc := s.dial(t)
				body := string(noise(200 << 10))
				send(t, nc, "0\n"+body[:100<<10])
				w := testkit.Await(t, begun, "the request")
				read <- 100 << 10
				if got := testkit.Await(t, readings, "the body"); got.text != body[:100<<10] || got.err != nil {
					t.Fatalf("%d bytes, %v", len(got.text), got.err)
				}
				reset(t, nc)
				testkit.Await(t, w.Context().Done(), "the reset")
				read <- 1
				if got := testkit.Await(t, readings, "the reset"); !errors.Is(got.err, server.ErrClosed) || !isGone(got.err) {
					t.Errorf("%d bytes, %v", len(got.text), got.err)
				}
				close(read)
			})
		}
	}
}

// The kernel reports a reset to one read only. If that is a read of the request, the loop's read returns EOF, and the request must not take that
// for the end of the stream.
func TestAResetAtTheTimeOfAReadIsNoEndOfTheStream(t *testing.T) {
	for _, p := range placements {
		t.Run(p.String(), func(t *testing.T) {
			begun, errs := make(chan struct{}), make(chan error, 2)
			d := withBodies(p, func(w server.Reply, _ io.Reader, _ int) {
				begun <- struct{}{}
				for range 2 {
					_, err := w.Input().Read(make([]byte, 1))
					errs <- err
				}
			})
			d.CancelOnEOF = true // the loop waits for the end, too
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
			for range 100 {
				nc := s.dial(t)
				send(t, nc, "0\n")
				testkit.Await(t, begun, "the request")
				reset(t, nc)
				for range 2 { // the stream remains broken
					if err := testkit.Await(t, errs, "the reset"); !errors.Is(err, server.ErrClosed) {
						t.Fatalf("the error is %v", err)
					}
				}
			}
		})
	}
}

// The loop leaves the bytes to the request, and sleeps meanwhile. At the end of the stream the request gets io.EOF.
func TestTheLoopDoesNotReadWhileARequestReadsTheSocket(t *testing.T) {
	t.Parallel()
	for _, cancels := range []bool{false, true} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("cancels=%v,deferred=%v", cancels, later), func(t *testing.T) {
				d, read, readings, begun := steps(server.OnWorkers, later)
				d.CancelOnEOF = cancels
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
				nc := s.dial(t)
				const part = 50 << 10
				body := noise(4 * part)
				send(t, nc, "0\n")
				w := testkit.Await(t, begun, "the request")
				go func() { read <- part }()
				waitsForInput(t, w.Conn())
				send(t, nc, string(body[:3*part]))
				for i := range 3 {
					if i > 0 {
						read <- part
					}
					if got := testkit.Await(t, readings, "the body"); !bytes.Equal([]byte(got.text), body[i*part:(i+1)*part]) || got.err != nil {
						t.Fatalf("%d bytes, %v", len(got.text), got.err)
					}
					if i == 1 {
						isIdle(t, s)
					}
				}
				send(t, nc, string(body[3*part:]))
				closeWrite(t, nc)
				isIdle(t, s)
				read <- part
				if got := testkit.Await(t, readings, "the body"); !bytes.Equal([]byte(got.text), body[3*part:]) || got.err != nil {
					t.Fatalf("%d bytes, %v", len(got.text), got.err)
				}
				if cancels {
					testkit.Await(t, w.Context().Done(), "the end of the context")
				} else {
					testkit.Must(t, w.Context().Err())
				}
				read <- 1
				testkit.CheckErr(t, "Read", testkit.Await(t, readings, "the end").err, io.EOF)
				close(read)
				expect(t, nc, "done\n")
				expectEOF(t, nc)
			})
		}
	}
}

// The request has read its whole body and does something else. The client disconnects, and the context ends.
func TestCancelOnEOFEndsTheContextAfterTheBodyWasRead(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, later := range []bool{false, true} {
			d, read, readings, begun := steps(p, later)
			d.CancelOnEOF = true
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			const n = 300 << 10
			send(t, nc, "0\n")
			w := testkit.Await(t, begun, "the request")
			for range 2 {
				go func() { _, _ = nc.Write(noise(n)) }() // if it fails, bytes are missing
				read <- n
				if got := testkit.Await(t, readings, "the body"); len(got.text) != n || got.err != nil {
					t.Fatalf("%d bytes, %v", len(got.text), got.err)
				}
			}
			testkit.Must(t, w.Context().Err())
			closeWrite(t, nc)
			testkit.Await(t, w.Context().Done(), "the end of the context")
			close(read)
			expect(t, nc, "done\n")
		}
	})
}
