package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// tunnel answers a line with what say writes, closes the write side, and passes what the client sends then to ended.
func tunnel(t *testing.T, p server.Placement, say func(w server.Reply), ended chan string) *server.Dispatcher {
	return &server.Dispatcher{Framing: framing.Lines{}, Placement: p, CancelOnEOF: true, Serve: func(w server.Reply, _ []byte) {
		say(w)
		wantNil(t, "CloseWrite", w.CloseWrite())
		_, err := w.WriteString("late")
		testkit.CheckErr(t, "Write after CloseWrite", err, server.ErrClosed)
		testkit.CheckErr(t, "Flush after CloseWrite", w.Flush(), server.ErrClosed)
		testkit.CheckErr(t, "a second CloseWrite", w.CloseWrite(), server.ErrClosed)
		_, err = w.Conn().WriteString("late")
		testkit.CheckErr(t, "Conn.Write after CloseWrite", err, server.ErrClosed)
		text, err := io.ReadAll(w.Input())
		if err != nil {
			text = append(text, err.Error()...)
		}
		ended <- string(text)
	}}
}

// The client reads the end of the stream after all that was written, and what it sends afterwards is still read, up to its own end.
func TestAReplyEndsTheOutputWhileItReadsOn(t *testing.T) {
	long := strings.Repeat("0123456789", 200<<10)
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		ended := make(chan string, 1)
		s := start(t, r, &server.Server{MaxOutput: 64 << 10, Socket: tight(), Handler: tunnel(t, p, func(w server.Reply) {
			_, err := w.WriteString(long)
			wantNil(t, "Write", err)
		}, ended)})
		nc := s.dial(t)
		send(t, nc, "go\nearly ")
		got, err := io.ReadAll(nc)
		if err != nil || string(got) != long {
			t.Fatalf("the client has read %d bytes, %v", len(got), err)
		}
		send(t, nc, "late")
		closeWrite(t, nc)
		if got := testkit.Await(t, ended, "the end of the input"); got != "early late" {
			t.Errorf("the request has read %q", got)
		}
		testkit.Until(t, "the end of the connection", func() bool { return s.Stats().OpenConns == 0 })
		s.shutdown(t)
	})
}

// The client may have ended its half before, with input that the request reads later.
func TestAReplyEndsTheOutputAfterTheEndOfThePeer(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		ended, isOver := make(chan string, 1), make(chan struct{})
		s := start(t, r, &server.Server{Handler: tunnel(t, p, func(w server.Reply) {
			w.Blocking()
			testkit.Await(t, isOver, "the end of the client's half")
			_, err := w.WriteString("bye")
			wantNil(t, "Write", err)
		}, ended)})
		nc := s.dial(t)
		send(t, nc, "go\n"+strings.Repeat("x", 100<<10))
		closeWrite(t, nc)
		close(isOver)
		expect(t, nc, "bye")
		expectEOF(t, nc)
		if got := testkit.Await(t, ended, "the end of the input"); len(got) != 100<<10 {
			t.Errorf("the request has read %d bytes", len(got))
		}
		testkit.Until(t, "the end of the connection", func() bool { return s.Stats().OpenConns == 0 })
		s.shutdown(t)
	})
}

// While a request goes on whose connection is closed in both directions, the loop sleeps, and what the client has sent is read when the request
// asks for it.
func TestTheLoopSleepsWhileBothHalvesAreClosedDuringARequest(t *testing.T) {
	t.Parallel()
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		shut, goOn, ended := make(chan *server.Conn, 1), make(chan struct{}), make(chan string, 1)
		s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Placement: p, CancelOnEOF: true, Serve: func(w server.Reply, _ []byte) {
			wantNil(t, "CloseWrite", w.CloseWrite())
			w.Blocking()
			shut <- w.Conn()
			<-goOn
			text, err := io.ReadAll(w.Input())
			wantNil(t, "the input", err)
			ended <- string(text)
		}}})
		nc := s.dial(t)
		send(t, nc, "go\n")
		c := testkit.Await(t, shut, "CloseWrite")
		expectEOF(t, nc)
		text := strings.Repeat("after the end ", 100)
		send(t, nc, text)
		closeWrite(t, nc)
		testkit.Until(t, "the end of the client's half", func() bool { return server.HasReadEnd(c) })
		isIdle(t, s)
		close(goOn)
		if got := testkit.Await(t, ended, "the end of the input"); got != text {
			t.Errorf("the request has read %q", got)
		}
		testkit.Until(t, "the end of the connection", func() bool { return s.Stats().OpenConns == 0 })
		s.shutdown(t)
	})
}

// No request follows one that has closed the write side, since no answer could be sent: the connection is closed when it ends, without the
// client's help and in order.
func TestTheConnectionClosesAfterAReplyThatHasEndedTheOutput(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, deferred := range []bool{false, true} {
			closed := make(chan error, 1)
			s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Placement: p, Serve: func(w server.Reply, line []byte) {
				if string(line) != "first" {
					t.Errorf("the request %q follows", line)
				}
				if deferred {
					wantNil(t, "Defer", w.Defer(server.Unlimited))
				}
				_, _ = w.WriteString("answer")
				wantNil(t, "CloseWrite", w.CloseWrite())
				if deferred {
					go func() { wantNil(t, "Close", w.Close()) }()
				}
			}, Closed: func(_ *server.Conn, reason error) { closed <- reason }}})
			nc := s.dial(t)
			send(t, nc, "first\nsecond\nthird\n")
			expect(t, nc, "answer")
			expectEOF(t, nc)
			hangUp(nc)
			if reason := testkit.Await(t, closed, "Closed"); reason != nil {
				t.Errorf("the reason is %v", reason)
			}
			s.shutdown(t)
		}
	})
}

func TestCloseWriteOfAReplyIsRefused(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for name, before := range map[string]func(c *server.Conn){
			"Conn.CloseWrite": func(c *server.Conn) { wantNil(t, "CloseWrite", c.CloseWrite()) },
			"Conn.Close":      func(c *server.Conn) { wantNil(t, "Close", c.Close()) },
			"Conn.Abort":      (*server.Conn).Abort,
			"Conn.Detach": func(c *server.Conn) {
				wantNil(t, "Detach", c.Detach(func(nc net.Conn, _ []byte, _ error) {
					if nc != nil {
						_ = nc.Close() // by intention
					}
				}))
			},
		} {
			result := make(chan error, 1)
			s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, _ []byte) {
				before(w.Conn())
				result <- w.CloseWrite()
			}}})
			send(t, s.dial(t), "go\n")
			testkit.CheckErr(t, "CloseWrite after "+name, testkit.Await(t, result, "CloseWrite"), server.ErrClosed)
		}
		result := make(chan error, 2)
		s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Concurrent: 2, Serve: func(w server.Reply, _ []byte) {
			result <- w.CloseWrite()
		}}})
		send(t, s.dial(t), "go\n")
		testkit.CheckErr(t, "CloseWrite of a concurrent request", testkit.Await(t, result, "CloseWrite"), server.ErrUnsupported)
		testkit.CheckErr(t, "CloseWrite of the zero Reply", server.Reply{}.CloseWrite(), server.ErrReplyEnded)
	})
}

// A call that waits for room fails at the deadline, has accepted what it says, and the reply goes on with a later one.
func TestTheWriteDeadlineOfAReplyEndsWaits(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		clock := testkit.NewClock()
		accepted := make(chan string)
		waits, goOn := make(chan server.Reply), make(chan struct{})
		s := start(t, r, &server.Server{LoopConfig: &event.Config{Clock: clock}, WriteTimeout: server.Unlimited, IdleTimeout: server.Unlimited, MaxOutput: 64 << 10, Socket: tight(), Handler: &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, _ []byte) {
			var all strings.Builder
			wantNil(t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(time.Hour)))
			piece := strings.Repeat("abcdefg", 50<<10)
			for round := range 2 {
				waits <- w
				var err error
				for i := 0; err == nil; i++ {
					var n int
					if i%2 == round {
						n, err = w.WriteString(piece)
					} else if err = w.WriteOwned([]byte(piece[:9999]), nil); err == nil {
						n = 9999
					}
					all.WriteString(piece[:n])
				}
				testkit.CheckErr(t, "the Write that waits", err, os.ErrDeadlineExceeded)
				testkit.CheckErr(t, "Notify", w.Notify(func(error) { t.Error("Notify has failed and calls its function") }), os.ErrDeadlineExceeded)
				testkit.CheckErr(t, "Flush", w.Flush(), os.ErrDeadlineExceeded)
				<-goOn
				wantNil(t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(time.Hour)))
			}
			wantNil(t, "SetWriteDeadline", w.SetWriteDeadline(time.Time{}))
			_, err := w.WriteString("end")
			wantNil(t, "Write without a deadline", err)
			all.WriteString("end")
			accepted <- all.String()
		}}})
		nc := s.dial(t)
		send(t, nc, "go\n")
		for round := range 2 {
			w := testkit.Await(t, waits, "the writes")
			testkit.Until(t, "a write that waits", func() bool { return server.WaitsForRoom(w.Conn()) })
			if round == 0 {
				clock.Advance(2 * time.Hour)
			} else {
				wantNil(t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(-time.Second))) // as Close of a net.Conn does
			}
			goOn <- struct{}{}
		}
		got := make(chan string, 1)
		go func() {
			b, err := io.ReadAll(nc)
			wantNil(t, "the client", err)
			got <- string(b)
		}()
		want := testkit.Await(t, accepted, "the end of the writes")
		closeWrite(t, nc)
		if got := testkit.Await(t, got, "the client"); got != want {
			t.Errorf("the client has read %d bytes, and %d were accepted", len(got), len(want))
		}
		s.shutdown(t)
	})
}

// The next reply has no deadline, and a reply that has ended accepts none.
func TestTheWriteDeadlineBelongsToOneReply(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		replies := make(chan server.Reply, 2)
		s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, line []byte) {
			replies <- w
			_, _ = fmt.Fprintf(w, "%s\n", line)
			err := w.Flush()
			if string(line) == "first" {
				err = errors.Join(err, w.SetWriteDeadline(time.Now().Add(-time.Hour)))
			}
			wantNil(t, string(line), err)
		}}})
		nc := s.dial(t)
		send(t, nc, "first\nsecond\n")
		expect(t, nc, "first\nsecond\n")
		for range 2 {
			w := <-replies
			testkit.Until(t, "the end of the reply", func() bool { return errors.Is(w.SetWriteDeadline(time.Time{}), server.ErrReplyEnded) })
		}
		testkit.CheckErr(t, "the zero Reply", server.Reply{}.SetWriteDeadline(time.Time{}), server.ErrReplyEnded)
		hangUp(nc)
		s.shutdown(t)
	})
}
