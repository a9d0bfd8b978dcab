package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The code is sent back, and the server closes the connection. Frames that follow the close frame are not handled.
func TestTheCloseFrameOfThePeerIsAnswered(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
			reason := strings.Repeat("r", code%124)
			p := s.dial(t, "")
			p.send(text("before"), frame(0x80|opClose, closing(code, reason)), text("after"))
			p.want(0x80|opText, "before")
			p.want(0x80|opClose, closing(code, reason))
			p.wantEnd()
			testkit.Must(t, p.Close())
			if e := s.ended(t); int(e.Code) != code || e.Reason != reason || !e.ByPeer || e.Err != nil {
				t.Errorf("Closed was called with %v", e)
			}
		}
		p := s.dial(t, "")
		p.send(frame(0x80|opClose, ""))
		p.want(0x80|opClose, "")
		p.wantEnd()
		testkit.Must(t, p.Close())
		if e := s.ended(t); e.Code != websocket.CloseNoStatus || !e.ByPeer || e.Err != nil {
			t.Errorf("Closed was called with %v", e)
		}
	})
}

// A peer that has not read its messages yet is sent the answers to its ping and its close frame after them, also if they do not fit into the output.
func TestControlFramesAreAnsweredAfterFullOutput(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement, MaxMessage: 1 << 20})
		p := s.dial(t, "")
		long := strings.Repeat("m", 1<<20)
		go func() {
			_, _ = p.Write(slices.Concat(text(long), frame(0x80|opPing, "ping"), frame(0x80|opClose, closing(4000, ""))))
		}() // the answers show it
		p.want(0x80|opText, long)
		p.want(0x80|opPong, "ping")
		p.want(0x80|opClose, closing(4000, ""))
		p.wantEnd()
	})
}

// conns returns a site whose WebSockets are sent to the channel.
func conns(t *testing.T, cfg websocket.Config) (*site, chan *websocket.Conn) {
	t.Helper()
	opened := make(chan *websocket.Conn, 10)
	message := cfg.Message
	cfg.Message = func(w websocket.Reply, typ websocket.MessageType, p []byte) {
		if string(p) == "conn" {
			opened <- w.Conn()
		} else if message != nil {
			message(w, typ, p)
		}
	}
	return start(t, &cfg), opened
}

// conn returns the Conn of a peer.
func (p *peer) conn(opened chan *websocket.Conn) *websocket.Conn {
	p.t.Helper()
	p.send(text("conn"))
	return testkit.Await(p.t, opened, "the message")
}

// Messages that were written before are sent, and then the close frame. Messages that still arrive are discarded until the peer has answered.
func TestCloseFollowsWhatWasWritten(t *testing.T) {
	s, opened := conns(t, websocket.Config{Message: echo})
	p := s.dial(t, "")
	c := p.conn(opened)
	testkit.Must(t, c.WriteText("last"))
	testkit.Must(t, c.Close(4001, "done"))
	testkit.CheckErr(t, "WriteText after Close", c.WriteText("x"), websocket.ErrClosed)
	testkit.CheckErr(t, "a second Close", c.Close(websocket.CloseNormal, ""), net.ErrClosed)
	p.want(0x80|opText, "last")
	p.want(0x80|opClose, closing(4001, "done"))
	p.send(text("discarded"), frame(opText, "discarded, too"), frame(0x80, ""), frame(0x80|opPing, "no answer"), frame(0x80|opClose, closing(4001, "")))
	p.wantEnd()
	testkit.Must(t, p.Close())
	if e := s.ended(t); e.Code != 4001 || e.Reason != "done" || e.ByPeer || e.Err != nil {
		t.Errorf("Closed was called with %v", e)
	}
}

// Message has written to its Reply, which is not sent yet.
func TestCloseFollowsTheReply(t *testing.T) {
	written, closed := make(chan *websocket.Conn), make(chan struct{})
	s := start(t, &websocket.Config{Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
		_ = w.WriteText("answer")
		w.Blocking()
		written <- w.Conn()
		<-closed
		testkit.CheckErr(t, "WriteText after Close", w.WriteText("x"), websocket.ErrClosed)
	}})
	p := s.dial(t, "", text("question"))
	c := testkit.Await(t, written, "the message")
	testkit.Must(t, c.Close(websocket.CloseNormal, ""))
	close(closed)
	p.want(0x80|opText, "answer")
	p.want(0x80|opClose, closing(1000, ""))
	p.send(frame(0x80|opClose, closing(1000, "")))
	p.wantEnd()
}

func TestCloseRefusesInvalidArguments(t *testing.T) {
	s, opened := conns(t, websocket.Config{})
	p := s.dial(t, "")
	c := p.conn(opened)
	for _, test := range []struct {
		code   websocket.CloseCode
		reason string
	}{{0, ""}, {999, ""}, {1004, ""}, {1006, ""}, {1015, ""}, {1016, ""}, {2999, ""}, {5000, ""}, {1005, "reason"}, {1000, strings.Repeat("x", 124)}, {1000, "\xff"}} {
		testkit.CheckErr(t, "Close", c.Close(test.code, test.reason), websocket.ErrInvalid)
	}
	testkit.Must(t, c.Close(websocket.CloseNoStatus, ""))
	p.want(0x80|opClose, "")
}

// The deadline ends the connection.
func TestAPeerThatDoesNotAnswerTheCloseFrameIsCutOff(t *testing.T) {
	clock := testkit.NewClock()
	opened := make(chan *websocket.Conn, 1)
	s := startWithClock(t, clock, &websocket.Config{Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) { opened <- w.Conn() }})
	p := s.dial(t, "")
	c := p.conn(opened)
	testkit.Must(t, c.Close(websocket.CloseNormal, ""))
	p.want(0x80|opClose, closing(1000, ""))
	s.advance(t, clock, "the end", func() bool { return len(s.closed) > 0 })
	if passed := clock.Now(); passed < websocket.DefaultCloseTimeout || passed > websocket.DefaultCloseTimeout+2*time.Second {
		t.Errorf("it has ended after %v", passed)
	}
	_, _ = io.ReadAll(p.r) // a reset
	e := s.ended(t)
	if e.Code != websocket.CloseNormal || !errors.Is(e, websocket.ErrCloseTimeout) || !errors.Is(e, os.ErrDeadlineExceeded) {
		t.Errorf("Closed was called with %v", e)
	}
}

// The peer ends the connection without a close frame.
func TestAnEndWithoutACloseFrameIsAbnormal(t *testing.T) {
	s, opened := conns(t, websocket.Config{Message: echo})
	p := s.dial(t, "")
	c := p.conn(opened)
	testkit.Must(t, p.Conn.(*net.TCPConn).CloseWrite())
	p.wantEnd()
	testkit.Must(t, p.Close())
	if e := s.ended(t); e.Code != websocket.CloseAbnormal || e.ByPeer || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("Closed was called with %v", e)
	}
	testkit.CheckErr(t, "WriteText after the end", c.WriteText("x"), net.ErrClosed)

	p = s.dial(t, "")
	p.conn(opened).Abort()
	_, _ = io.ReadAll(p.r) // a reset
	if e := s.ended(t); e.Code != websocket.CloseAbnormal || !errors.Is(e, server.ErrAborted) {
		t.Errorf("Closed was called with %v", e)
	}
}

// Each WebSocket gets 1001, and Shutdown waits for the close handshake.
func TestShutdownClosesWebSocketsInOrder(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	var peers []*peer
	for range 20 {
		p := s.dial(t, "")
		p.send(text("hello"))
		p.want(0x80|opText, "hello")
		peers = append(peers, p)
	}
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, p := range peers {
		p.want(0x80|opClose, closing(1001, ""))
		p.send(frame(0x80|opClose, closing(1001, "")))
		p.wantEnd()
		testkit.Must(t, p.Close())
		if e := s.ended(t); e.Code != websocket.CloseGoingAway || e.ByPeer || e.Err != nil {
			t.Errorf("Closed was called with %v", e)
		}
	}
	testkit.Must(t, testkit.Await(t, done, "Shutdown"))
}

// The peer does not answer. The end of the context ends it.
func TestShutdownEndsWithItsContext(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo, CloseTimeout: time.Hour})
	p := s.dial(t, "")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	p.want(0x80|opClose, closing(1001, ""))
	cancel()
	if err := testkit.Await(t, done, "Shutdown"); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown has returned %v", err)
	}
	if e := s.ended(t); e.Code != websocket.CloseGoingAway || !errors.Is(e, net.ErrClosed) {
		t.Errorf("Closed was called with %v", e)
	}
}

// A panic is logged and ends its WebSocket with 1011; others go on.
func TestAPanicInMessageEndsItsWebSocket(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Placement: placement, ErrorLog: quiet, Message: func(w websocket.Reply, _ websocket.MessageType, p []byte) {
			if string(p) == "panic" {
				panic("of the test")
			}
			_ = w.WriteBinary(p)
		}})
		other, p := s.dial(t, ""), s.dial(t, "", text("panic"))
		p.wantClose(1011)
		other.send(text("hello"))
		other.want(0x80|opBinary, "hello")
	})
}

// The peer reads slowly what was written before the close frame, and is not cut off by CloseTimeout.
func TestCloseWaitsForAPeerThatReadsSlowly(t *testing.T) {
	clock := testkit.NewClock()
	opened := make(chan *websocket.Conn, 1)
	s := newSite(t, &websocket.Config{WriteTimeout: -1, PingInterval: -1, CloseTimeout: websocket.DefaultCloseTimeout,
		Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) { opened <- w.Conn() }})
	s.LoopConfig = &event.Config{Clock: clock}
	s.Socket.WriteBuffer = 16 << 10
	s.run(t)
	p := s.dial(t, "")
	c := p.conn(opened)
	m, sent := fillOutput(t, c)
	testkit.Must(t, c.Close(websocket.CloseNormal, ""))
	before := c.Buffered()
	for i := range sent {
		if p.want(0x80|opBinary, m); i%10 == 9 && before > 0 { // the kernel takes more after a megabyte
			testkit.Until(t, "output to be taken", func() bool { return c.Buffered() < before })
			before = c.Buffered()
			clock.Advance(3 * time.Second)
		}
	}
	p.want(0x80|opClose, closing(1000, ""))
	p.send(frame(0x80|opClose, closing(1000, "")))
	p.wantEnd()
}

// Messages to the Conn wait for the end of a Reply that is sent in pieces. The close frame follows them, too.
func TestCloseFollowsMessagesThatWaitForALongReply(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		long := noise(200_000)
		s := start(t, &websocket.Config{Placement: placement, Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
			_ = w.WriteBinary([]byte(long))
			testkit.CheckErr(t, "WriteText", w.Conn().WriteText("aside"))
			testkit.CheckErr(t, "Close", w.Conn().Close(websocket.CloseNormal, ""))
		}})
		p := s.dial(t, "", text("question"))
		p.want(0x80|opBinary, long)
		p.want(0x80|opText, "aside")
		p.want(0x80|opClose, closing(1000, ""))
	})
}
