package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// panicking is a Handler that panics in the given callback.
func panicking(where string) server.Handler {
	unlucky := func(at string) {
		if at == where {
			panic("panic in " + where)
		}
	}
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		_, _ = w.WriteString("half of an answer")
		if string(line) == "panic" {
			unlucky("Serve")
		}
	})
	switch where {
	case "Serve":
		return d
	case "Concurrent Serve":
		d.Concurrent = 3
		where = "Serve"
		return d
	case "Malformed":
		d = mailbox()
		d.Malformed = func(*server.Conn, error) { unlucky(where) }
		return d
	}
	return calls{
		open: func(*server.Conn) { unlucky("Open") },
		data: func(c *server.Conn, p []byte) (int, error) {
			unlucky("Data")
			if where == "done" {
				return len(p), c.WriteNotify(p, func(error) { unlucky("done") })
			}
			_, err := c.Write(p)
			if where == "Close" {
				c.Close()
			}
			return len(p), err
		},
		close: func(*server.Conn, error) { unlucky("Close") },
	}
}

// OnPanic is called with the connection, and the loop and the worker continue.
func TestAPanicCostsOneConnection(t *testing.T) {
	for _, where := range []string{"Open", "Data", "Close", "Serve", "Concurrent Serve", "Malformed", "done"} {
		t.Run(where, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				type fate struct {
					c     *server.Conn
					v     any
					stack string
				}
				fates := make(chan fate, 10)
				s := start(t, r, &server.Server{Workers: 1, NumLoops: 1, CloseTimeout: 10 * time.Millisecond, Handler: echoLines(),
					OnPanic: func(c *server.Conn, v any, stack []byte) { fates <- fate{c, v, string(stack)} }})
				ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: panicking(where)})
				testkit.Must(t, err)
				other := s.dial(t)
				for range 3 {
					testkit.Must(t, pipelined(other, "before", 1))
					bad := &running{s.Server, rig{"tcp", r.tls, 1}, ln.Addr()}
					nc := bad.dial(t)
					line := "panic\n"
					if where == "Malformed" {
						line = strings.Repeat("x", 1000)
					}
					_, _ = nc.Write([]byte(line)) // after a panic in Open the handshake may fail
					if where == "Close" {
						expect(t, nc, line)
						hangUp(nc)
					}
					f := testkit.Await(t, fates, "OnPanic")
					if !strings.HasPrefix(f.v.(string), "panic in ") || !strings.Contains(f.stack, "panicking") {
						t.Errorf("OnPanic is called with %v, %s", f.v, f.stack)
					}
					if f.c == nil && where != "done" {
						t.Error("OnPanic is not called with the connection")
					}
					if where != "done" { // which belongs to no connection
						for _, err := nc.Read(make([]byte, 100)); err == nil; _, err = nc.Read(make([]byte, 100)) {
						}
					}
					hangUp(nc)
					testkit.Must(t, pipelined(other, "after", 1))
				}
				hangUp(other)
				s.shutdown(t)
				if st := s.Stats(); st.Opened != st.Closed || st.OpenConns != 0 || st.BufferedBytes != 0 || st.RunningRequests != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// The handler runs on a worker's goroutine, which the server replaces.
func TestGoexitCostsOneConnection(t *testing.T) {
	for _, survives := range []bool{false, true} {
		each(t, func(t *testing.T, r rig) {
			reasons, closed := closings()
			d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
				if string(line) == "exit" {
					runtime.Goexit()
				}
				_, _ = w.Write(append(line, '\n'))
			})
			d.Closed = closed
			srv := &server.Server{Workers: 2, Handler: d}
			if survives {
				srv.OnPanic = func(*server.Conn, any, []byte) { t.Error("OnPanic was called") }
			}
			s := start(t, r, srv)
			for range 5 {
				nc := s.dial(t)
				send(t, nc, "exit\n")
				testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrPanic)
			}
			nc := s.dial(t)
			testkit.Must(t, pipelined(nc, "after", 100))
			hangUp(nc)
			s.shutdown(t)
		})
	}
}

// OnPanic is not set. The test runs itself again in another process.
func TestAPanicEndsTheProgram(t *testing.T) {
	const key = "EVMQ_TEST_PANIC"
	if where := os.Getenv(key); where != "" {
		s := start(t, rigs()[0], &server.Server{Handler: panicking(where)})
		nc := s.dial(t)
		send(t, nc, "panic\n")
		_, _ = nc.Read(make([]byte, 1))
		hangUp(nc)
		<-context.Background().Done() // until the panic
	}
	for _, where := range []string{"Open", "Data", "Close", "Serve", "Concurrent Serve", "done"} {
		t.Run(where, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestAPanicEndsTheProgram$")
			cmd.Env = append(os.Environ(), key+"="+where)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 || !bytes.Contains(out, []byte("panic: panic in ")) || !bytes.Contains(out, []byte("panicking")) {
				t.Errorf("the process ended with %v with the output\n%s", err, out)
			}
		})
	}
}

// lastWords is the value of a panic. The program asks for its text when all deferred functions have run, and ends then.
type lastWords struct{ closed <-chan struct{} }

// Error gives another goroutine time to run the loop.
func (w lastWords) Error() string {
	select {
	case <-w.closed:
		return "another goroutine has run the loop after the panic"
	case <-time.After(100 * time.Millisecond):
		return "panic in the last callback"
	}
}

// The goroutine of the callback does not pass the loop on: the connections would be closed, and other callbacks called, while the program
// ends. The test runs itself again in another process.
func TestNoCallbackFollowsAPanicThatEndsTheProgram(t *testing.T) {
	t.Parallel()
	const key = "EVMQ_TEST_LAST_CALLBACK"
	if where := os.Getenv(key); where != "" {
		closed := make(chan struct{})
		d := server.Dispatch(bufio.ScanLines, func(server.Reply, []byte) { panic(lastWords{closed}) })
		d.Placement = server.OnLoop
		d.Closed = func(*server.Conn, error) { close(closed) }
		if where == "Open" {
			d.Opened = func(*server.Conn) { panic(lastWords{closed}) }
		}
		s := start(t, rigs()[0], &server.Server{Handler: d, NumLoops: 1})
		send(t, s.dial(t), "panic\n")
		<-context.Background().Done() // until the panic
	}
	for _, where := range []string{"Open", "Serve"} {
		t.Run(where, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestNoCallbackFollowsAPanicThatEndsTheProgram$")
			cmd.Env = append(os.Environ(), key+"="+where)
			out, err := cmd.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte("panic in the last callback")) || bytes.Contains(out, []byte("another goroutine")) {
				t.Errorf("the process ended with %v with the output\n%s", err, out)
			}
		})
	}
}

// A loop is chosen for the connection anyway.
func TestAPickLoopThatPanicsHasChosenNoLoop(t *testing.T) {
	reported := make(chan any, 10)
	s := start(t, rig{"tcp", false, 2}, &server.Server{
		Handler:  echoLines(),
		PickLoop: func(net.Addr, int) int { panic("no idea") },
		OnPanic:  func(c *server.Conn, v any, _ []byte) { reported <- v },
	})
	nc := s.dial(t)
	send(t, nc, "hello\n")
	expect(t, nc, "hello\n")
	if v := testkit.Await(t, reported, "OnPanic"); v != "no idea" {
		t.Errorf("OnPanic was called with %v", v)
	}
}
