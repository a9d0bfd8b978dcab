package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// endedContext returns a context that has ended with the cause.
func endedContext(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

// They end in order, with ErrServerClosed.
func TestShutdownEndsIdleConnections(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d := echoLines()
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		var clients []net.Conn
		for range 20 {
			nc := s.dial(t)
			testkit.Must(t, pipelined(nc, "hello", 1))
			clients = append(clients, nc)
		}
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		for _, nc := range clients {
			expectEOF(t, nc)
			hangUp(nc)
		}
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		for range clients {
			if reason := testkit.Await(t, reasons, "Close"); reason != server.ErrServerClosed {
				t.Errorf("Close was called with %v", reason)
			}
		}
		if _, err := net.Dial(s.addr.Network(), s.addr.String()); err == nil {
			t.Error("the listener still takes connections")
		}
	})
}

// These are a request in progress, those after it, and those that the client has sent and the server has not read.
func TestShutdownAnswersTheRequestsThatWereSent(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, release := make(chan struct{}, 1), make(chan struct{})
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			if string(line) == "wait" {
				begun <- struct{}{}
				<-release
			}
			_, _ = w.Write(append(line, '\n'))
		})})
		nc := s.dial(t)
		send(t, nc, "wait\nfirst\nsecond\n")
		testkit.Await(t, begun, "the request")
		send(t, nc, "third\n")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		send(t, nc, "fourth\n")
		arrives(t, nc)
		close(release)
		expect(t, nc, "wait\nfirst\nsecond\nthird\nfourth\n")
		expectEOF(t, nc)
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		if st := s.Stats(); st.Requests != 5 || st.BufferedBytes != 0 || st.OpenConns != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Shutdown returns at its context's end, with the number of running handlers and the cause.
func TestABlockedHandlerDoesNotDelayShutdown(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		begun, release := make(chan struct{}, 2), make(chan struct{})
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			begun <- struct{}{}
			<-release
		})
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		for range 2 {
			nc := s.dial(t)
			send(t, nc, "stuck\n")
			testkit.Await(t, begun, "a handler's begin")
		}
		idle := s.dial(t)
		send(t, idle, "no end of line")
		testkit.Until(t, "the idle client", func() bool { return s.Stats().BytesRead == 26 })

		cause := errors.New("no testkit.Patience")
		err := s.Shutdown(endedContext(cause))
		var late *server.ShutdownError
		if !asError(err, &late) || late.Handlers != 2 || late.Conns != 3 {
			t.Errorf("Shutdown: %v; want 2 handlers and 3 connections", err)
		}
		testkit.CheckErr(t, "Shutdown", err, cause)
		for range 3 {
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrServerClosed)
		}
		close(release)
		testkit.CheckErr(t, "a further Shutdown", s.Shutdown(context.Background()), cause)
	})
}

// The deadline may pass while Shutdown waits.
func TestShutdownEndsAtItsDeadline(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun := make(chan struct{})
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			close(begun)
			<-w.Context().Done()
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		testkit.Await(t, begun, "the request")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		testkit.CheckErr(t, "Shutdown", s.Shutdown(ctx), context.DeadlineExceeded)
	})
}

// Each answer that a client has received in part arrives whole and in order, every waiter returns, nothing is left, and the shutdown
// ends although no client stops sending.
func TestShutdownUnderLoadLosesNoAnswer(t *testing.T) {
	body := strings.Repeat("x", 500)
	each(t, func(t *testing.T, r rig) {
		for round := range 5 {
			d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
				_, _ = fmt.Fprintf(w, "%s %s\n", line, body)
			})
			d.Concurrent = round % 3
			s := start(t, r, &server.Server{MaxOutput: 64 << 10, Handler: d})
			var clients sync.WaitGroup
			answered := make(chan struct{})
			for range 8 {
				nc := s.dial(t)
				clients.Go(func() {
					defer nc.Close()
					window, over := make(chan struct{}, 50), make(chan struct{})
					defer close(over)
					go func() {
						for i := 0; ; i++ {
							select {
							case window <- struct{}{}:
							case <-over:
								return
							}
							if _, err := fmt.Fprintln(nc, i); err != nil {
								return // the server has ended
							}
						}
					}()
					in := bufio.NewReader(nc)
					for i := 0; ; i++ {
						line, err := in.ReadString('\n')
						<-window
						if err != nil {
							if line != "" || err != io.EOF && !r.tls {
								t.Errorf("after %d answers %d bytes of another came, and %v", i, len(line), err)
							}
							return
						}
						if line != fmt.Sprintf("%d %s\n", i, body) {
							t.Errorf("answer %d is %.20q", i, line)
							return
						}
						if i == 20 {
							answered <- struct{}{}
						}
					}
				})
			}
			for range 8 {
				testkit.Await(t, answered, "some answers")
			}
			s.shutdown(t)
			clients.Wait()
			if st := s.Stats(); st.BufferedBytes != 0 || st.OpenConns != 0 || st.Opened != st.Closed || st.RunningRequests+st.QueuedRequests != 0 {
				t.Errorf("%+v", st)
			}
		}
	})
}

// Close may be called meanwhile. All calls return, the later ones when the first has.
func TestShutdownMayBeCalledAgain(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, release := make(chan struct{}), make(chan struct{})
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			close(begun)
			<-release
			_, _ = w.WriteString("done\n")
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		testkit.Await(t, begun, "the request")
		done := make(chan error, 3)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown", func() bool { return errors.Is(s.Start(), server.ErrServerClosed) })
		impatient := errors.New("no testkit.Patience")
		testkit.CheckErr(t, "a second Shutdown", s.Shutdown(endedContext(impatient)), impatient)
		for range 2 {
			go func() { done <- s.Shutdown(context.Background()) }()
		}
		close(release)
		expect(t, nc, "done\n")
		expectEOF(t, nc)
		hangUp(nc)
		for range 3 {
			testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		}
		testkit.Must(t, s.Close())
		testkit.Must(t, s.Shutdown(context.Background()))
	})
}

// The shutdown waits for a client that does not close.
func TestCloseEndsAShutdown(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{CloseTimeout: -1, Handler: echoLines()})
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "hello", 1))
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		expectEOF(t, nc) // the client keeps its half open
		testkit.Must(t, s.Close())
		if err := testkit.Await(t, done, "Shutdown's end"); err != nil {
			testkit.CheckErr(t, "Shutdown", err, server.ErrServerClosed)
		}
	})
}

// It would wait for itself.
func TestShutdownInACallbackIsRefused(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
			testkit.CheckErr(t, "Shutdown", c.Server().Shutdown(context.Background()), event.ErrOnLoop)
			testkit.CheckErr(t, "Close", c.Server().Close(), event.ErrOnLoop)
			return echo(c, p)
		}}})
		nc := s.dial(t)
		send(t, nc, "hello")
		expect(t, nc, "hello")
		hangUp(nc)
		s.shutdown(t)
	})
}

// A handler calls CloseWrite for the last input that a shutdown reads. The connection is not read afterwards, and still ends when its
// client closes.
func TestShutdownEndsConnectionsThatAreHalfClosedDuringIt(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const high, size = 100_000, 4 << 20
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			return len(p), c.CloseWrite()
		}})
		s := start(t, r, &server.Server{Handler: p, HighWater: high, LowWater: high / 2, Socket: tight()})
		c, nc := p.connect(t, s)
		testkit.Must(t, c.WriteNotify(make([]byte, size), nil))
		testkit.Until(t, "the high mark", func() bool { return c.Stats().BufferedBytes >= high })
		send(t, nc, "bye") // which is not read above the high mark
		arrives(t, nc)
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown", func() bool { return server.IsDraining(c) })
		if n, err := io.Copy(io.Discard, nc); n != size || err != nil {
			t.Fatalf("read %d bytes, %v; want %d and the end", n, err, size)
		}
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
	})
}

// They end when CloseTimeout has passed, if the client does not close.
func TestShutdownEndsHalfClosedConnections(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: 10 * time.Millisecond})
		c, nc := p.connect(t, s)
		testkit.Must(t, c.CloseWrite())
		expectEOF(t, nc)
		s.shutdown(t)
	})
}

// Connections that have not sent a whole ClientHello or PROXY header are closed. The loop makes no turns without work.
func TestShutdownEndsConnectionsBeforeTheirHandshake(t *testing.T) {
	t.Parallel()
	for _, begun := range []string{"", "\x16\x03\x01\x02", "PROXY TCP4 1."} {
		p := newProbe(calls{})
		srv := &server.Server{Handler: p, ProxyProtocol: begun[:min(1, len(begun))] == "P"}
		s := start(t, rig{"tcp", !srv.ProxyProtocol, 1}, srv)
		nc := s.dialPlain(t)
		send(t, nc, begun)
		testkit.Until(t, "the connection", func() bool { return s.Stats().OpenConns == 1 })
		arrives(t, nc)
		s.awaitIdle(t) // a close with unread input would be a reset
		isIdle(t, s)
		turns := s.Stats().Loops[0].Loop.Turns
		s.shutdown(t)
		expectEOF(t, nc)
		if n := s.Stats().Loops[0].Loop.Turns - turns; n > 100 {
			t.Errorf("after %q the loop made %d turns", begun, n)
		}
		if len(p.opened)+len(p.closed) > 0 {
			t.Error("the handler was called")
		}
	}
}

// The ClientHello has arrived before the shutdown. The server may not have read it yet.
func TestShutdownFinishesAHandshake(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
		close(begun)
		<-release
		return len(p), nil
	}}})
	first, second := s.dial(t), s.dialPlain(t)
	testkit.Until(t, "the connections", func() bool { return s.Stats().OpenConns == 2 })
	send(t, first, "x")
	testkit.Await(t, begun, "the loop's callback")
	hello := make(chan struct{}, 1)
	client := tls.Client(reportingConn{second, hello}, clientTLS())
	handshaken := make(chan error, 1)
	go func() { handshaken <- client.Handshake() }()
	testkit.Await(t, hello, "the ClientHello")
	arrives(t, second)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	testkit.Until(t, "the shutdown", func() bool { return server.IsEnding(s.Server) })
	close(release)
	testkit.Must(t, testkit.Await(t, handshaken, "the handshake"))
	expectEOF(t, client)
	hangUp(client, first)
	testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
}

// reportingConn reports each write after it.
type reportingConn struct {
	net.Conn
	wrote chan struct{}
}

func (w reportingConn) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	offer(w.wrote, struct{}{})
	return n, err
}
