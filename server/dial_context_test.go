package server_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Open has returned then. The end of the context afterwards has no effect.
func TestDialContextReturnsAnOpenConnection(t *testing.T) {
	inAllRigs(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		h := newCaller()
		ctx, cancel := testkit.Soon()
		c, err := s.DialContext(ctx, s.addr.Network(), s.addr.String(), dialConfig(r, h))
		testkit.Must(t, err)
		if len(h.opened) != 1 || <-h.opened != c || c.Value() != "mine" {
			t.Error("Open was not called with the connection before DialContext returned")
		}
		cancel()
		for range 10 {
			_, err = c.WriteString("line\n")
			testkit.Must(t, err)
			testkit.WantEqual(t, "the answer", testkit.Await(t, h.lines, "the answer"), "line")
		}
		c.Close()
		testkit.Must(t, testkit.Await(t, h.closed, "Close"))
		h.untouched(t)
	})
}

// The handler is not called, neither Open nor Close.
func TestADialContextThatFailsReturnsTheReasonOnce(t *testing.T) {
	silent := silentListener(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	testkit.Must(t, gone.Close())
	s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: server.HandlerFunc(echo)})
	expired, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	for name, row := range map[string]struct {
		ctx              context.Context
		network, address string
		cfg              server.DialConfig
		want             []error
	}{
		"refused":           {context.Background(), "tcp", gone.Addr().String(), server.DialConfig{}, []error{syscall.ECONNREFUSED}},
		"no socket":         {context.Background(), "unix", t.TempDir() + "/none", server.DialConfig{}, []error{os.ErrNotExist}},
		"not TLS":           {context.Background(), s.addr.Network(), s.addr.String(), server.DialConfig{TLS: clientTLS()}, []error{server.ErrHandshake}},
		"timeout":           {context.Background(), "tcp", silent, server.DialConfig{TLS: clientTLS(), Timeout: time.Millisecond}, []error{os.ErrDeadlineExceeded}},
		"deadline":          {expired, "tcp", silent, server.DialConfig{TLS: clientTLS()}, []error{server.ErrDialTimeout, context.DeadlineExceeded}},
		"ended before":      {testkit.Canceled(), "tcp", silent, server.DialConfig{TLS: clientTLS()}, []error{server.ErrAborted, context.Canceled}},
		"wrong network":     {context.Background(), "udp", silent, server.DialConfig{}, []error{server.ErrInvalid}},
		"nil context":       {nil, "tcp", silent, server.DialConfig{}, []error{server.ErrInvalid}},
		"name that is none": {context.Background(), "tcp", "no-such-name.invalid:80", server.DialConfig{}, nil},
	} {
		h := newCaller()
		row.cfg.Handler = h
		testkit.Within(t, name, func() {
			c, err := s.DialContext(row.ctx, row.network, row.address, &row.cfg)
			if c != nil || err == nil {
				t.Errorf("%s: %v, %v", name, c, err)
			}
			if len(row.want) > 0 {
				testkit.CheckErr(t, name, err, row.want...)
			}
		})
		testkit.Until(t, "the end of the attempt", func() bool { return server.OutgoingConns(s.Server) == 0 })
		if len(h.closed) > 0 {
			t.Errorf("%s: Close was called with %v", name, <-h.closed)
		}
		h.untouched(t)
	}
}

// silentListener listens and does not accept; a TLS handshake with it does not proceed.
func silentListener(t testing.TB) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// The cause of the context is in the error. The loop, which a callback blocks, is not waited for.
func TestTheEndOfTheContextCancelsADialContext(t *testing.T) {
	silent := silentListener(t)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	h := newCaller()
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("changed my mind")
	failed := make(chan error, 1)
	go func() {
		_, err := s.DialContext(ctx, "tcp", silent, &server.DialConfig{Handler: h, TLS: clientTLS()})
		failed <- err
	}()
	testkit.Until(t, "the attempt", func() bool { return server.OutgoingConns(s.Server) == 1 })
	release := make(chan struct{})
	testkit.Must(t, s.Loop(0).Post(func() { <-release }))
	cancel(cause)
	testkit.CheckErr(t, "DialContext", testkit.Await(t, failed, "its end"), cause, server.ErrAborted)
	close(release)
	testkit.Until(t, "the end of the attempt", func() bool { return server.OutgoingConns(s.Server) == 0 })
	h.untouched(t)
}

// The context ends at any time: DialContext returns either a connection, which is not affected, or an error, and nothing is left.
func TestADialContextThatIsCancelledAtAnyTimeLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		opened, failed := 0, 0
		for i := range 200 {
			h := newCaller()
			ctx, cancel := context.WithCancel(context.Background())
			var turns atomic.Int32
			go func() {
				for int(turns.Add(1)) < i {
					runtime.Gosched()
				}
				cancel()
			}()
			c, err := s.DialContext(ctx, s.addr.Network(), s.addr.String(), dialConfig(r, h))
			cancel()
			if err != nil {
				testkit.CheckErr(t, "DialContext", err, context.Canceled)
				h.untouched(t)
				failed++
				continue
			}
			opened++
			_, err = c.WriteString("line\n")
			testkit.Must(t, err)
			testkit.WantEqual(t, "the answer", testkit.Await(t, h.lines, "the answer"), "line")
			c.Close()
			testkit.Must(t, testkit.Await(t, h.closed, "Close"))
		}
		testkit.Until(t, "the end of all connections", func() bool { return s.Stats().OpenConns == 0 })
		t.Logf("%d opened, %d failed", opened, failed)
	})
}

// In callbacks it returns ErrOnLoop, also on the loops of other servers, of the program, and with the thread driver.
func TestDialContextOnALoopIsRefused(t *testing.T) {
	backend := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	for name, srv := range map[string]*server.Server{
		"leaders":  {},
		"thread":   {LoopConfig: &event.Config{Driver: event.DriverThread}},
		"UseLoops": {UseLoops: programLoops(t, 1, event.DriverDefault)},
	} {
		srv.Handler = echoLines()
		s := start(t, rig{"tcp", false, 0}, srv)
		for _, caller := range []*running{s, backend} {
			if name == "UseLoops" && caller == backend {
				continue // only its own server knows that it is a loop
			}
			failed := make(chan error, 2)
			testkit.Must(t, s.Loop(0).Post(func() {
				_, err := caller.DialContext(context.Background(), "tcp", backend.addr.String(), nil)
				failed <- err
				failed <- caller.Blocking()
			}))
			testkit.CheckErr(t, name, testkit.Await(t, failed, "DialContext"), event.ErrOnLoop)
			testkit.CheckErr(t, name, testkit.Await(t, failed, "Blocking"), event.ErrOnLoop)
		}
	}
}

// The connection is on the same loop. The ticks are stopped, so that only DialContext can make another goroutine run the loop.
func TestDialContextDoesNotBlockTheLoopOfAHandler(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		for _, workers := range []int{1, 8} {
			backend := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
			var inline atomic.Uint64
			d := placed(server.OnLoop, func(w server.Reply, line string) string {
				if server.BeganOnLoop(w) { // unless the worker that had the loop before is not idle yet
					inline.Add(1)
				}
				h := newCaller()
				c, err := w.Conn().Server().DialContext(w.Context(), "tcp", backend.addr.String(), &server.DialConfig{Handler: h, Near: w.Conn()})
				if err != nil {
					return err.Error()
				}
				defer c.Close()
				if _, err = c.WriteString(line + "\n"); err != nil {
					return err.Error()
				}
				return <-h.lines
			})
			s := start(t, r, &server.Server{NumLoops: 1, Workers: workers, Handler: d})
			server.StopTicks(s.Server)
			nc := s.dial(t)
			for range 20 {
				testkit.Must(t, pipelined(nc, "hello", 1))
			}
			hangUp(nc)
			s.shutdown(t)
			if st := s.routes(); st.TakenOver != inline.Load() || st.TakenOver == 0 {
				t.Errorf("%d workers: the loop was given up %d times by %d requests", workers, st.TakenOver, inline.Load())
			}
		}
	})
}

// The stack of the call may be deep.
func TestBlockingKnowsTheGoroutineOfALoopUnderManyFrames(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	for _, depth := range []int{0, 1, 50, 60, 61, 62, 63, 64, 65, 130, 1000} {
		failed := make(chan error, 1)
		testkit.Must(t, s.Loop(0).Post(func() { failed <- below(depth, s.Blocking) }))
		testkit.CheckErr(t, "Blocking in a callback", testkit.Await(t, failed, "Blocking"), event.ErrOnLoop)
		testkit.Must(t, below(depth, s.Blocking))
	}
}

func below(depth int, f func() error) error {
	if depth == 0 {
		return f()
	}
	return below(depth-1, f)
}

func TestBlockingDoesNotAllocate(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	if n := testing.AllocsPerRun(1000, func() { testkit.Must(t, s.Blocking()) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A handler that still runs may need a connection that it does not have yet. When no handler runs any more, dials are refused.
func TestHandlersMayDialDuringShutdown(t *testing.T) {
	backend := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	each(t, func(t *testing.T, r rig) {
		begun, release := make(chan struct{}), make(chan struct{})
		h := newCaller()
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			close(begun)
			<-release
			c, err := w.Conn().Server().DialContext(w.Context(), "tcp", backend.addr.String(), &server.DialConfig{Handler: h})
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = c.WriteString("question\n") // without it there is no answer
			_, _ = w.WriteString(<-h.lines)
		})})
		nc, idle := s.dial(t), s.dial(t)
		send(t, idle, "")
		send(t, nc, "go\n")
		testkit.Await(t, begun, "the request")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the begin of the shutdown", func() bool { return server.IsEnding(s.Server) })
		close(release)
		expect(t, nc, "question")
		hangUp(nc, idle)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		testkit.CheckErr(t, "Close", testkit.Await(t, h.closed, "Close"), server.ErrServerClosed)
		_, err := s.DialContext(context.Background(), "tcp", backend.addr.String(), &server.DialConfig{Handler: h})
		testkit.CheckErr(t, "DialContext", err, server.ErrServerClosed)
	})
}

// A dial that is under way when a shutdown ends the connections that were dialled fails with ErrServerClosed; one that begins then is refused.
func TestDialContextsEndWithTheServer(t *testing.T) {
	silent := silentListener(t)
	s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: echoLines()})
	failed := make(chan error, 100)
	for range 50 {
		go func() {
			for {
				_, err := s.DialContext(context.Background(), "tcp", silent, &server.DialConfig{TLS: clientTLS(), Timeout: -1})
				failed <- err
				if err != nil {
					return
				}
			}
		}()
	}
	testkit.Until(t, "some attempts", func() bool { return server.OutgoingConns(s.Server) > 10 })
	s.shutdown(t)
	for range 50 {
		testkit.CheckErr(t, "DialContext", testkit.Await(t, failed, "its end"), server.ErrServerClosed)
	}
}
