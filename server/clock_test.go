package server_test

import (
	"errors"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// startWithClock starts srv with a clock that only the test advances.
func startWithClock(t testing.TB, r rig, srv *server.Server) (*running, *testkit.Clock) {
	t.Helper()
	clock := testkit.NewClock()
	srv.LoopConfig = &event.Config{Clock: clock}
	return start(t, r, srv), clock
}

// limit is the deadline of the tests that have a clock. No test waits for it.
const limit = 20 * time.Second

// deadlineTick is more than the time by which a connection's deadline may be late on the clock. It is the unit in which a connection keeps
// the beginnings of its deadlines.
const deadlineTick = 1 << 25 * time.Nanosecond

// twoTurns waits until the loop of c has handled the timers that are due and the input that has arrived at the call.
func twoTurns(t testing.TB, c *server.Conn) {
	t.Helper()
	for range 2 {
		done := make(chan struct{})
		if c.Loop().Post(func() { close(done) }) != nil {
			return // the loop has ended
		}
		select {
		case <-done:
		case <-c.Loop().Done():
			return
		}
	}
}

// staysOpen advances the clock by d, and checks that no connection is closed. c is on the loop to wait for.
func staysOpen(t testing.TB, p *probe, c *server.Conn, clock *testkit.Clock, d time.Duration) {
	t.Helper()
	twoTurns(t, c)
	clock.Advance(d)
	twoTurns(t, c)
	if len(p.closed) > 0 {
		t.Fatalf("closed before its deadline: %v", <-p.closed)
	}
}

// awaitNoRequest waits until no request of c is in progress, which may be the case some time after its client has the answer: deadlines that do
// not count during a request begin then.
func awaitNoRequest(t testing.TB, c *server.Conn) {
	t.Helper()
	testkit.Until(t, "the end of the requests", func() bool {
		pending := make(chan int, 1)
		testkit.Must(t, c.Loop().Post(func() { pending <- c.Requests().Pending() }))
		return testkit.Await(t, pending, "a posted function") == 0
	})
}

// closesAfter checks that c is closed with the reason want when d has passed on the clock, and not before.
func closesAfter(t testing.TB, p *probe, c *server.Conn, clock *testkit.Clock, d time.Duration, want error) {
	t.Helper()
	staysOpen(t, p, c, clock, d-time.Millisecond)
	clock.Advance(time.Millisecond + deadlineTick)
	wantClosed(t, p, want)
}

// closesOnceStalled is closesAfter for a deadline that counts anew while the kernel takes output.
func closesOnceStalled(t testing.TB, p *probe, c *server.Conn, clock *testkit.Clock, d time.Duration, want error) {
	t.Helper()
	staysOpen(t, p, c, clock, d-time.Millisecond)
	passTime(t, c, clock, d, "Close", func() bool { return len(p.closed) > 0 })
	wantClosed(t, p, want)
}

func wantClosed(t testing.TB, p *probe, want error) {
	t.Helper()
	if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, want) {
		t.Errorf("the reason is %v, want %v", reason, want)
	}
}

// passTime advances the clock in steps, each of which the loop of c notices, until done.
func passTime(t testing.TB, c *server.Conn, clock *testkit.Clock, step time.Duration, what string, done func() bool) {
	t.Helper()
	testkit.Until(t, what, func() bool {
		if done() {
			return true
		}
		clock.Advance(step)
		twoTurns(t, c)
		return done()
	})
}

// sendByte sends a byte and waits until the server has read it.
func sendByte(t testing.TB, c *server.Conn, nc interface{ Write([]byte) (int, error) }) {
	t.Helper()
	before := c.Stats().BytesRead
	_, err := nc.Write([]byte("x"))
	testkit.Must(t, err)
	testkit.Until(t, "the byte", func() bool { return c.Stats().BytesRead == before+1 })
}
