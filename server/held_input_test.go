package server_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// steppedClock is a loop's clock that only a test advances.
type steppedClock struct {
	mu     sync.Mutex
	now    time.Duration
	timers map[*steppedTimer]struct{}
}

type steppedTimer struct {
	clock *steppedClock
	at    time.Duration
	f     func()
}

func (c *steppedClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *steppedClock) AfterFunc(d time.Duration, f func()) event.ClockTimer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &steppedTimer{c, c.now + d, f}
	if c.timers == nil {
		c.timers = map[*steppedTimer]struct{}{}
	}
	c.timers[t] = struct{}{}
	return t
}

func (t *steppedTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, ok := t.clock.timers[t]
	delete(t.clock.timers, t)
	return ok
}

func (t *steppedTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, ok := t.clock.timers[t]
	t.at = t.clock.now + d
	t.clock.timers[t] = struct{}{}
	return ok
}

// advance advances the clock by d.
func (c *steppedClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now += d
	var due []func()
	for t := range c.timers {
		if t.at <= c.now {
			due = append(due, t.f)
			delete(c.timers, t)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// The tests below check one rule: ReadTimeout does not count while the server does not read, since the peer cannot end its request. It counts
// from when the server reads again.

// There are as many as the handler permits.
func TestReadTimeoutDoesNotCountWhileRequestsAreInProgress(t *testing.T) {
	eachDispatcher(t, func(t *testing.T, handler func(d *server.Dispatcher) server.Handler) {
		clock := &steppedClock{}
		release := make(chan struct{})
		reasons, closed := closings()
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: 2, Closed: closed, Serve: func(w server.Reply, line []byte) {
			<-release
			_, _ = w.Write(append(line, '\n'))
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d), LoopConfig: &event.Config{Clock: clock}, ReadTimeout: time.Hour,
			IdleTimeout: -1, WriteTimeout: -1})
		nc := s.dial(t)
		send(t, nc, "a\nb\nhal")
		testkit.Until(t, "two requests", func() bool { st := s.Stats(); return st.RunningRequests == 2 && st.BytesRead == 7 })
		clock.advance(2 * time.Hour)
		close(release)
		expect(t, nc, "a\nb\n")
		for c := range s.Conns() { // the loop has ended both requests when it calls this
			onLoop(t, c, func() {})
		}
		clock.advance(50 * time.Minute)
		send(t, nc, "f\n")
		expect(t, nc, "half\n")

		send(t, nc, "no end")
		testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead == 9+6 })
		for c := range s.Conns() {
			onLoop(t, c, func() {})
		}
		clock.advance(2 * time.Hour)
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrReadTimeout)
	})
}

// It is paused by PauseRead, or because the peer does not take the output.
func TestReadTimeoutDoesNotCountWhileReadingIsPaused(t *testing.T) {
	for name, row := range map[string]struct {
		pause, resume func(t *testing.T, c *server.Conn, nc net.Conn)
	}{
		"PauseRead": {
			func(_ *testing.T, c *server.Conn, _ net.Conn) { c.PauseRead(nil) },
			func(_ *testing.T, c *server.Conn, _ net.Conn) { c.ResumeRead(nil) },
		},
		"HighWater": {
			func(t *testing.T, c *server.Conn, _ net.Conn) {
				testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), nil))
			},
			func(t *testing.T, _ *server.Conn, nc net.Conn) {
				_, err := io.CopyN(io.Discard, nc, 8<<20)
				testkit.Must(t, err)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &steppedClock{}
			d := echoLines()
			conns := make(chan *server.Conn, 1)
			d.Opened = func(c *server.Conn) { conns <- c }
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, LoopConfig: &event.Config{Clock: clock}, ReadTimeout: time.Hour,
				IdleTimeout: -1, WriteTimeout: -1, Socket: tight()})
			nc := s.dial(t)
			c := testkit.Await(t, conns, "Open")
			send(t, nc, "hal")
			testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead == 3 })
			row.pause(t, c, nc)
			onLoop(t, c, func() {})
			clock.advance(2 * time.Hour)
			row.resume(t, c, nc)
			onLoop(t, c, func() {})
			clock.advance(50 * time.Minute)
			send(t, nc, "f\n")
			expect(t, nc, "half\n")
		})
	}
}
