package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The context lives while Message runs, is the same for each call, and ends when Message returns.
func TestTheContextOfAReplyEndsWithMessage(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		replies := make(chan websocket.Reply, 10)
		contexts := make(chan context.Context, 10)
		s := start(t, &websocket.Config{Placement: placement, Message: func(w websocket.Reply, typ websocket.MessageType, p []byte) {
			ctx := w.Context()
			if ctx != w.Context() {
				t.Error("another call has returned another context")
			}
			testkit.CheckErr(t, "the context while Message runs", ctx.Err())
			contexts <- ctx
			replies <- w
			echo(w, typ, p)
		}})
		p := s.dial(t, "")
		for range 3 {
			p.send(text("x"))
			p.want(0x80|opText, "x")
			ctx := testkit.Await(t, contexts, "the context")
			testkit.Await(t, ctx.Done(), "the end of the context")
			if ctx.Err() != context.Canceled || context.Cause(ctx) != context.Canceled {
				t.Errorf("it has ended with %v, because of %v", ctx.Err(), context.Cause(ctx))
			}
			w := testkit.Await(t, replies, "the Reply")
			testkit.CheckErr(t, "the context of a Reply that has ended", w.Context().Err(), context.Canceled)
			testkit.CheckErr(t, "the context of the WebSocket", w.Conn().Context().Err())
		}
	})
}

// Message waits for its context, and learns why it has ended.
func TestTheContextOfAReplyEndsWithTheConnection(t *testing.T) {
	causes := make(chan error, 1)
	entered := make(chan *websocket.Conn, 1)
	s := start(t, &websocket.Config{Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
		w.Blocking()
		ctx := w.Context()
		entered <- w.Conn()
		<-ctx.Done()
		causes <- context.Cause(ctx)
		if again := w.Context(); context.Cause(again) == nil {
			t.Error("a context after the end has not ended")
		}
	}})
	for _, test := range []struct {
		end  func(p *peer, c *websocket.Conn)
		want error
	}{
		{func(p *peer, _ *websocket.Conn) { testkit.Must(t, p.Conn.(*net.TCPConn).CloseWrite()) }, server.ErrPeerClosed},
		{func(p *peer, _ *websocket.Conn) { testkit.Must(t, p.Conn.(*net.TCPConn).SetLinger(0)); _ = p.Close() }, syscall.ECONNRESET},
		{func(_ *peer, c *websocket.Conn) { c.Abort() }, server.ErrAborted},
	} {
		p := s.dial(t, "", text("x"))
		test.end(p, testkit.Await(t, entered, "Message"))
		if err := testkit.Await(t, causes, "the end of the context"); !errors.Is(err, test.want) {
			t.Errorf("the context has ended because of %v, want %v", err, test.want)
		}
		_, _ = io.ReadAll(p.r) // until the end
		s.ended(t)
	}
}

// A Message that waits for its context, also by a context that derives from it, leaves nothing behind.
func TestTheContextOfAReplyIsGivenBack(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("the memory of the race detector would be measured too; the test runs without it in .ci/run")
	}
	closed := func(*websocket.Conn, *websocket.CloseError) {}
	s := start(t, &websocket.Config{Closed: closed, Message: func(w websocket.Reply, typ websocket.MessageType, p []byte) {
		if string(p) == "context" {
			ctx, cancel := context.WithCancel(w.Context())
			defer cancel()
			select {
			case <-ctx.Done():
			default:
			}
		}
		echo(w, typ, p)
	}})
	const n = 200
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = s.dial(t, "", text("hello"))
		peers[i].want(0x80|opText, "hello")
	}
	ask := func(m string) int64 {
		for range 2 {
			for _, p := range peers {
				p.send(text(m))
				p.want(0x80|opText, m)
			}
		}
		return heap()
	}
	before := ask("hello")
	if got := (ask("context") - before) / n; got > 20 {
		t.Errorf("%d bytes are left for each WebSocket", got)
	}
}
