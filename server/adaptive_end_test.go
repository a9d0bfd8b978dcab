package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// eachProcs runs a test with one, two and four processors. Others must not run meanwhile.
func eachProcs(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint("procs-", n), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
			test(t)
		})
	}
}

// endMeanwhile is a call that comes while a handler loses the loop.
type endMeanwhile struct {
	end      func(s *running, c *server.Conn) error
	check    func(t *testing.T, err error)
	answered bool // the client reads the whole answer
	stays    bool // the connection stays open
}

// endsMeanwhile returns the calls by name. The handler returns at that time, too, so a call that waits for it may or may not give up.
func endsMeanwhile() map[string]endMeanwhile {
	succeeds := func(t *testing.T, err error) { wantNil(t, "the call", err) }
	mayGiveUp := func(t *testing.T, err error) {
		var late *server.ShutdownError
		if err != nil && (!errors.As(err, &late) || late.Handlers > 1 || late.Loops > 0) {
			t.Errorf("the server ends with %v; want a ShutdownError with one handler at most, and no loop", err)
		}
	}
	return map[string]endMeanwhile{
		"Break": {answered: true, stays: true,
			end:   func(_ *running, c *server.Conn) error { return c.Loop().Break() },
			check: func(t *testing.T, err error) { testkit.CheckErr(t, "Break", err, event.ErrOwned) }},
		"Close of the connection": {check: succeeds, end: func(_ *running, c *server.Conn) error { return c.Close() }},
		"Abort":                   {check: succeeds, end: func(_ *running, c *server.Conn) error { c.Abort(); return nil }},
		"Close":                   {check: mayGiveUp, end: func(s *running, _ *server.Conn) error { return s.Close() }},
		"Shutdown at once": {check: mayGiveUp, end: func(s *running, _ *server.Conn) error {
			return s.Shutdown(testkit.Canceled())
		}},
		"Shutdown": {check: succeeds, answered: true, end: func(s *running, _ *server.Conn) error {
			ctx, cancel := testkit.Soon()
			defer cancel()
			return s.Shutdown(ctx)
		}},
	}
}

// Calls that end the loop, the connection or the server come at the moment at which a handler loses its loop, and at which it returns: the
// call has its usual outcome, the answer is complete or is not sent, Close is called once, and nothing is left.
func TestAnEndWhileAHandlerLosesItsLoopHasItsUsualOutcome(t *testing.T) {
	needsLeaders(t)
	rounds := 6
	if testkit.Full() {
		rounds = 25
	}
	eachProcs(t, func(t *testing.T) {
		for name, e := range endsMeanwhile() {
			t.Run(name, func(t *testing.T) {
				eachOf(t, rigs(), func(t *testing.T, r rig) {
					for range rounds {
						endWhileTaken(t, r, e)
					}
				})
			})
		}
	})
}

func endWhileTaken(t *testing.T, r rig, e endMeanwhile) {
	h := newHolder(server.OnLoop)
	conns := make(chan *server.Conn, 1)
	reasons, closed := closings()
	h.Opened, h.Closed = func(c *server.Conn) { conns <- c }, closed
	s := start(t, r, &server.Server{NumLoops: 1, Workers: 2, Handler: h.Dispatcher})
	server.StopTicks(s.Server)
	nc := s.dial(t)
	send(t, nc, "hold\n")
	c := testkit.Await(t, conns, "Opened")
	testkit.Await(t, h.begun, "the handler")
	server.Tick(s.Server, false) // the next one takes the loop
	read := make(chan string, 1)
	if !e.stays {
		go func() { read <- untilEnd(nc) }() // Shutdown waits for the client's end
	}
	var err error
	atOnce(t, func() { server.Tick(s.Server, false) }, func() { err = e.end(s, c) }, func() { close(h.release) })
	e.check(t, err)
	if e.stays {
		expect(t, nc, "hold\n")
		send(t, nc, "more\n")
		expect(t, nc, "more\n")
		checkLoop(t, s.Loops()[0])
		hangUp(nc)
		s.shutdown(t)
	} else if got := testkit.Await(t, read, "the end of the stream"); got != "hold\n" && (e.answered || got != "") {
		t.Errorf("the client reads %q", got)
	}
	testkit.Await(t, reasons, "Close")
	testkit.Must(t, s.Close())
	testkit.Until(t, "the handler's end", func() bool { return s.Stats().RunningRequests == 0 && s.Stats().BufferedBytes == 0 })
	s.drained(t)
	if len(reasons) > 0 {
		t.Error("Close was called twice")
	}
}

// atOnce calls functions on goroutines that begin at the same time, and waits for all.
func atOnce(t *testing.T, calls ...func()) {
	t.Helper()
	begin := make(chan struct{})
	var all sync.WaitGroup
	for _, call := range calls {
		all.Go(func() {
			<-begin
			call()
		})
	}
	close(begin)
	testkit.Within(t, "calls that come at the same time", all.Wait)
}

// untilEnd returns what a client reads until the stream ends, in order or not, and closes the client.
func untilEnd(nc net.Conn) string {
	p, _ := io.ReadAll(nc) // a reset is an end, too
	hangUp(nc)
	return string(p)
}

// Shutdown waits for a handler that has lost the loop as for one on a worker. Meanwhile the other connections of the loop end.
func TestShutdownWaitsForAHandlerThatHasLostItsLoop(t *testing.T) {
	needsLeaders(t)
	eachProcs(t, func(t *testing.T) {
		h := newHolder(server.OnLoop)
		s := start(t, rigs()[0], &server.Server{NumLoops: 1, Workers: 2, Handler: h.Dispatcher})
		server.StopTicks(s.Server) // on a busy machine a quick handler may lose the loop, too
		nc, idle := s.dial(t), s.dial(t)
		testkit.Must(t, pipelined(idle, "idle", 1))
		send(t, nc, "hold\nlast\n")
		testkit.Await(t, h.begun, "the handler")
		for range 2 {
			server.Tick(s.Server, false)
		}
		testkit.Until(t, "another leader", func() bool { return s.routes().TakenOver == 1 })
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		expectEOF(t, idle) // at once, whatever the handler does
		if len(ended) > 0 {
			t.Errorf("Shutdown has returned %v while a handler runs", <-ended)
		}
		close(h.release)
		expect(t, nc, "hold\nlast\n")
		expectEOF(t, nc)
		hangUp(nc, idle)
		testkit.Must(t, testkit.Await(t, ended, "Shutdown"))
		s.drained(t)
	})
}
