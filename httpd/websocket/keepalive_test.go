package websocket_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// about reports whether got is want, or up to a quarter and two seconds later.
func about(got, want time.Duration) bool { return got >= want && got <= want+want/4+2*time.Second }

// A peer that answers the pings lives, one that sends messages gets none, and one that does neither is cut off.
func TestPingsFindDeadPeers(t *testing.T) {
	clock := testkit.NewClock()
	s := startWithClock(t, clock, &websocket.Config{Message: echo, PingInterval: 40 * time.Second, PongTimeout: 20 * time.Second})
	p := s.dial(t, "")
	p.send(text("open")) // before the answer, the time of the first ping may not run
	p.want(0x80|opText, "open")
	pings := func() uint64 { return s.handler.Stats().Pings }
	began := clock.Now()
	for n := range uint64(3) {
		s.advance(t, clock, "a ping", func() bool { return pings() > n })
		if passed := clock.Now() - began; !about(passed, 40*time.Second) {
			t.Errorf("a ping after %v", passed)
		}
		p.want(0x80|opPing, "")
		p.send(frame(0x80|opPong, ""), text("done"))
		p.want(0x80|opText, "done")
		began = clock.Now()
	}
	for clock.Now()-began < 3*time.Minute {
		clock.Advance(30 * time.Second)
		p.send(text("message"))
		p.want(0x80|opText, "message")
	}
	testkit.WantEqual(t, "pings", pings(), 3)
	began = clock.Now()
	s.advance(t, clock, "a ping", func() bool { return pings() == 4 })
	s.advance(t, clock, "the end", func() bool { return len(s.closed) > 0 })
	if passed := clock.Now() - began; !about(passed, 60*time.Second) {
		t.Errorf("the end after %v", passed)
	}
	_, _ = io.ReadAll(p.r) // a ping, a reset
	if e := s.ended(t); e.Code != websocket.CloseAbnormal || !errors.Is(e, websocket.ErrPongTimeout) || !errors.Is(e, os.ErrDeadlineExceeded) {
		t.Errorf("Closed was called with %v", e)
	}
}

// While Message runs, its WebSocket is not read, so that a pong would not be noticed.
func TestNoPeerIsCutOffWhileMessageRuns(t *testing.T) {
	clock := testkit.NewClock()
	begun, release := make(chan struct{}), make(chan struct{})
	s := startWithClock(t, clock, &websocket.Config{IdleTimeout: time.Minute, Message: func(w websocket.Reply, typ websocket.MessageType, p []byte) {
		w.Blocking()
		close(begun)
		<-release
		echo(w, typ, p)
	}})
	p := s.dial(t, "", text("long"))
	testkit.Await(t, begun, "the message")
	other := s.dial(t, "")
	s.advance(t, clock, "the end of another WebSocket", func() bool { return len(s.closed) > 0 })
	if e := s.ended(t); !errors.Is(e, websocket.ErrPongTimeout) && !errors.Is(e, websocket.ErrIdle) {
		t.Errorf("the other WebSocket has ended with %v", e)
	}
	testkit.Must(t, other.Close())
	close(release)
	p.want(0x80|opText, "long")
}

// Pongs are no messages.
func TestAnIdleWebSocketIsClosed(t *testing.T) {
	clock := testkit.NewClock()
	s := startWithClock(t, clock, &websocket.Config{Message: echo, PingInterval: -1, IdleTimeout: 2 * time.Minute})
	p := s.dial(t, "")
	began := clock.Now()
	for clock.Now()-began < 100*time.Second {
		clock.Advance(10 * time.Second)
		p.send(frame(0x80|opPing, "x"))
		p.want(0x80|opPong, "x")
	}
	p.send(text("message"))
	p.want(0x80|opText, "message")
	began = clock.Now()
	var first byte
	var payload string
	for open := true; open; open = first == 0x80|opPong { // what is due has been done, or is done in the turn that answers
		clock.Advance(time.Second)
		p.send(frame(0x80|opPing, "x"))
		first, payload = p.next()
	}
	if passed := clock.Now() - began; !about(passed, 2*time.Minute) {
		t.Errorf("the end after %v", passed)
	}
	if first != 0x80|opClose || payload != closing(1001, "idle") {
		t.Errorf("the frame is %x %q", first, payload)
	}
	p.send(frame(0x80|opClose, closing(1001, "")))
	p.wantEnd()
	testkit.Must(t, p.Close())
	if e := s.ended(t); e.Code != websocket.CloseGoingAway || !errors.Is(e, websocket.ErrIdle) {
		t.Errorf("Closed was called with %v", e)
	}
}

// A frame that has begun has to be complete in time, and so has output to be taken.
func TestASlowFrameIsCutOff(t *testing.T) {
	clock := testkit.NewClock()
	s := startWithClock(t, clock, &websocket.Config{Message: echo, PingInterval: -1, ReadTimeout: 20 * time.Second})
	p := s.dial(t, "")
	m := text("a message that is sent a byte at a time")
	began := clock.Now()
	sent := 0
	s.advance(t, clock, "the end", func() bool {
		if sent < len(m)-1 {
			_, _ = p.Write(m[sent : sent+1]) // fails when it has ended
			sent++
		}
		return len(s.closed) > 0
	})
	if passed := clock.Now() - began; passed < 20*time.Second || sent < 2 {
		t.Errorf("the end after %v and %d bytes", passed, sent)
	}
	if e := s.ended(t); e.Code != websocket.CloseAbnormal || !errors.Is(e, os.ErrDeadlineExceeded) {
		t.Errorf("Closed was called with %v", e)
	}
}

func TestTheRateOfFramesIsLimited(t *testing.T) {
	clock := testkit.NewClock()
	s := startWithClock(t, clock, &websocket.Config{Message: echo, PingInterval: -1, FrameRate: 2, FrameBurst: 5})
	p := s.dial(t, "")
	for range 5 {
		p.send(text("x"))
		p.want(0x80|opText, "x")
	}
	for range 10 {
		clock.Advance(500 * time.Millisecond)
		p.send(frame(0x80|opPing, "y"))
		p.want(0x80|opPong, "y")
	}
	p.send(frame(0x80|opPing, "z"))
	p.wantClose(1008)
}
