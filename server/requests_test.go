package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// answers is a RequestHandler that is a function.
type answers func(w server.Reply, message []byte)

func (f answers) ServeRequest(w server.Reply, message []byte) { f(w, message) }

// inBrackets answers a message with itself.
var inBrackets = answers(func(w server.Reply, m []byte) { _, _ = fmt.Fprintf(w, "[%s]", m) })

// The handler consumes the bytes before it, for example a command that changes the framing.
func TestServeInputTakesATailOfTheInput(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
		tail := bytes.TrimLeft(p, " ")
		found, err := framing.Lines{}.Next(tail, 0, false)
		if err != nil || found.Message == nil {
			return len(p) - len(tail), err
		}
		return 0, c.Requests().ServeInput(inBrackets, framing.Lines{}, tail, found)
	}}})
	nc := s.dial(t)
	send(t, nc, "   a\nb\n  c")
	expect(t, nc, "[a][b]")
	send(t, nc, "d\ne\n")
	expect(t, nc, "[cd][e]") // the worker left the incomplete line to the handler
}

// It answers them on the loop, in order with those that are in progress.
func TestAHandlerMayAnswerSomeRequestsItself(t *testing.T) {
	release := make(chan struct{})
	slow := answers(func(w server.Reply, m []byte) { <-release; _, _ = fmt.Fprintf(w, "[%s]", m) })
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
		requests := c.Requests()
		found, err := framing.Lines{}.Next(p, requests.Cursor(), false)
		switch {
		case err != nil || found.Message == nil:
			requests.SetCursor(found.Cursor)
			return found.Advance, err
		case found.Message[0] == 's':
			err = requests.Serve(slow, found.Message)
		case requests.Pending() > 0:
			requests.Hold(0)
			requests.SetCursor(0)
			return 0, nil
		default:
			_, err = fmt.Fprintf(c, "(%s)", found.Message)
		}
		requests.SetCursor(0)
		return found.Advance, err
	}}})
	nc := s.dial(t)
	send(t, nc, "quick\nslow\nslower\nquick\nslow\nquick\n")
	expect(t, nc, "(quick)")
	testkit.Until(t, "two requests", func() bool { return s.Stats().RunningRequests == 2 })
	close(release)
	expect(t, nc, "[slow][slower](quick)[slow](quick)")
}

// The error names the call.
func TestRequestsRefuseInvalidCalls(t *testing.T) {
	lines := framing.Lines{}
	good := func(p []byte) framing.Result { return framing.Result{Message: p[:1], Advance: 2} }
	for name, use := range map[string]func(requests server.Requests, p []byte) error{
		"nil handler":   func(requests server.Requests, p []byte) error { return requests.Serve(nil, p) },
		"nil for input": func(requests server.Requests, p []byte) error { return requests.ServeInput(nil, lines, p, good(p)) },
		"nil framing": func(requests server.Requests, p []byte) error {
			return requests.ServeInput(inBrackets, nil, p, good(p))
		},
		"no message": func(requests server.Requests, p []byte) error {
			return requests.ServeInput(inBrackets, lines, p, framing.Result{})
		},
		"too far": func(requests server.Requests, p []byte) error {
			return requests.ServeInput(inBrackets, lines, p, framing.Result{Message: p, Advance: 100})
		},
		"backwards": func(requests server.Requests, p []byte) error {
			return requests.ServeInput(inBrackets, lines, p, framing.Result{Message: p, Advance: -1})
		},
		"beside messages": func(requests server.Requests, p []byte) error {
			return errors.Join(requests.Serve(inBrackets, p), requests.ServeInput(inBrackets, lines, p, good(p)))
		},
		"beside input": func(requests server.Requests, p []byte) error {
			return errors.Join(requests.ServeInput(inBrackets, lines, p, good(p)), requests.Serve(inBrackets, p))
		},
	} {
		t.Run(name, func(t *testing.T) {
			results := make(chan error, 10)
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
				results <- use(c.Requests(), p)
				return len(p), nil
			}}})
			nc := s.dial(t)
			send(t, nc, "a\n")
			testkit.CheckErr(t, name, testkit.Await(t, results, "the call"), server.ErrHandler)
			hangUp(nc) // otherwise Shutdown would wait for it
			s.shutdown(t)
			s.drained(t)
		})
	}
}

func TestRequestsOfAClosedConnectionTakeNothing(t *testing.T) {
	results := make(chan error, 2)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{close: func(c *server.Conn, _ error) {
		results <- c.Requests().Serve(inBrackets, nil)
		results <- c.Requests().ServeInput(inBrackets, framing.Lines{}, []byte("a\n"), framing.Result{Message: []byte("a"), Advance: 2})
	}}})
	hangUp(s.dial(t))
	for range 2 {
		testkit.CheckErr(t, "the call", testkit.Await(t, results, "Close"), server.ErrClosed)
	}
}

// The server's error ends the connection.
func TestRequestsRefuseMoreThanMaxBuffered(t *testing.T) {
	for name, use := range map[string]func(requests server.Requests, p []byte) error{
		"message": func(requests server.Requests, p []byte) error { return requests.Serve(inBrackets, p) },
		"input": func(requests server.Requests, p []byte) error {
			return requests.ServeInput(inBrackets, framing.Lines{}, p, framing.Result{Message: p[:1], Advance: 2})
		},
	} {
		t.Run(name, func(t *testing.T) {
			reasons, closed := closings()
			s := start(t, rig{"tcp", false, 1}, &server.Server{MaxBuffered: 1000, Handler: calls{close: closed, data: func(c *server.Conn, p []byte) (int, error) {
				return len(p), use(c.Requests(), p)
			}}})
			nc := s.dial(t)
			send(t, nc, "a\n"+string(make([]byte, 5000)))
			closeWrite(t, nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrOverload)
			s.shutdown(t)
			s.drained(t)
		})
	}
}

// Pending counts the requests that were handed over, and Hold stops Data until few enough are in progress.
func TestHoldStopsDataWhileTooManyRequestsArePending(t *testing.T) {
	release := make(chan struct{})
	slow := answers(func(w server.Reply, m []byte) { <-release; _, _ = w.Write(m) })
	inWork := make(chan int, 20)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
		requests := c.Requests()
		requests.Hold(0) // no effect: no request is in progress
		inWork <- requests.Pending()
		for i := range p {
			if err := requests.Serve(slow, p[i:i+1]); err != nil {
				return i, err
			}
			requests.Hold(2)
		}
		inWork <- requests.Pending()
		requests.Hold(5) // a weaker hold does not end a stronger one
		requests.Hold(0)
		return len(p), nil
	}}})
	nc := s.dial(t)
	send(t, nc, "abcd")
	if before, after := testkit.Await(t, inWork, "Data"), testkit.Await(t, inWork, "Data"); before != 0 || after != 4 {
		t.Errorf("%d requests in progress, then %d; want 0, 4", before, after)
	}
	send(t, nc, "efgh")
	for range 3 {
		release <- struct{}{}
	}
	close(release)
	expect(t, nc, "abcdefgh")
	if n := testkit.Await(t, inWork, "Data"); n != 0 {
		t.Errorf("Data was called with %d requests in progress, although it holds until there is none", n)
	}
}

// It does so in race builds.
func TestAMethodOfTheLoopPanicsOnAnotherGoroutine(t *testing.T) {
	if !server.AssertsLoop {
		t.Skip("only race builds check the goroutine")
	}
	panics := make(chan []any, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
		requests := c.Requests()
		var all []any
		for _, use := range append(server.CallOnLoop(c),
			func() { c.Requests() },
			func() { c.ReadInto(nil) },
			func() { _ = requests.Serve(inBrackets, p) },
			func() {
				_ = requests.ServeInput(inBrackets, framing.Lines{}, p, framing.Result{Message: p, Advance: len(p)})
			},
			func() { requests.Pending() },
			func() { requests.Hold(0) },
			func() { requests.Cursor() },
			func() { requests.SetCursor(0) },
		) {
			ended := make(chan any)
			go func() {
				defer func() { ended <- recover() }()
				use()
			}()
			all = append(all, <-ended)
		}
		panics <- all
		return len(p), nil
	}}})
	send(t, s.dial(t), "a")
	for i, v := range testkit.Await(t, panics, "the calls") {
		if text, ok := v.(string); !ok || !strings.Contains(text, "on another goroutine than the loop's") {
			t.Errorf("call %d on another goroutine: panic with %v", i, v)
		}
	}
}
