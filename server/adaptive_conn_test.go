package server_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// eachPlacementAndTaken runs a test with each placement, and with handlers on the loop that have called Blocking before.
func eachPlacementAndTaken(t *testing.T, test func(t *testing.T, r rig, p server.Placement, before func(w server.Reply))) {
	t.Helper()
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) { test(t, r, p, func(server.Reply) {}) })
	t.Run("taken", func(t *testing.T) {
		each(t, func(t *testing.T, r rig) { test(t, r, server.OnLoop, server.Reply.Blocking) })
	})
}

// callConn calls the method of w's connection that line names.
func callConn(t *testing.T, w server.Reply, line string, next server.Handler, detached chan string) {
	c := w.Conn()
	switch line {
	case "close":
		wantNil(t, line, c.Close())
	case "abort":
		c.Abort()
	case "pause":
		c.PauseRead(nil)
		time.AfterFunc(time.Millisecond, func() { c.ResumeRead(nil) })
	case "handler":
		wantNil(t, line, c.SetHandler(next))
	case "detach":
		wantNil(t, line, c.Detach(func(nc net.Conn, rest []byte, err error) {
			wantNil(t, line, err)
			if nc != nil {
				go func() { _, _ = nc.Write(append([]byte("detached "), rest...)); nc.Close() }()
			}
			detached <- string(rest)
		}))
	case "write":
		_, _ = c.WriteString("before ")
	case "post":
		done := make(chan struct{})
		wantNil(t, line, c.Loop().Post(func() { close(done) }))
		w.Blocking() // it waits for its own loop
		<-done
	}
}

// The methods of Conn do the same in a handler on the loop, in one that has lost the loop, and in one on a worker.
func TestAHandlerMayCallTheMethodsOfItsConnection(t *testing.T) {
	eachPlacementAndTaken(t, func(t *testing.T, r rig, p server.Placement, before func(w server.Reply)) {
		reasons, closed := closings()
		detached := make(chan string, 1)
		next := placed(p, func(_ server.Reply, line string) string { return "next " + line })
		next.Closed = closed
		d := placed(p, func(w server.Reply, line string) string {
			before(w)
			if w.Conn().Loop().OnLoop() {
				t.Error("OnLoop is true in the handler of a request")
			}
			callConn(t, w, line, next, detached)
			return line
		})
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		for line, want := range map[string]string{
			"close": "a\nclose\n", "pause": "a\npause\nb\n", "handler": "a\nhandler\nnext b\n",
			"write": "a\nbefore write\nb\n", "post": "a\npost\nb\n", "detach": "a\ndetach\ndetached b\n",
		} {
			nc := s.dial(t)
			send(t, nc, "a\n"+line+"\nb\n")
			expect(t, nc, want)
			if line == "close" || line == "detach" {
				expectEOF(t, nc)
			}
			hangUp(nc)
			if line == "detach" {
				testkit.WantEqual(t, "the input that is left", testkit.Await(t, detached, line), "b\n")
			}
			testkit.Await(t, reasons, "Close")
		}
		send(t, s.dial(t), "abort\nb\n")
		testkit.CheckErr(t, "abort", testkit.Await(t, reasons, "Close"), server.ErrAborted)
		testkit.Must(t, s.Close())
		s.drained(t)
	})
}

// The answer to the request is sent before the handshake.
func TestAHandlerMayStartTLS(t *testing.T) {
	eachPlacementAndTaken(t, func(t *testing.T, r rig, p server.Placement, before func(w server.Reply)) {
		r.tls = false
		s := start(t, r, &server.Server{Handler: placed(p, func(w server.Reply, line string) string {
			before(w)
			if line == "starttls" {
				wantNil(t, line, w.Conn().StartTLS(serverTLS(), nil))
			}
			return line
		})})
		nc := s.dial(t)
		send(t, nc, "a\nstarttls\n")
		expect(t, nc, "a\nstarttls\n")
		tc := tls.Client(nc, clientTLS())
		testkit.Must(t, pipelined(tc, "encrypted", 50))
		hangUp(nc)
		s.shutdown(t)
	})
}

// wantNil fails the test, on any goroutine, if err is not nil.
func wantNil(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// inTurns is a Handler that hands over one line in each call of Data, and returns ErrYield.
type inTurns struct {
	calls
	serve *server.Dispatcher
}

func (h inTurns) Data(c *server.Conn, p []byte) (int, error) {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 {
		return 0, nil
	}
	x := c.Requests()
	if err := x.Serve(h.serve, p[:end-1]); err != nil {
		return 0, err
	}
	x.Hold(2)
	return end, server.ErrYield
}

// The Handler hands each message over by Requests.Serve, and returns ErrYield for the rest of its input.
func TestAHandlerThatReturnsErrYieldHandsItsRequestsOver(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		h := inTurns{serve: placed(p, func(w server.Reply, line string) string {
			if strings.HasSuffix(line, "7") {
				w.Blocking()
				time.Sleep(100 * time.Microsecond)
			}
			return line
		})}
		s := start(t, r, &server.Server{Handler: h})
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "line", 500))
		closeWrite(t, nc)
		expectEOF(t, nc)
		s.shutdown(t)
	})
}

// intoBody is a Handler that reads bytes into place, writes them back, and then sets the next handler.
type intoBody struct {
	calls
	place []byte
	got   int
	next  server.Handler
}

func (h *intoBody) Data(c *server.Conn, p []byte) (int, error) {
	n := copy(h.place[h.got:], p)
	if h.got += n; h.got < len(h.place) {
		c.ReadInto(h.place[h.got:])
		return n, nil
	}
	if err := c.SetHandler(h.next); err != nil {
		return n, err
	}
	return n, c.WriteOwned(h.place, nil)
}

// The request selects the handler of the bytes that follow it, which reads them by ReadInto.
func TestReadIntoIsForTheBytesAfterARequest(t *testing.T) {
	eachPlacementAndTaken(t, func(t *testing.T, r rig, p server.Placement, before func(w server.Reply)) {
		var lines *server.Dispatcher
		lines = placed(p, func(w server.Reply, line string) string {
			before(w)
			if size, ok := strings.CutPrefix(line, "into "); ok {
				n, _ := strconv.Atoi(size)
				wantNil(t, line, w.Conn().SetHandler(&intoBody{place: make([]byte, n), next: lines}))
			}
			return line
		})
		s := start(t, r, &server.Server{Handler: lines})
		nc := s.dial(t)
		for _, size := range []int{1, 1000, 200 << 10} {
			sent := fmt.Sprintf("into %d\n%s", size, noise(size))
			go func() { _, _ = io.WriteString(nc, sent) }()
			expect(t, nc, sent)
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

// Handlers on the loop, handlers that call Blocking, and handlers on workers are mixed, and several of a connection are in progress.
func TestConcurrentAnswersKeepTheirOrderInEachPlacement(t *testing.T) {
	t.Parallel()
	for _, concurrent := range []int{1, 2, 8} {
		t.Run(fmt.Sprint("concurrent-", concurrent), func(t *testing.T) {
			eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
				d := placed(p, func(w server.Reply, line string) string {
					switch rand.IntN(12) {
					case 0:
						w.Blocking()
						time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
					case 1:
						time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
					case 2:
						_, _ = w.WriteString(line[:1])
						if err := w.Flush(); err != nil {
							t.Error(err)
						}
						return line[1:]
					}
					return line
				})
				d.Concurrent = concurrent
				d.Route = func(message []byte) []byte { return message[len(message)-1:] }
				s := start(t, r, &server.Server{Workers: 4, Handler: d})
				each := 100
				if testkit.Full() {
					each = 300
				}
				var all sync.WaitGroup
				for i := range 4 {
					nc := s.dial(t)
					all.Go(func() {
						defer nc.Close()
						if err := pipelined(nc, fmt.Sprint("client ", i), each); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				s.shutdown(t)
				if st := s.Stats(); st.Requests != uint64(4*each) || st.BufferedBytes != 0 {
					t.Errorf("%d requests answered, %d bytes buffered", st.Requests, st.BufferedBytes)
				}
			})
		})
	}
}

// A handler on the loop must not wait for the loop by a call that only works elsewhere: such calls work in it, since the loop is not running.
func TestCallsThatWaitForTheLoopWorkInAHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		s := start(t, r, &server.Server{NumLoops: 1, Handler: placed(p, func(w server.Reply, line string) string {
			e, err := w.Conn().Loop().AfterFunc(time.Hour, func() {})
			if err == nil {
				err = e.Del()
			}
			wantNil(t, "a timer", err)
			_, err = w.Conn().Loop().NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {})
			wantNil(t, "an event", err)
			return line
		})})
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "line", 20))
		hangUp(nc)
		s.shutdown(t)
	})
}
