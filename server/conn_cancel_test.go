package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// canceling returns a Dispatcher of lines with CancelOnEOF, whose requests wait for the end of their context or for resume, and then answer
// with the line; "now" is answered at once. begun has the requests that have begun. With later, they are deferred.
func canceling(t *testing.T, concurrent int, p server.Placement, later bool) (d *server.Dispatcher, begun chan server.Reply, resume chan struct{}) {
	begun, resume = make(chan server.Reply, 100), make(chan struct{}, 100)
	d = several(concurrent, func(w server.Reply, line []byte) {
		answer := string(line) + "\n"
		if strings.HasPrefix(answer, "now") {
			_, _ = w.WriteString(answer)
			return
		}
		wait := func() {
			select {
			case <-w.Context().Done():
				answer = "canceled " + answer
			case <-resume:
			}
			_, _ = w.WriteString(answer) // fails after a reset
		}
		if !later {
			begun <- w
			wait()
			return
		}
		if err := w.Defer(time.Hour); err != nil {
			t.Errorf("Defer: %v", err)
		}
		begun <- w
		go func() {
			wait()
			_ = w.Close() // fails after a reset
		}()
	})
	d.CancelOnEOF, d.Placement = true, p
	return d, begun, resume
}

// eachCanceling runs test with requests on the loop, on workers and deferred.
func eachCanceling(t *testing.T, test func(t *testing.T, r rig, p server.Placement, later bool)) {
	t.Helper()
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("deferred=%v", later), func(t *testing.T) { test(t, r, p, later) })
		}
	})
}

// The client has closed its sending half, and no input is unread. The answer is still sent, since the client may wait for it. Then the
// connection ends as always.
func TestCancelOnEOFEndsTheContext(t *testing.T) {
	eachCanceling(t, func(t *testing.T, r rig, p server.Placement, later bool) {
		d, begun, _ := canceling(t, 1, p, later)
		closed := make(chan error, 1)
		d.Closed = func(_ *server.Conn, reason error) { closed <- reason }
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "now\na\n")
		expect(t, nc, "now\n")
		w := testkit.Await(t, begun, "the request")
		closeWrite(t, nc)
		testkit.Await(t, w.Context().Done(), "the end of the context")
		cause := context.Cause(w.Context())
		testkit.CheckErr(t, "the cause", cause, server.ErrPeerClosed)
		testkit.CheckErr(t, "the cause", cause, io.EOF)
		expect(t, nc, "canceled a\n")
		expectEOF(t, nc)
		testkit.CheckErr(t, "Close", testkit.Await(t, closed, "Close"), io.EOF)
		testkit.CheckErr(t, "the cause later", context.Cause(w.Conn().Context()), server.ErrPeerClosed)
		hangUp(nc)
		s.shutdown(t)
		s.drained(t)
	})
}

// A context that is asked for later has ended, too.
func TestCancelOnEOFEndsAContextThatIsAskedForLater(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, resume := make(chan *server.Conn, 1), make(chan struct{})
		d := several(1, func(w server.Reply, _ []byte) {
			begun <- w.Conn()
			<-resume
			_, _ = fmt.Fprintln(w, context.Cause(w.Context()))
		})
		d.CancelOnEOF = true
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\n")
		c := testkit.Await(t, begun, "the request")
		closeWrite(t, nc)
		testkit.Until(t, "the end", func() bool { return server.HasReadEnd(c) })
		close(resume)
		expect(t, nc, server.ErrPeerClosed.Error()+"\n")
	})
}

// The client may wait for the answer although it has closed its half. Only the handler knows whether it does so.
func TestWithoutCancelOnEOFTheContextDoesNotEnd(t *testing.T) {
	eachCanceling(t, func(t *testing.T, r rig, p server.Placement, later bool) {
		d, begun, resume := canceling(t, 1, p, later)
		d.CancelOnEOF = false
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\n")
		w := testkit.Await(t, begun, "the request")
		closeWrite(t, nc)
		twoTurns(t, w.Conn())
		testkit.Must(t, w.Context().Err())
		resume <- struct{}{}
		expect(t, nc, "a\n")
		expectEOF(t, nc)
	})
}

// The further requests are answered, and their context does not end: they were unread when the client closed its half.
func TestUnreadInputKeepsTheContext(t *testing.T) {
	eachCanceling(t, func(t *testing.T, r rig, p server.Placement, later bool) {
		for _, input := range [][2]string{{"a\nb\nc", ""}, {"a\n", "b\nc"}, {"a\nb\n", "c"}} {
			d, begun, resume := canceling(t, 1, p, later)
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, input[0])
			w := testkit.Await(t, begun, "the request")
			send(t, nc, input[1])
			testkit.Until(t, "the input", func() bool { return w.Conn().Stats().BytesRead == 5 })
			closeWrite(t, nc)
			testkit.Until(t, "the end", func() bool { return server.HasReadEnd(w.Conn()) })
			for _, want := range []string{"a\n", "b\n", "c\n"} {
				testkit.Must(t, w.Context().Err())
				resume <- struct{}{}
				expect(t, nc, want)
			}
			expectEOF(t, nc)
		}
	})
}

// The client sends without end while its request is in progress.
func TestInputDuringARequestWithCancelOnEOFIsBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		d, begun, resume := canceling(t, 1, server.OnWorkers, false)
		s := start(t, r, &server.Server{Socket: tight(), Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\n")
		w := testkit.Await(t, begun, "the request")
		const n = 2 << 20
		lines := strings.Repeat("now"+strings.Repeat(" ", 1020)+"\n", n/1024) // long ones, since the test is about bytes, and each takes its time
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(nc, lines)
			sent <- err
		}()
		testkit.Until(t, "the limit", func() bool { return server.IsFull(w.Conn()) })
		if got := w.Conn().Stats().BytesRead; got > 2*server.DefaultMaxInput {
			t.Errorf("%d bytes were read", got)
		}
		isIdle(t, s)
		resume <- struct{}{}
		expect(t, nc, "a\n"+lines)
		testkit.Must(t, testkit.Await(t, sent, "Write"))
	})
}

// The reply ends at once, long before its deadline. Without the option it ends at its deadline.
func TestAResetEndsADeferredReplyWithCancelOnEOF(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, concurrent := range []int{1, 3} {
			d, replies := deferring(t, concurrent)
			d.CancelOnEOF, d.Placement = true, p
			closed := make(chan error, 1)
			d.Closed = func(_ *server.Conn, reason error) { closed <- reason }
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "a\n")
			w := testkit.Await(t, replies, "the request")
			s.deferred(t, 1)
			reset(t, nc)
			testkit.Await(t, w.Context().Done(), "the end of the context")
			if _, tcp := raw(nc).(*net.TCPConn); !tcp || r.tls { // there it may look like an orderly end
				testkit.Must(t, ignore(w.Close()))
				continue
			}
			if reason := testkit.Await(t, closed, "Close"); !isGone(reason) {
				t.Errorf("the reason is %v", reason)
			}
			testkit.CheckErr(t, "Close", w.Close(), server.ErrClosed)
			s.deferred(t, 0)
		}
	})
}

// ignore returns nil.
func ignore(error) error { return nil }

// The end is noticed while fewer requests than Concurrent are in progress.
func TestCancelOnEOFEndsTheContextOfConcurrentRequests(t *testing.T) {
	eachCanceling(t, func(t *testing.T, r rig, p server.Placement, later bool) {
		d, begun, _ := canceling(t, 3, p, later)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nb\n")
		for range 2 {
			testkit.Await(t, begun, "a request")
		}
		closeWrite(t, nc)
		expect(t, nc, "canceled a\ncanceled b\n")
		expectEOF(t, nc)
	})
}

// A reset ends the context as it does without the option, with the reason of the system.
func TestAResetEndsTheContextWithCancelOnEOF(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d, begun, _ := canceling(t, 1, p, false)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\n")
		w := testkit.Await(t, begun, "the request")
		reset(t, nc)
		testkit.Await(t, w.Context().Done(), "the end of the context")
		if cause := context.Cause(w.Context()); !isGone(cause) && !errors.Is(cause, io.EOF) && !errors.Is(cause, io.ErrUnexpectedEOF) {
			t.Errorf("the cause is %v", cause)
		}
	})
}

// The client disconnects while a shutdown waits for its request, and the request ends early.
func TestCancelOnEOFEndsTheContextDuringAShutdown(t *testing.T) {
	eachCanceling(t, func(t *testing.T, r rig, p server.Placement, later bool) {
		d, begun, _ := canceling(t, 1, p, later)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\n")
		w := testkit.Await(t, begun, "the request")
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown", func() bool { return server.IsDraining(w.Conn()) })
		closeWrite(t, nc)
		expect(t, nc, "canceled a\n")
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, ended, "Shutdown"))
	})
}

// countedReads counts the reads of connections.
type countedReads struct {
	sock.Kernel
	reads atomic.Int64
}

func (k *countedReads) Read(fd int, p []byte) (int, error) {
	k.reads.Add(1)
	return k.Kernel.Read(fd, p)
}

// The loop makes one read for each request, as without the option, and does not change the conditions of the event.
func TestQuickRequestsWithCancelOnEOFCostNothing(t *testing.T) {
	for _, p := range []server.Placement{server.OnLoop, server.OnWorkers} {
		const n = 100
		k := &countedReads{}
		d, _, _ := canceling(t, 1, p, false)
		srv := &server.Server{Handler: d}
		srv.SetCalls(k)
		s := start(t, rig{"tcp", false, 1}, srv)
		nc := s.dial(t)
		for range n {
			send(t, nc, "now\n")
			expect(t, nc, "now\n")
		}
		if got := k.reads.Load(); got != n {
			t.Errorf("%v: %d reads for %d requests", p, got, n)
		}
	}
}
