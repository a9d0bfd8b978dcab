package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The tests of this file run with server.Dispatcher and with userDispatcher.

// eachDispatcherAndConcurrency runs test with each implementation, for one request of a connection at a time and for several.
func eachDispatcherAndConcurrency(t *testing.T, test func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler)) {
	eachDispatcher(t, func(t *testing.T, handler func(d *server.Dispatcher) server.Handler) {
		for _, concurrent := range []int{1, 4} {
			t.Run(fmt.Sprint("concurrent=", concurrent), func(t *testing.T) { test(t, concurrent, handler) })
		}
	})
}

// Answers come in the order of the requests, and as many requests of a connection are in progress at once as the limit permits.
func TestADispatcherKeepsTheOrderAndTheLimit(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		const requests = 300
		var running, most atomic.Int32
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, line []byte) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			runtime.Gosched()
			running.Add(-1)
			_, _ = w.Write(append(line, '\n'))
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "request", requests))
		if n := most.Load(); n > int32(concurrent) {
			t.Errorf("%d requests were in progress at once, the limit is %d", n, concurrent)
		}
		hangUp(nc)
		s.shutdown(t)
		if st := s.Stats(); st.Requests != requests || st.BufferedBytes != 0 {
			t.Errorf("%d requests answered, %d bytes buffered; want %d, 0", st.Requests, st.BufferedBytes, requests)
		}
	})
}

// The answers to the earlier requests are sent first. Then the connection is closed with the error.
func TestADispatcherReportsABadStreamInItsTurn(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		for _, atEOF := range []bool{false, true} {
			release := make(chan struct{})
			reasons, closed := closings()
			d := &server.Dispatcher{Framing: framing.Delimiter{Delim: []byte("|"), Max: 10}, Concurrent: concurrent, Closed: closed,
				Serve:     func(w server.Reply, m []byte) { <-release; _, _ = w.Write(m) },
				Malformed: func(c *server.Conn, _ error) { _, _ = c.WriteString(" error") }}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
			nc := s.dial(t)
			want := framing.ErrTooLong
			if send(t, nc, "a|b|"); atEOF {
				want = io.ErrUnexpectedEOF
				send(t, nc, "half")
				closeWrite(t, nc)
			} else {
				send(t, nc, strings.Repeat("x", 20))
			}
			testkit.Until(t, "the request", func() bool { return s.Stats().RunningRequests > 0 })
			close(release)
			expect(t, nc, "ab error")
			expectEOF(t, nc)
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), want)
		}
	})
}

// Several requests may come in one piece.
func TestADispatcherFramesEachRequestOnce(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		const requests = 1000
		var found atomic.Int32
		split := func(data []byte, atEOF bool) (int, []byte, error) {
			n, line, err := bufio.ScanLines(data, atEOF)
			if line != nil {
				found.Add(1)
			}
			return n, line, err
		}
		d := server.Dispatch(split, func(w server.Reply, line []byte) { _, _ = w.Write(append(line, '\n')) })
		d.Concurrent = concurrent
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
		testkit.Must(t, pipelined(s.dial(t), "request", requests))
		if n := found.Load(); n != requests {
			t.Errorf("%d requests were found %d times", requests, n)
		}
	})
}

// The first message of a batch may be one of them.
func TestADispatcherTakesMessagesThatAreNoPartOfTheInput(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		upper := func(data []byte, atEOF bool) (int, []byte, error) {
			n, line, err := bufio.ScanLines(data, atEOF)
			if line != nil {
				line = []byte("<" + strings.ToUpper(string(line)) + ">")
			}
			return n, line, err
		}
		d := server.Dispatch(upper, func(w server.Reply, m []byte) { _, _ = w.Write(m) })
		d.Concurrent = concurrent
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
		nc := s.dial(t)
		send(t, nc, "a\n\nb")
		expect(t, nc, "<A><>")
		send(t, nc, "c\nd\ne")
		closeWrite(t, nc)
		expect(t, nc, "<BC><D><E>")
		expectEOF(t, nc)
	})
}

// A Dispatcher that a request sets handles the input after that request, whatever the types of both Dispatchers are.
func TestAnotherDispatcherTakesOver(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		for name, next := range dispatchers {
			t.Run("to "+name, func(t *testing.T) {
				fixed := next(&server.Dispatcher{Framing: framing.Fixed{Size: 3}, Concurrent: 5 - concurrent, Serve: func(w server.Reply, m []byte) {
					_, _ = fmt.Fprintf(w, "(%s)", m)
				}})
				begun, release := make(chan struct{}, 1), make(chan struct{})
				d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, line []byte) {
					testkit.Must(t, w.Conn().SetHandler(fixed))
					begun <- struct{}{}
					<-release
					_, _ = fmt.Fprintf(w, "[%s]", line)
				}}
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
				nc := s.dial(t)
				send(t, nc, "switch\n")
				testkit.Await(t, begun, "the request")
				send(t, nc, "ab\ncde")
				close(release)
				expect(t, nc, "[switch](ab\n)(cde)")
				closeWrite(t, nc)
				expectEOF(t, nc)
			})
		}
	})
}

// No other connection ends. The handler panics with OnPanic, or calls runtime.Goexit, before, between and after writes.
func TestAnEndOfTheHandlersGoroutineEndsItsConnection(t *testing.T) {
	flush := func(w server.Reply) { _ = w.Flush() }
	write := func(w server.Reply) { _, _ = w.WriteString("x") }
	long := func(w server.Reply) { _, _ = w.Write(make([]byte, 100<<10)) }
	stops := map[string]func(){"panic": func() { panic("of the test") }, "Goexit": runtime.Goexit}
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		for name, stop := range stops {
			for i, before := range []func(w server.Reply){func(server.Reply) {}, write, flush, long} {
				reasons, closed := closings()
				d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Closed: closed, Serve: func(w server.Reply, line []byte) {
					if string(line) == "stop" {
						before(w)
						stop()
					}
					_, _ = w.Write(append(line, '\n'))
				}}
				s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 2, Handler: handler(d), OnPanic: func(*server.Conn, any, []byte) {}})
				other, nc := s.dial(t), s.dial(t)
				testkit.Must(t, pipelined(other, "before", 3))
				send(t, nc, "a\nstop\nb\nc\n")
				if reason := testkit.Await(t, reasons, "Close"); !errors.Is(reason, server.ErrPanic) {
					t.Errorf("%s %d: the reason is %v", name, i, reason)
				}
				for range 5 { // all workers run
					testkit.Must(t, pipelined(other, "after", 3))
				}
				hangUp(other, nc)
				s.shutdown(t)
				s.drained(t)
			}
		}
	})
}

// The requests wait for room in the queue, are in progress, or are answered before an older one. All are answered.
func TestShutdownAnswersRequestsInEachState(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		begun, release := make(chan struct{}, 10), make(chan struct{})
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, line []byte) {
			if string(line) == "first" {
				begun <- struct{}{}
				<-release
			}
			_, _ = w.Write(append(line, '\n'))
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 2, Queue: 1, Handler: handler(d)})
		one, two, three := s.dial(t), s.dial(t), s.dial(t)
		send(t, one, "first\nsecond\nthird\n")
		testkit.Await(t, begun, "the first request")
		send(t, two, "first\nsecond\n")
		testkit.Await(t, begun, "another request")
		send(t, three, "waits\n")
		testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead == 19+13+6 })
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown's begin", func() bool { return errors.Is(s.Start(), server.ErrServerClosed) })
		close(release)
		expect(t, one, "first\nsecond\nthird\n")
		expect(t, two, "first\nsecond\n")
		expect(t, three, "waits\n")
		hangUp(one, two, three)
		testkit.Must(t, testkit.Await(t, ended, "Shutdown's end"))
		s.drained(t)
	})
}

// The rule holds for both Dispatchers.
func TestARequestDoesNotAllocate(t *testing.T) {
	if server.AssertsLoop {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, line []byte) {
			_, _ = w.Write(line)
			_, _ = w.WriteString("\n")
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
		nc := s.dial(t)
		p := []byte("one\ntwo\nthree\n")
		trip := func() {
			if _, err := nc.Write(p); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(nc, p); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			trip()
		}
		if n := allocations(0, trip); n != 0 {
			t.Errorf("%.1f allocations for three requests", n)
		}
	})
}

// WhenFull says which. A refused request is answered with BusyText in its turn, and counted with its connection's other requests.
func TestAFullQueueRefusesOrCloses(t *testing.T) {
	eachDispatcherAndConcurrency(t, func(t *testing.T, concurrent int, handler func(d *server.Dispatcher) server.Handler) {
		for _, policy := range []server.FullPolicy{server.FullRefuse, server.FullCloseConn} {
			release, begun := make(chan struct{}), make(chan struct{}, 10)
			reasons, closed := closings()
			d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Closed: closed, Serve: func(w server.Reply, line []byte) {
				begun <- struct{}{}
				<-release
				_, _ = w.Write(append(line, '\n'))
			}}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 1, Queue: 1, WhenFull: policy, BusyText: "busy\n", Handler: handler(d)})
			one, two, three := s.dial(t), s.dial(t), s.dial(t)
			send(t, one, "one\n")
			testkit.Await(t, begun, "the first request")
			send(t, two, "two\n")
			testkit.Until(t, "the second request", func() bool { return s.Stats().QueuedRequests == 1 })
			if send(t, three, "a\nb\nc\n"); policy == server.FullRefuse {
				expect(t, three, "busy\nbusy\nbusy\n")
			} else {
				testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrOverload)
			}
			close(release)
			expect(t, one, "one\n")
			expect(t, two, "two\n")
			if policy == server.FullRefuse {
				send(t, three, "d\n")
				expect(t, three, "d\n")
			}
			hangUp(one, two, three)
			s.shutdown(t)
			s.drained(t)
		}
	})
}

// The requests have ended before an older one, whose function still runs when the connection is aborted. Their memory is used again for other
// connections.
func TestAnswersThatWaitEndWithTheirConnection(t *testing.T) {
	eachDispatcher(t, func(t *testing.T, handler func(d *server.Dispatcher) server.Handler) {
		begun, release := make(chan *server.Conn, 1), make(chan struct{})
		var ended atomic.Int32
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: 4, Serve: func(w server.Reply, line []byte) {
			if string(line) == "first" {
				begun <- w.Conn()
				<-release
			}
			_, _ = w.Write(append(line, '\n'))
			ended.Add(1)
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d)})
		nc := s.dial(t)
		send(t, nc, "first\na\nb\nc\n")
		c := testkit.Await(t, begun, "the first request")
		testkit.Until(t, "the others' ends", func() bool { return ended.Load() == 3 })
		c.Abort()
		other := s.dial(t)
		testkit.Must(t, pipelined(other, "other", 50))
		close(release)
		testkit.Must(t, pipelined(other, "other", 50))
		hangUp(nc, other)
		s.shutdown(t)
		s.drained(t)
	})
}
