package server_test

import (
	"bufio"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// A farewell is a ShutdownHandler: it says bye, and closes the connection when the client has said so, too.
type farewell struct{ *server.Dispatcher }

func (h farewell) Shutdown(c *server.Conn) { _, _ = c.WriteString("bye\n") }

func (h farewell) Unwrap() server.Handler { return h.Dispatcher }

func newFarewell() farewell {
	return farewell{&server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, line []byte) {
		_, _ = w.Write(append(line, '\n'))
		if string(line) == "bye" {
			_ = w.Conn().Close()
		}
	}}}
}

// The connection is idle when the shutdown begins, and is served until the handler closes it. Other connections end as usual.
func TestAShutdownHandlerEndsItsConnectionsItself(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: newFarewell(), CloseTimeout: -1, IdleTimeout: -1})
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "hello", 1))
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		expect(t, nc, "bye\n")
		testkit.Must(t, pipelined(nc, "still served", 3))
		send(t, nc, "bye\n")
		expect(t, nc, "bye\n")
		expectEOF(t, nc)
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
	})
}

// The client does not answer. The end of the context ends the connection.
func TestTheEndOfTheContextEndsTheConnectionsOfAShutdownHandler(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: newFarewell(), CloseTimeout: -1, IdleTimeout: -1})
	nc := s.dial(t)
	testkit.Must(t, pipelined(nc, "hello", 1))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	expect(t, nc, "bye\n")
	cancel()
	var late *server.ShutdownError
	if err := testkit.Await(t, done, "Shutdown's end"); !errors.As(err, &late) || late.Conns != 1 {
		t.Errorf("Shutdown has returned %v", err)
	}
	testkit.Must(t, nc.SetReadDeadline(time.Now().Add(time.Minute)))
	if _, err := bufio.NewReader(nc).ReadByte(); err == nil {
		t.Error("the connection is open")
	}
}

// A handler of another protocol that a request has set is the one that is called.
func TestShutdownCallsTheHandlerOfSetHandler(t *testing.T) {
	d := &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, line []byte) {
		testkit.Must(t, w.Conn().SetHandler(newFarewell()))
		_, _ = w.WriteString("changed\n")
	}}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, CloseTimeout: -1, IdleTimeout: -1})
	nc := s.dial(t)
	send(t, nc, "change\n")
	expect(t, nc, "changed\n")
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	expect(t, nc, "bye\n")
	send(t, nc, "bye\n")
	expect(t, nc, "bye\n")
	expectEOF(t, nc)
	hangUp(nc)
	testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
}

// A handler that a request sets while Shutdown waits for it is called when the request has ended, and ends the connection itself.
func TestShutdownCallsAHandlerThatIsSetMeanwhile(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, release := make(chan *server.Conn), make(chan struct{})
		d := &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, _ []byte) {
			begun <- w.Conn()
			<-release
			testkit.Must(t, w.Conn().SetHandler(newFarewell()))
			_, _ = w.WriteString("changed\n")
		}}
		s := start(t, r, &server.Server{Handler: d, CloseTimeout: -1, IdleTimeout: -1})
		nc := s.dial(t)
		send(t, nc, "change\n")
		c := testkit.Await(t, begun, "the request")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the shutdown", func() bool { return server.IsDraining(c) })
		close(release)
		expect(t, nc, "changed\nbye\n")
		testkit.Must(t, pipelined(nc, "still served", 3))
		send(t, nc, "bye\n")
		expect(t, nc, "bye\n")
		expectEOF(t, nc)
		hangUp(nc)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
	})
}
