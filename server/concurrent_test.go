package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// several is a Dispatcher of lines that handles n at once.
func several(n int, serve func(w server.Reply, line []byte)) *server.Dispatcher {
	return &server.Dispatcher{Framing: framing.Lines{}, Concurrent: n, Serve: serve}
}

// As many requests as Concurrent, and never more, are in progress. The last one ends first, and the answers are still in order.
func TestConcurrentHandlesNAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const n, requests = 4, 12
		var running, most atomic.Int32
		begun := make(chan chan struct{}, requests)
		s := start(t, r, &server.Server{Workers: 2 * n, Handler: several(n, func(w server.Reply, line []byte) {
			for now := running.Add(1); ; {
				if before := most.Load(); now <= before || most.CompareAndSwap(before, now) {
					break
				}
			}
			release := make(chan struct{})
			begun <- release
			<-release
			running.Add(-1)
			_, _ = w.Write(append(line, '\n'))
		})})
		nc := s.dial(t)
		var all strings.Builder
		for i := range requests {
			fmt.Fprintln(&all, "request", i)
		}
		send(t, nc, all.String())
		for range requests / n {
			var releases []chan struct{}
			for range n {
				releases = append(releases, testkit.Await(t, begun, "a handler's begin"))
			}
			for i := range n {
				close(releases[n-1-i])
			}
		}
		expect(t, nc, all.String())
		if most.Load() != n {
			t.Errorf("%d requests were in progress at once, want %d", most.Load(), n)
		}
		closeWrite(t, nc)
		expectEOF(t, nc)
		s.shutdown(t)
		if st := s.Stats(); st.Requests != requests || st.BufferedBytes != 0 {
			t.Errorf("%d requests answered, %d bytes buffered", st.Requests, st.BufferedBytes)
		}
	})
}

// The requests have random durations and sizes. Some answers are larger than MaxOutput; some requests call Flush before older ones are
// answered.
func TestConcurrentAnswersKeepTheirOrder(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const requests = 400
		answer := func(i int) string {
			size := i % 7 * 100
			if i%50 == 0 {
				size = 150 << 10
			}
			return fmt.Sprintf("%d %s\n", i, strings.Repeat("x", size))
		}
		s := start(t, r, &server.Server{MaxOutput: 64 << 10, Handler: several(6, func(w server.Reply, line []byte) {
			var i int
			_, _ = fmt.Sscan(string(line), &i)
			if rand.IntN(4) == 0 {
				time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
			}
			text := answer(i)
			half := len(text) / 2
			_, err := w.WriteString(text[:half])
			if err == nil && i%3 == 0 {
				err = w.Flush()
			}
			if err == nil {
				_, err = w.WriteString(text[half:])
			}
			if err != nil {
				t.Error(err)
			}
		})})
		nc := s.dial(t)
		go func() {
			for i := range requests {
				_, _ = fmt.Fprintln(nc, i) // a failure shows in the answers
			}
			_ = nc.(halfCloser).CloseWrite()
		}()
		var want bytes.Buffer
		for i := range requests {
			want.WriteString(answer(i))
		}
		got, err := io.ReadAll(nc)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%d bytes came, %v; want %d", len(got), err, want.Len())
		}
		s.shutdown(t)
		if st := s.Stats(); st.Requests != requests || st.BufferedBytes != 0 {
			t.Errorf("%d requests answered, %d bytes buffered", st.Requests, st.BufferedBytes)
		}
	})
}

// After SetHandler, neither a framing that takes one request at a time nor a raw handler overtakes the requests in progress.
func TestAnotherHandlerWaitsForConcurrentRequests(t *testing.T) {
	for name, next := range map[string]server.Handler{
		"one at a time": echoLines(),
		"raw":           calls{data: echo},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				begun, release := make(chan struct{}, 4), make(chan struct{})
				s := start(t, r, &server.Server{NumLoops: 1, Handler: several(4, func(w server.Reply, line []byte) {
					if string(line) == "switch" {
						testkit.Must(t, w.Conn().SetHandler(next))
					}
					begun <- struct{}{}
					<-release
					_, _ = w.Write(append(line, '\n'))
				})})
				nc := s.dial(t)
				send(t, nc, "a\nb\nswitch\n")
				for range 3 {
					testkit.Await(t, begun, "a handler's begin")
				}
				send(t, nc, "after\n")
				var others [3]net.Conn
				for i := range others { // when their requests have begun, the loop has completed a turn
					others[i] = s.dial(t)
					send(t, others[i], "other\n")
					testkit.Await(t, begun, "another client's request")
				}
				close(release)
				for _, other := range others {
					expect(t, other, "other\n")
				}
				expect(t, nc, "a\nb\nswitch\nafter\n")
				send(t, nc, "more\n")
				expect(t, nc, "more\n")
				closeWrite(t, nc)
				expectEOF(t, nc)
			})
		})
	}
}

// Nothing is left of those that were in progress, or waited for their turn.
func TestConcurrentRequestsEndWithTheirConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, ended := make(chan struct{}, 3), make(chan error, 3)
		d := several(3, func(w server.Reply, line []byte) {
			begun <- struct{}{}
			if string(line) == "first" {
				<-w.Context().Done()
			}
			_, err := w.Write(make([]byte, 100<<10))
			ended <- err
		})
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "first\nsecond\nthird\n")
		for range 3 {
			testkit.Await(t, begun, "a handler's begin")
		}
		for c := range s.Conns() {
			c.Abort()
		}
		for range 3 {
			testkit.CheckErr(t, "Write", testkit.Await(t, ended, "a handler's end"), server.ErrClosed, server.ErrAborted)
		}
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrAborted)
		s.shutdown(t)
		if st := s.Stats(); st.BufferedBytes != 0 || st.OpenConns != 0 {
			t.Errorf("%d bytes buffered, %d connections", st.BufferedBytes, st.OpenConns)
		}
	})
}

// bufio.ErrFinalToken ends the stream, when all requests before it are answered.
func TestAConcurrentFinalMessageIsTheLast(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d := several(4, func(w server.Reply, line []byte) { _, _ = w.Write(append(line, '\n')) })
		d.Framing = framing.Split{Func: untilQuit}
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nb\nquit\nnever\n")
		expect(t, nc, "a\nb\nquit\n")
		expectEOF(t, nc)
		hangUp(nc)
		if reason := testkit.Await(t, reasons, "Close"); reason != nil {
			t.Errorf("Close was called with %v", reason)
		}
		s.shutdown(t)
	})
}

// untilQuit is bufio.ScanLines whose last line is quit.
func untilQuit(data []byte, atEOF bool) (int, []byte, error) {
	n, line, err := bufio.ScanLines(data, atEOF)
	if string(line) == "quit" {
		err = bufio.ErrFinalToken
	}
	return n, line, err
}
