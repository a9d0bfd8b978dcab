package client_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

// answersOnce answers one line and closes.
func answersOnce(_ int, nc net.Conn, lines *bufio.Reader) {
	line, _ := lines.ReadString('\n') // without a line there is nothing to answer
	_, _ = io.WriteString(nc, line)
}

// Each connection has one request, and the calls that wait get a new one.
func TestAPeerThatClosesAfterEachAnswerIsServed(t *testing.T) {
	_, c := newPeer(t, answersOnce)
	c.Idempotent = func([]byte) bool { return true } // a connection may be chosen before its end is known
	c.MaxConns = 3
	many(t, c, 20, 20)
	if s := c.Stats(); s.Answers != 400 || s.OpenConns > 3 || s.Errors > 0 {
		t.Errorf("%+v", s)
	}
}

// The last message of a stream needs no end.
func TestAnAnswerMayEndWithTheStream(t *testing.T) {
	_, c := newPeer(t, func(_ int, nc net.Conn, lines *bufio.Reader) {
		_, _ = lines.ReadString('\n')
		_, _ = io.WriteString(nc, "answer without an end")
	})
	do(t, c, "x", "answer without an end")
}

// The framing may say that a message is the last one of a stream.
func TestNoRequestFollowsTheLastAnswerOfAFraming(t *testing.T) {
	p, c := newPeer(t, echoes)
	c.Framing = framing.Split{Func: func(data []byte, atEOF bool) (int, []byte, error) {
		n, line, err := bufio.ScanLines(data, atEOF)
		if string(line) == "bye" {
			err = bufio.ErrFinalToken
		}
		return n, line, err
	}}
	for range 3 {
		do(t, c, "hello", "hello")
		do(t, c, "bye", "bye")
	}
	untilStats(t, c, "the end of the connections", func(s client.Stats) bool { return s.OpenConns == 0 })
	testkit.WantEqual(t, "connections", len(p.accepted), 3)
}

// The other requests of the connection fail, too, and the next ones get another connection.
func TestARequestWhoseConnectionEndsHasNoAnswer(t *testing.T) {
	lines, prefixed := framing.Lines{Max: 100}, framing.LengthPrefix{Size: 4, Order: binary.BigEndian, Max: 100}
	drain := func(nc net.Conn, text string) {
		_, _ = io.WriteString(nc, text)
		_, _ = io.Copy(io.Discard, nc) // until the client closes
	}
	for name, row := range map[string]struct {
		framing framing.Framing
		ending  func(nc net.Conn)
		first   error // of the first request; the others have no answer either
	}{
		"closed":    {lines, func(net.Conn) {}, io.EOF},
		"in pieces": {prefixed, func(nc net.Conn) { _, _ = io.WriteString(nc, "\x00\x00\x00\x05ans") }, io.ErrUnexpectedEOF},
		"reset":     {lines, func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0) }, syscall.ECONNRESET},
		"too long":  {lines, func(nc net.Conn) { drain(nc, strings.Repeat("x", 200)) }, framing.ErrTooLong},
		"malformed": {prefixed, func(nc net.Conn) { drain(nc, "no length\n") }, framing.ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
				if n > 1 {
					echoes(n, nc, lines)
					return
				}
				for range 4 {
					_, _ = lines.ReadString('\n') // a connection that ends early has fewer
				}
				row.ending(nc)
			})
			c.Framing, c.Pipeline, c.MaxConns = row.framing, 4, 1
			var calls []chan result
			for i := range 4 {
				calls = append(calls, background(context.Background(), c, fmt.Sprint("x", i)))
				untilStats(t, c, "the request", func(s client.Stats) bool { return s.Requests == uint64(i+1) })
			}
			for i, call := range calls {
				err := testkit.Await(t, call, "the outcome").err
				testkit.CheckErr(t, "Do", err, client.ErrNoAnswer)
				if i == 0 {
					testkit.CheckErr(t, "Do", err, row.first)
				}
			}
			if row.framing == lines {
				do(t, c, "y", "y")
			}
			untilStats(t, c, "the end of the connection", func(s client.Stats) bool { return s.OpenConns <= 1 && s.ActiveRequests == 0 })
		})
	}
}

// The connection is not used any more, so that the bytes are not taken for an answer.
func TestBytesWithoutARequestEndTheConnection(t *testing.T) {
	for _, extra := range []string{"more\n", "m"} {
		for _, later := range []bool{false, true} {
			p, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
				if n > 1 {
					echoes(n, nc, lines)
					return
				}
				line, _ := lines.ReadString('\n')
				if later {
					_, _ = io.WriteString(nc, line)
					line = ""
				}
				_, _ = io.WriteString(nc, line+extra)
				_, _ = io.Copy(io.Discard, nc)
			})
			do(t, c, "x", "x")
			untilStats(t, c, "the end", func(s client.Stats) bool { return s.Unexpected == 1 && s.OpenConns == 0 })
			do(t, c, "y", "y")
			testkit.WantEqual(t, "connections", len(p.accepted), 2)
		}
	}
}

// Only a request for which Idempotent returns true, on a connection that has answered before, and without a byte of its answer.
func TestARequestIsRepeatedOnlyIfThatIsSafe(t *testing.T) {
	for _, row := range []struct {
		name       string
		idempotent func([]byte) bool
		first      int    // answers of the first connection before it ends
		bytes      string // of the next answer
		repeats    bool
	}{
		{"used, idempotent", func([]byte) bool { return true }, 1, "", true},
		{"used, not idempotent", func(p []byte) bool { return string(p) != "x1\n" }, 1, "", false},
		{"used, nil", nil, 1, "", false},
		{"new", func([]byte) bool { return true }, 0, "", false},
		{"with a byte", func([]byte) bool { return true }, 1, "x", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var lines atomic.Int32
			_, c := newPeer(t, func(n int, nc net.Conn, in *bufio.Reader) {
				for i := 0; ; i++ {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					lines.Add(1)
					if n == 1 && i == row.first {
						_, _ = io.WriteString(nc, row.bytes)
						return
					}
					_, _ = io.WriteString(nc, line)
				}
			})
			c.Idempotent, c.Framing = row.idempotent, framing.Delimiter{Delim: []byte("\n")}
			for i := range row.first {
				do(t, c, fmt.Sprint("x", i), fmt.Sprint("x", i))
			}
			last := fmt.Sprint("x", row.first)
			if row.repeats {
				do(t, c, last, last)
			} else {
				fails(t, c, last, client.ErrNoAnswer)
			}
			want := int32(row.first + 1)
			if row.repeats {
				want++
			}
			if got := lines.Load(); got != want || c.Stats().Repeats != uint64(want-int32(row.first+1)) {
				t.Errorf("the peer has read %d lines, want %d; %+v", got, want, c.Stats())
			}
		})
	}
}

// A request that was sent, and cannot be sent again, has no answer: the peer may have carried it out. The error has both reasons.
func TestARequestThatCannotBeRepeatedHasNoAnswer(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(p *peer, c *client.Client) // before the connection ends
		want error
	}{
		"no connection": {func(p *peer, _ *client.Client) { p.Close() }, syscall.ECONNREFUSED},
		"closed":        {func(_ *peer, c *client.Client) { c.Close() }, client.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			end, ended := make(chan bool), make(chan bool)
			p, c := newPeer(t, func(_ int, nc net.Conn, lines *bufio.Reader) {
				line, _ := lines.ReadString('\n')
				_, _ = io.WriteString(nc, line)
				_, _ = lines.ReadString('\n')
				end <- true
				<-ended
			})
			c.Idempotent = func([]byte) bool { return true }
			do(t, c, "first", "first")
			outcome := background(context.Background(), c, "second")
			testkit.Await(t, end, "the second request")
			row.end(p, c)
			close(ended)
			err := testkit.Await(t, outcome, "its end").err
			testkit.CheckErr(t, "Do", err, client.ErrNoAnswer, io.EOF, row.want)
		})
	}
}

// A single request that is abandoned ends its connection. With others in progress the answer is discarded in its place.
func TestAnAbandonedRequestDoesNotChangeOtherAnswers(t *testing.T) {
	answer := make(chan bool)
	p, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
		for range answer {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(nc, line)
		}
	})
	c.Pipeline, c.MaxConns = 4, 1
	cause := errors.New("no longer needed")
	ctx, cancel := context.WithCancelCause(context.Background())
	abandoned := background(ctx, c, "a")
	untilStats(t, c, "the first request", func(s client.Stats) bool { return s.ActiveRequests == 1 })
	kept := background(context.Background(), c, "b")
	untilStats(t, c, "both requests", func(s client.Stats) bool { return s.ActiveRequests == 2 })
	cancel(cause)
	testkit.CheckErr(t, "Do", testkit.Await(t, abandoned, "its end").err, cause)
	waits := background(context.Background(), c, "c")
	untilStats(t, c, "a call that waits, since the connection gets no more requests", func(s client.Stats) bool { return s.WaitingCalls == 1 })
	answer <- true
	answer <- true
	testkit.WantEqual(t, "the answer", testkit.Await(t, kept, "the answer"), result{"b", nil})
	answer <- true
	testkit.WantEqual(t, "the answer", testkit.Await(t, waits, "the answer"), result{"c", nil})
	testkit.WantEqual(t, "connections", len(p.accepted), 1)

	ctx, cancel = context.WithCancelCause(context.Background())
	abandoned = background(ctx, c, "d")
	untilStats(t, c, "the request", func(s client.Stats) bool { return s.ActiveRequests == 1 })
	cancel(cause)
	testkit.CheckErr(t, "Do", testkit.Await(t, abandoned, "its end").err, cause)
	untilStats(t, c, "the end of the connection", func(s client.Stats) bool { return s.OpenConns == 0 && s.ActiveRequests == 0 })
	if s := c.Stats(); s.Abandoned != 2 || s.Errors != 2 {
		t.Errorf("%+v", s)
	}
	close(answer)
}

// It leaves the list of those that wait, and no slot is lost.
func TestACallThatWaitsForAConnectionEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	_, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
		<-release
		echoes(n, nc, lines)
	})
	c.MaxConns = 1
	first := background(context.Background(), c, "first")
	untilStats(t, c, "the first request", func(s client.Stats) bool { return s.ActiveRequests == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	var waiting []chan result
	for i := range 10 {
		waiting = append(waiting, background(ctx, c, fmt.Sprint("waits ", i)))
	}
	untilStats(t, c, "the others", func(s client.Stats) bool { return s.WaitingCalls == 10 })
	cancel()
	for _, call := range waiting {
		testkit.CheckErr(t, "Do", testkit.Await(t, call, "its end").err, context.Canceled)
	}
	_, err := c.Do(ctx, nil)
	testkit.CheckErr(t, "Do with a context that has ended", err, context.Canceled)
	close(release)
	testkit.WantEqual(t, "the answer", testkit.Await(t, first, "the answer"), result{"first", nil})
	do(t, c, "y", "y")
	if s := c.Stats(); s.Requests != 2 || s.WaitingCalls != 0 {
		t.Errorf("%+v", s)
	}
}

// Each call gets its own answer or the error of its context, whenever the context ends.
func TestCallsThatAreCancelledAtAnyTimeDoNotMixAnswers(t *testing.T) {
	for _, pipeline := range []int{1, 16} {
		c := listen(t, "tcp", &server.Server{})
		c.Pipeline, c.MaxConns = pipeline, 2
		var answered, cancelled atomic.Int32
		testkit.Within(t, "the calls", func() {
			var all sync.WaitGroup
			for g := range 20 {
				all.Go(func() {
					for i := range 50 {
						ctx, cancel := context.WithCancel(context.Background())
						time.AfterFunc(time.Duration(i*g)*time.Microsecond, cancel)
						want := fmt.Sprint("call ", g, " ", i)
						answer, err := c.Do(ctx, []byte(want+"\n"))
						cancel()
						switch {
						case err == nil && string(answer) == want:
							answered.Add(1)
						case errors.Is(err, context.Canceled):
							cancelled.Add(1)
						default:
							t.Errorf("the answer to %q is %q, %v", want, answer, err)
						}
					}
				})
			}
			all.Wait()
		})
		t.Logf("%d answered, %d cancelled", answered.Load(), cancelled.Load())
		many(t, c, 10, 10)
		untilStats(t, c, "no request", func(s client.Stats) bool { return s.ActiveRequests == 0 && s.WaitingCalls == 0 && s.OpenConns <= 2 })
	}
}

// A request that no one answers ends its connection after AnswerTimeout, and an idle connection ends after IdleTimeout.
func TestTheDeadlinesOfAClientEndConnections(t *testing.T) {
	clock := testkit.NewClock()
	_, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
		if n == 1 {
			_, _ = io.Copy(io.Discard, lines)
			return
		}
		echoes(n, nc, lines)
	})
	c.Server = start(t, &server.Server{NumLoops: 1, LoopConfig: &event.Config{Clock: clock}, IdleTimeout: time.Millisecond, FirstRequestTimeout: time.Millisecond})
	c.AnswerTimeout, c.IdleTimeout = time.Minute, time.Hour
	call := background(context.Background(), c, "x")
	untilStats(t, c, "the request", func(s client.Stats) bool { return s.ActiveRequests == 1 })
	clock.Advance(time.Minute - 1)
	onLoop(t, c.Server)
	testkit.WantEqual(t, "requests before the deadline", c.Stats().ActiveRequests, 1)
	testkit.Until(t, "the deadline", func() bool {
		clock.Advance(time.Second) // the loop may set its timer again after the first time
		return len(call) == 1
	})
	err := testkit.Await(t, call, "its end").err
	testkit.CheckErr(t, "Do", err, client.ErrNoAnswer, client.ErrAnswerTimeout)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is not a timeout", err)
	}
	untilStats(t, c, "the end of the connection", func(s client.Stats) bool { return s.OpenConns == 0 })
	do(t, c, "y", "y")
	clock.Advance(time.Hour - 1)
	onLoop(t, c.Server)
	testkit.WantEqual(t, "idle connections before the deadline", c.Stats().IdleConns, 1)
	testkit.Until(t, "the end of the idle connection", func() bool {
		clock.Advance(time.Second)
		return c.Stats().OpenConns == 0
	})
}

// onLoop waits until the loops have made a turn.
func onLoop(t *testing.T, srv *server.Server) {
	t.Helper()
	for _, l := range srv.Loops() {
		for range 2 { // the first may run in a turn that began before
			done := make(chan bool)
			testkit.Must(t, l.Post(func() { close(done) }))
			testkit.Await(t, done, "a turn")
		}
	}
}
