package server_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// endings are the ways in which a connection ends, each with the reason that Close is called with.
func endings() map[string]struct {
	end  func(t *testing.T, s *running, c *server.Conn, nc net.Conn)
	want error
} {
	type ending = struct {
		end  func(t *testing.T, s *running, c *server.Conn, nc net.Conn)
		want error
	}
	return map[string]ending{
		"Close": {func(t *testing.T, _ *running, c *server.Conn, nc net.Conn) {
			testkit.Must(t, c.Close())
			expectEOF(t, nc)
			hangUp(nc)
		}, nil},
		"Abort":    {func(_ *testing.T, _ *running, c *server.Conn, _ net.Conn) { c.Abort() }, server.ErrAborted},
		"the peer": {func(_ *testing.T, _ *running, _ *server.Conn, nc net.Conn) { hangUp(nc) }, io.EOF},
		"a reset": {func(t *testing.T, _ *running, _ *server.Conn, nc net.Conn) {
			reset(t, nc)
		}, errAny},
		"a deadline": {func(_ *testing.T, _ *running, c *server.Conn, _ net.Conn) {
			c.SetTimeouts(server.Timeouts{Idle: time.Millisecond})
		}, server.ErrIdle},
		"Shutdown":         {func(t *testing.T, s *running, _ *server.Conn, _ net.Conn) { s.shutdown(t) }, server.ErrServerClosed},
		"the server's end": {func(t *testing.T, s *running, _ *server.Conn, _ net.Conn) { testkit.Must(t, s.Close()) }, server.ErrServerClosed},
		"a panic": {func(_ *testing.T, _ *running, c *server.Conn, _ net.Conn) {
			c.AfterFunc(0, func() { panic("test") })
		}, server.ErrPanic},
	}
}

// errAny stands for any error.
var errAny = errors.New("any error")

// Whatever ends the connection, the function is not called after Close, and no timer is left on the loop.
func TestATimerEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	for name, ending := range endings() {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				if name == "a reset" && r.network == "unix" {
					t.Skip("a unix socket has no reset")
				}
				var over atomic.Bool
				p := newProbe(calls{data: echo, close: func(*server.Conn, error) { over.Store(true) }})
				s := start(t, r, &server.Server{Handler: p, OnPanic: func(*server.Conn, any, []byte) {}})
				c, nc := p.connect(t, s)
				called := func() {
					if over.Load() {
						t.Error("a timer's function was called after Close")
					}
				}
				var timers []*server.ConnTimer
				for _, d := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, time.Hour, 2 * time.Hour} {
					timers = append(timers, c.AfterFunc(d, called))
				}
				ending.end(t, s, c, nc)
				reason := testkit.Await(t, p.closed, "Close")
				if ending.want != errAny || reason == nil {
					testkit.CheckErr(t, "Close", reason, ending.want)
				}
				for i, timer := range timers {
					if timer.Stop() || timer.Reset(0) {
						t.Errorf("timer %d ran after the end", i)
					}
				}
				late := c.AfterFunc(0, called)
				if late.Stop() {
					t.Error("a timer was started after the end")
				}
				if err := c.Loop().Post(func() {}); err == nil { // the loop still runs
					later := make(chan struct{})
					_, err := c.Loop().AfterFunc(20*time.Millisecond, func() { close(later) })
					testkit.Must(t, err)
					testkit.Await(t, later, "a timer that is due after those of the connection")
				}
			})
		})
	}
}

// Stop and Reset report the same, and the function is called as often. The test runs on the loop.
func TestATimerIsLikeThatOfPackageTime(t *testing.T) {
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, _ := p.connect(t, s)
	fired := make(chan bool, 10)
	timer := c.AfterFunc(-time.Second, func() { fired <- c.Loop().OnLoop() })
	if !testkit.Await(t, fired, "the call of a timer that is due already") {
		t.Error("the function was not called on the loop")
	}
	for i, step := range []struct {
		do   func() bool
		want bool
	}{
		{timer.Stop, false}, // it was called
		{func() bool { return timer.Reset(time.Hour) }, false},
		{func() bool { return timer.Reset(time.Hour) }, true},
		{timer.Stop, true},
		{timer.Stop, false},
		{func() bool { return timer.Reset(0) }, false},
	} {
		if got := step.do(); got != step.want {
			t.Errorf("step %d reported %v, want %v", i, got, step.want)
		}
	}
	testkit.Await(t, fired, "the call after Reset")
	if len(fired) > 0 {
		t.Error("the function was called twice")
	}
	defer func() {
		if recover() == nil {
			t.Error("AfterFunc of nil did not panic")
		}
	}()
	c.AfterFunc(0, nil)
}

// The timer may have been due in the same turn.
func TestATimerThatIsStoppedOnTheLoopIsNotCalled(t *testing.T) {
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, _ := p.connect(t, s)
	var calls atomic.Int32
	for range 100 {
		onLoop(t, c, func() {
			var timers [4]*server.ConnTimer
			for i := range timers {
				timers[i] = c.AfterFunc(0, func() {
					calls.Add(1)
					for _, other := range timers {
						other.Stop() // also timers that are due
					}
				})
			}
		})
		called := make(chan struct{})
		c.AfterFunc(0, func() { close(called) })
		testkit.Await(t, called, "a later timer")
	}
	if n := calls.Load(); n != 100 {
		t.Errorf("%d functions were called, want one of each 100 times four", n)
	}
}

// The timer may be due at that time. Each Reset, or a later one, leads to a call, and no call is early.
func TestATimerIsResetFromAnyGoroutine(t *testing.T) {
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, _ := p.connect(t, s)
	var calls, resets atomic.Int32
	timer := c.AfterFunc(0, func() { calls.Add(1) })
	for range 2000 {
		if !timer.Reset(0) {
			resets.Add(1) // it had been called or is being called
		}
	}
	testkit.Until(t, "the last call", func() bool { return calls.Load() == resets.Load()+1 })
	early := time.Now()
	at := make(chan time.Time, 1)
	timer = c.AfterFunc(0, func() { at <- time.Now() })
	const d = 50 * time.Millisecond
	for range 2000 {
		early = time.Now()
		if !timer.Reset(d) {
			testkit.Await(t, at, "the call before Reset") // it may be under way
		}
	}
	if when := testkit.Await(t, at, "the call"); when.Sub(early) < d/2 {
		t.Errorf("the call came after %v, want %v", when.Sub(early), d)
	}
}

// A timer costs one or two small allocations.
func TestATimersFunctionMayWriteAndClose(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		c.AfterFunc(0, func() {
			_, err := c.WriteString("the time is over\n")
			if err = errors.Join(err, c.Close()); err != nil {
				t.Error(err)
			}
		})
		expect(t, nc, "the time is over\n")
		expectEOF(t, nc)
		hangUp(nc)
		testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), nil)
		c, _ = p.connect(t, s)
		timer := c.AfterFunc(time.Hour, func() {})
		if n := testing.AllocsPerRun(100, func() {
			timer.Reset(time.Hour)
			timer.Stop()
		}); n > 0 {
			t.Errorf("Reset and Stop allocate %v times", n)
		}
		if n := testing.AllocsPerRun(100, func() { c.AfterFunc(time.Hour, func() {}).Stop() }); n > 2 {
			t.Errorf("AfterFunc allocates %v times", n)
		}
	})
}
