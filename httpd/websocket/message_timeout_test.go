package websocket_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A peer that never completes a message answers pings, and sends some of its own, and fragments. It is closed all the same.
func TestAMessageThatIsNeverCompleteEndsAtADeadline(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		for _, cfg := range []websocket.Config{{}, {MessageTimeout: 10 * time.Second, PingInterval: -1}, {MessageTimeout: 10 * time.Second, IdleTimeout: time.Hour}} {
			clock := testkit.NewClock()
			limit := cfg.MessageTimeout
			if limit == 0 {
				limit = websocket.DefaultMessageTimeout
			}
			cfg.Message, cfg.Deflate = echo, deflate
			s := startWithClock(t, clock, &cfg)
			p := s.dial(t, fields)
			for range 3 { // messages that are complete have no deadline
				p.send(frame(opText, "x"), frame(0x80, "y"))
				p.want(0x80|opText, "xy")
				clock.Advance(limit / 4)
			}
			p.send(frame(opText, "begin"))
			testkit.Until(t, "the first frame", func() bool { return s.handler.Stats().FragmentBytes > 0 })
			began := clock.Now()
			s.advance(t, clock, "the close frame", func() bool {
				p.send(frame(opContinuation, "m"), frame(0x80|opPong, ""), frame(0x80|opPing, "p"))
				return p.closesBeforePong(t, s)
			})
			if passed := clock.Now() - began; passed < limit || passed > limit*3/2+3*time.Second {
				t.Errorf("the end after %v, the limit is %v", passed, limit)
			}
			testkit.Must(t, p.Close())
			if e := s.ended(t); e.Code != websocket.ClosePolicyViolation || e.ByPeer || e.Err != nil {
				t.Errorf("Closed was called with %v", e)
			}
			testkit.WantEqual(t, "bytes that are counted", s.handler.Stats().FragmentBytes, 0)
		}
	})
}

// closesBeforePong reads frames up to a close frame or the pong to the ping "p". After the pong it waits until the server has handled the
// frames, because a message that is late ends the WebSocket only between two of them.
func (p *peer) closesBeforePong(t *testing.T, s *site) bool {
	t.Helper()
	for {
		switch first, payload := p.next(); {
		case first == 0x80|opClose:
			return true
		case first == 0x80|opPong && payload == "p":
			s.awaitRequests(t)
			return false
		case first != 0x80|opPing:
			t.Fatalf("the frame is %x %q", first, payload)
		}
	}
}

// A peer that does not read, or sends pings all the time, has output that waits. It is read from up to HighWater all the same, so the time counts.
func TestMessageTimeoutCountsWhileLittleOutputWaits(t *testing.T) {
	const limit = 10 * time.Second
	clock := testkit.NewClock()
	opened := make(chan *websocket.Conn, 1)
	s := startWithClock(t, clock, &websocket.Config{Message: echo, MessageTimeout: limit, PingInterval: -1, WriteTimeout: -1,
		Opened: func(c *websocket.Conn, _ *http.Request) { opened <- c }})
	p := s.dial(t, "")
	c := testkit.Await(t, opened, "Opened")
	m := []byte(noise(100_000))
	testkit.Until(t, "output to wait", func() bool {
		testkit.Must(t, c.WriteMessage(websocket.Binary, m))
		s.doWhatIsDue(t)
		return c.Buffered() > 0
	})
	if most := server.DefaultMaxOutput / 4; c.Buffered() >= most {
		t.Fatalf("%d bytes wait, HighWater is %d", c.Buffered(), most)
	}
	p.send(frame(opText, "begin"))
	testkit.Until(t, "the first frame", func() bool { return s.handler.Stats().FragmentBytes > 0 })
	began := clock.Now()
	s.advance(t, clock, "the violation", func() bool { return s.handler.Stats().Violations > 0 })
	if passed := clock.Now() - began; passed < limit-time.Second || passed > limit*3/2 {
		t.Errorf("the violation after %v, the limit is %v", passed, limit)
	}
}

// The server does not read the rest of a message while output above HighWater waits for the peer.
func TestMessageTimeoutDoesNotCountWhileTheServerDoesNotRead(t *testing.T) {
	clock := testkit.NewClock()
	opened := make(chan *websocket.Conn, 1)
	s := newSite(t, &websocket.Config{Message: echo, MessageTimeout: 10 * time.Second, PingInterval: -1, WriteTimeout: -1,
		Opened: func(c *websocket.Conn, _ *http.Request) { opened <- c }})
	s.LoopConfig = &event.Config{Clock: clock}
	s.Socket.WriteBuffer = 16 << 10 // the kernel may take this much, and what the peer's buffer holds, after a write was refused
	s.run(t)
	p := s.dial(t, "", frame(opText, "begin"))
	c := testkit.Await(t, opened, "Opened")
	testkit.Until(t, "the first frame", func() bool { return s.handler.Stats().FragmentBytes > 0 })
	m, sent := fillOutput(t, c)
	began := clock.Now()
	s.advance(t, clock, "the time to pass", func() bool { return clock.Now()-began > time.Minute })
	testkit.WantEqual(t, "connections that have ended", len(s.closed), 0)
	for range sent {
		p.want(0x80|opBinary, m)
	}
	p.send(frame(0x80, " end"))
	p.want(0x80|opText, "begin end")
}
