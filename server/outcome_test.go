package server_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// After Listener.Close, Serve and ListenAndServe return ErrListenerClosed; Listener.Wait returns nil.
func TestServeNeverReturnsNil(t *testing.T) {
	for name, serve := range map[string]func(s *server.Server) error{
		"ListenAndServe": func(s *server.Server) error { return s.ListenAndServe("tcp", "127.0.0.1:0") },
		"Serve": func(s *server.Server) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			return s.Serve(l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server.Server{Handler: calls{}, NumLoops: 1}
			defer func() { testkit.Must(t, s.Close()) }()
			served := make(chan error, 1)
			go func() { served <- serve(s) }()
			testkit.Until(t, "the listener", func() bool { return len(s.Listeners()) == 1 })
			ln := s.Listeners()[0]
			testkit.Must(t, ln.Close())
			err := testkit.Await(t, served, name)
			testkit.CheckErr(t, name, err, server.ErrListenerClosed)
			testkit.CheckErr(t, name, err, net.ErrClosed)
			if errors.Is(err, server.ErrServerClosed) {
				t.Errorf("%s: %v, and the server is not closed", name, err)
			}
			testkit.Must(t, ln.Wait())
		})
	}
}

// The outcome of a shutdown whose context has ended is an error, also in later calls, whether their context has ended or not. Close
// after the end returns nil.
func TestEachShutdownReturnsTheOutcomeOfTheFirst(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(server.Reply, []byte) {
		close(begun)
		<-release
	})})
	nc := s.dial(t)
	send(t, nc, "stuck\n")
	testkit.Await(t, begun, "the request")
	cause := errors.New("no time")
	first := s.Shutdown(endedContext(cause))
	close(release)
	var late *server.ShutdownError
	if !errors.As(first, &late) || late.Handlers != 1 || late.Conns != 1 {
		t.Fatalf("Shutdown: %v; want a ShutdownError with a handler and a connection", first)
	}
	for range 20 {
		for _, ctx := range []context.Context{context.Background(), endedContext(errors.New("another"))} {
			if err := s.Shutdown(ctx); err != first {
				t.Fatalf("a later Shutdown: %v; want %v", err, first)
			}
		}
	}
	testkit.Must(t, s.Close())
}

// The outcome is nil, although connections were aborted.
func TestAShutdownAfterCloseReturnsTheOutcomeOfClose(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	_, _ = p.connect(t, s)
	testkit.Must(t, s.Close())
	testkit.Must(t, s.Shutdown(context.Background()))
	testkit.Must(t, s.Shutdown(endedContext(errors.New("no time"))))
}

// Every further Shutdown returns nil, too, and the server cannot be started.
func TestAShutdownBeforeStartReturnsNil(t *testing.T) {
	s := &server.Server{Handler: calls{}}
	testkit.Must(t, s.Shutdown(endedContext(errors.New("no time"))))
	testkit.Must(t, s.Shutdown(context.Background()))
	testkit.Must(t, s.Close())
	testkit.CheckErr(t, "Start", s.Start(), server.ErrServerClosed)
}

// Whatever the reason of the close was, the peer reads a reset, and the handler's Close is called with both reasons.
func TestAbortResetsAConnectionThatIsBeingClosed(t *testing.T) {
	own := errors.New("the program's own")
	for name, reason := range map[string]error{"Close": nil, "CloseWithError": own, "a kind of the package": server.ErrTooLong} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(calls{})
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, Socket: tight()})
			c, nc := p.connect(t, s)
			_ = fill(t, c, 64<<10) // so that the close has to wait for the client
			testkit.Must(t, c.CloseWithError(reason))
			onLoop(t, c, func() {})
			c.Abort()
			err := testkit.Await(t, p.closed, "Close")
			testkit.CheckErr(t, "Close", err, server.ErrAborted)
			if reason != nil {
				testkit.CheckErr(t, "Close", err, reason)
			}
			testkit.Must(t, nc.SetReadDeadline(time.Now().Add(testkit.Patience)))
			if _, err := readAll(nc); !isGone(err) {
				t.Errorf("the client read %v; want a reset", err)
			}
		})
	}
}

// readAll reads and discards everything up to an error.
func readAll(nc net.Conn) (n int, err error) {
	buf := make([]byte, 64<<10)
	for {
		more, err := nc.Read(buf)
		n += more
		if err != nil {
			return n, err
		}
	}
}
