package server_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// watching returns a Dispatcher whose function passes its reply on, and returns when goOn has a value. The message "d" defers its reply.
func watching(t *testing.T, concurrent int) (d *server.Dispatcher, replies chan server.Reply, goOn chan struct{}) {
	replies, goOn = make(chan server.Reply, 1), make(chan struct{})
	return &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, CancelOnEOF: true, Placement: server.OnWorkers, Serve: func(w server.Reply, message []byte) {
		if string(message) == "d" {
			if err := w.Defer(server.Unlimited); err != nil {
				t.Errorf("Defer: %v", err)
			}
		}
		replies <- w
		<-goOn
	}}, replies, goOn
}

// The cause is that of Context, and each function is called once.
func TestOnCancelCallsItsFunctionsWhenTheContextEnds(t *testing.T) {
	mine := errors.New("mine")
	for name, row := range map[string]struct {
		end  func(w server.Reply, nc net.Conn)
		want error
	}{
		"Abort":            {func(w server.Reply, _ net.Conn) { w.Conn().Abort() }, server.ErrAborted},
		"the peer's end":   {func(_ server.Reply, nc net.Conn) { _ = nc.(*net.TCPConn).CloseWrite() }, server.ErrPeerClosed},
		"the peer's reset": {func(_ server.Reply, nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0); _ = nc.Close() }, nil},
		"an own reason": {func(w server.Reply, _ net.Conn) {
			_ = w.Conn().CloseWithError(mine)
			w.Conn().Abort()
		}, mine},
	} {
		for _, message := range []string{"a\n", "d\n"} {
			for _, concurrent := range []int{0, 4} {
				t.Run(name+"/"+message[:1], func(t *testing.T) { checkOnCancel(t, message, concurrent, row.end, row.want) })
			}
		}
	}
}

// checkOnCancel checks the functions of a request with this message. want is nil if the cause may be any.
func checkOnCancel(t *testing.T, message string, concurrent int, end func(server.Reply, net.Conn), want error) {
	d, replies, goOn := watching(t, concurrent)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
	nc := s.dial(t)
	send(t, nc, message)
	w := testkit.Await(t, replies, "the request")
	if message == "d\n" {
		goOn <- struct{}{}
	}
	causes := make(chan error, 10)
	for range 2 {
		_, err := w.OnCancel(func(cause error) { causes <- cause })
		testkit.Must(t, err)
	}
	stop, err := w.OnCancel(func(error) { causes <- errors.New("it was stopped") })
	testkit.Must(t, err)
	if !stop() || stop() {
		t.Error("stop has not reported whether it did")
	}
	end(w, nc)
	for range 2 {
		cause := testkit.Await(t, causes, "the function")
		if want != nil {
			testkit.CheckErr(t, "the cause", cause, want)
		}
		if cause == nil || cause.Error() == "it was stopped" {
			t.Errorf("the cause is %v", cause)
		}
	}
	_, err = w.OnCancel(func(cause error) { causes <- cause })
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("OnCancel after the end: %v", err)
	}
	if message == "a\n" {
		goOn <- struct{}{}
	} else {
		_ = w.Close() // fails, since the connection has ended
	}
	select {
	case cause := <-causes:
		t.Errorf("a function was called with %v", cause)
	default:
	}
}

// Once the reply has ended its functions are not called, and OnCancel fails, also during the next request.
func TestOnCancelEndsWithItsReply(t *testing.T) {
	for _, concurrent := range []int{0, 4} {
		d, replies, goOn := watching(t, concurrent)
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
		nc := s.dial(t)
		causes := make(chan error, 10)
		var first server.Reply
		for i := range 3 {
			send(t, nc, "a\n")
			w := testkit.Await(t, replies, "a request")
			stop, err := w.OnCancel(func(cause error) { causes <- cause })
			testkit.Must(t, err)
			if i == 0 {
				first = w
			} else if _, err := first.OnCancel(func(error) {}); !errors.Is(err, server.ErrReplyEnded) {
				t.Errorf("OnCancel after the end of the reply: %v", err)
			}
			_, err = w.WriteString("b\n")
			testkit.Must(t, err)
			goOn <- struct{}{}
			_, err = io.ReadFull(nc, make([]byte, 2))
			testkit.Must(t, err)
			if stop() {
				t.Error("stop has ended the registration after the end of the reply")
			}
		}
		if _, err := (server.Reply{}).OnCancel(func(error) {}); !errors.Is(err, server.ErrReplyEnded) {
			t.Errorf("OnCancel of the zero Reply: %v", err)
		}
		s.shutdown(t)
		select {
		case cause := <-causes:
			t.Errorf("a function was called with %v", cause)
		default:
		}
	}
}

// The end of Shutdown's context calls the functions, also of a handler that blocks its loop.
func TestTheEndOfShutdownsContextCallsTheFunctionsOfOnCancel(t *testing.T) {
	causes := make(chan error, 1)
	begun := make(chan struct{})
	d := &server.Dispatcher{Framing: framing.Lines{}, Placement: server.OnLoop, Serve: func(w server.Reply, _ []byte) {
		called := make(chan struct{})
		_, err := w.OnCancel(func(cause error) {
			causes <- cause
			close(called)
		})
		if err != nil {
			t.Errorf("OnCancel: %v", err)
		}
		close(begun)
		<-called
		if _, err := w.OnCancel(func(error) {}); !errors.Is(err, server.ErrServerClosed) {
			t.Errorf("OnCancel after the end: %v", err)
		}
	}}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
	send(t, s.dial(t), "a\n")
	testkit.Await(t, begun, "the request")
	testkit.Must(t, s.Close())
	testkit.CheckErr(t, "the cause", testkit.Await(t, causes, "the function"), server.ErrServerClosed)
}
