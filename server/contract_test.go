package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// logged is a log that keeps its records' levels and texts.
type logged struct {
	mu    sync.Mutex
	level slog.Level
	text  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: l.level}))
}

// greedyFraming consumes more than it is given.
type greedyFraming struct{}

func (greedyFraming) MaxLen() int { return 100 }
func (greedyFraming) Next(data []byte, _ int, _ bool) (framing.Result, error) {
	return framing.Result{Message: data, Advance: len(data) + 1}, nil
}

// greedyAtEnd consumes more than it was given when the stream ends.
type greedyAtEnd struct{ calls }

func (greedyAtEnd) LastData(_ *server.Conn, p []byte) (int, error) { return len(p) + 1, nil }

// The handler or framing consumes more than it was given, or less than nothing. The logger is the default.
func TestABrokenContractIsLoggedAsAnError(t *testing.T) {
	consume := func(more int) server.Handler {
		return server.HandlerFunc(func(_ *server.Conn, p []byte) (int, error) { return more, nil })
	}
	for name, h := range map[string]server.Handler{
		"too much": consume(100), "less than nothing": consume(-1), "framing": &server.Dispatcher{Framing: greedyFraming{}, Serve: func(server.Reply, []byte) {}},
		"at the end": greedyAtEnd{calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }}},
	} {
		t.Run(name, func(t *testing.T) {
			log := &logged{level: slog.LevelInfo}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, Logger: log.logger()})
			nc := s.dial(t)
			send(t, nc, "x")
			closeWrite(t, nc)
			expectEOF(t, nc)
			hangUp(nc)
			testkit.Until(t, "the end", func() bool { return s.Stats().OpenConns == 0 })
			if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "broke its contract") {
				t.Errorf("the log has %q", text)
			}
			if n := s.Stats().Ended[server.EndedHandler]; n != 1 {
				t.Errorf("%d connections are counted as ended by a broken contract, want 1", n)
			}
		})
	}
}

// The record has the reason. Normal closes are not logged.
func TestAbnormalClosesAreLoggedAtDebug(t *testing.T) {
	for _, row := range []struct {
		end  func(c *server.Conn)
		says string
	}{
		{func(c *server.Conn) { c.Abort() }, server.ErrAborted.Error()},
		{func(c *server.Conn) { c.Close() }, ""},
	} {
		log := &logged{level: slog.LevelDebug}
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { row.end(c); return len(p), nil }})
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, Logger: log.logger()})
		_, nc := p.connect(t, s)
		send(t, nc, "x")
		_, _ = io.ReadAll(nc)
		hangUp(nc)
		testkit.Await(t, p.closed, "Close")
		text := log.String()
		if has := strings.Contains(text, "level=DEBUG") && strings.Contains(text, "connection closed"); has != (row.says != "") || !strings.Contains(text, row.says) {
			t.Errorf("the log has %q, want %q", text, row.says)
		}
	}
}

// Each connection counts once, also if it was never opened. The counts only grow.
func TestEndingsAreCountedByReason(t *testing.T) {
	t.Parallel()
	own := errors.New("the handler's own")
	p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
		switch string(p) {
		case "close":
			c.Close()
		case "abort":
			c.Abort()
		case "fail":
			return 0, own
		default:
			return 0, nil
		}
		return len(p), nil
	}})
	s, clock := startWithClock(t, rig{"tcp", false, 1}, &server.Server{Handler: p, MaxInput: 100, ReadTimeout: limit})
	want := server.Endings{}
	for _, end := range []struct {
		say    string
		reason server.CloseReason
	}{
		{"close", server.EndedInOrder}, {"abort", server.EndedByAbort}, {"fail", server.EndedOther}, {strings.Repeat("x", 101), server.EndedTooLong},
		{"half", server.EndedReadTimeout}, {"", server.EndedByPeer}, {"reset", server.EndedByReset},
	} {
		c, nc := p.connect(t, s)
		send(t, nc, end.say)
		switch end.say {
		case "half":
			testkit.Until(t, "the input", func() bool { return c.Stats().BytesRead == uint64(len(end.say)) })
			passTime(t, c, clock, limit, "Close", func() bool { return len(p.closed) > 0 })
		case "":
			closeWrite(t, nc)
		case "reset":
			reset(t, nc)
		}
		_, _ = io.ReadAll(nc)
		hangUp(nc)
		reason := testkit.Await(t, p.closed, "Close")
		want[end.reason]++
		if got := s.Stats().Ended; got != want || server.ReasonOf(reason) != end.reason {
			t.Errorf("%v: the counts are %v, want %v; the reason is %v", end.reason, got, want, reason)
		}
	}
	p.connect(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx)
	sum := uint64(0)
	for _, n := range s.Stats().Ended {
		sum += n
	}
	if st := s.Stats(); sum != st.Accepted || st.Ended[server.EndedByShutdown] != 1 {
		t.Errorf("%d of %d connections are counted: %v", sum, st.Accepted, st.Ended)
	}
}

// Endings and the Stats that have them show the reasons by name.
func TestEndingsShowTheirReasons(t *testing.T) {
	e := server.Endings{server.EndedInOrder: 3, server.EndedIdle: 1, server.EndedOther: 20}
	for want, got := range map[string]string{
		"none":                         server.Endings{}.String(),
		"3 in order, 1 idle, 20 other": e.String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := fmt.Sprintf("%+v", server.Stats{Ended: e}); !strings.Contains(got, "Ended:3 in order, 1 idle, 20 other") {
		t.Errorf("the Stats show %s", got)
	}
}

// No two reasons have the same name.
func TestEveryCloseReasonHasAName(t *testing.T) {
	names := map[string]bool{}
	for i := range (server.Endings{}) {
		names[server.CloseReason(i).String()] = true
	}
	if len(names) != len(server.Endings{}) || names[""] || names["unknown"] {
		t.Errorf("the names are %v", names)
	}
}

// limitless has a small MaxInput, and consumes nothing.
type limitless struct{}

func (limitless) MaxLen() int                                    { return 10 }
func (limitless) Next([]byte, int, bool) (framing.Result, error) { return framing.Result{}, nil }

// answering is a handler that answers input that is too long.
type answering struct{ calls }

func (answering) InputError(c *server.Conn, err error) { _, _ = c.WriteString("error: " + err.Error()) }

// More than MaxInput reaches Malformed of a Dispatcher, and InputError of another handler.
func TestInputThatIsTooLongIsAnswered(t *testing.T) {
	d := &server.Dispatcher{Framing: limitless{}, Serve: func(server.Reply, []byte) {}, Malformed: func(c *server.Conn, err error) { answering{}.InputError(c, err) }}
	for name, h := range map[string]server.Handler{"Dispatcher": d, "handler": answering{calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }}}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, MaxInput: 100})
			nc := s.dial(t)
			send(t, nc, strings.Repeat("x", 101))
			expect(t, nc, "error: "+server.ErrTooLong.Error())
			_, err := io.ReadAll(nc)
			testkit.Must(t, err)
		})
	}
}

// The Dispatcher handles several requests at a time. The error is of the framing, or MaxInput.
func TestTheErrorOfInputIsAnsweredBehindTheRequestsInProgress(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 1)
	d := several(4, func(w server.Reply, m []byte) {
		begun <- struct{}{}
		<-release
		_, _ = w.Write(append(m, '\n'))
	})
	d.Framing = oneLine{framing.Lines{}}
	d.Malformed = func(c *server.Conn, _ error) { _, _ = c.WriteString("error") }
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, MaxInput: 100})
	nc := s.dial(t)
	send(t, nc, "a\n"+strings.Repeat("x", 200))
	testkit.Await(t, begun, "the request")
	testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead == 202 })
	close(release)
	expect(t, nc, "a\nerror")
	expectEOF(t, nc)
}

// oneLine is a framing of lines with a small MaxLen.
type oneLine struct{ framing.Framing }

func (oneLine) MaxLen() int { return 10 }

// withoutUnwrap wraps a handler and has no Unwrap.
type withoutUnwrap struct{ server.Handler }

// A warning is logged once for each Dispatcher.
func TestAHandlerThatHidesADispatcherIsLogged(t *testing.T) {
	for name, h := range map[string]server.Handler{"hides": withoutUnwrap{echoLines()}, "": wrapper{echoLines()}} {
		log := &logged{level: slog.LevelInfo}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, Logger: log.logger()})
		for range 2 {
			nc := s.dial(t)
			send(t, nc, "a\n")
			expect(t, nc, "a\n")
		}
		if text := log.String(); strings.Count(text, "a method Unwrap()") != len(name)/len("hides") {
			t.Errorf("the log has %q", text)
		}
	}
}
