package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A detached connection that counts is one of MaxConns, and Shutdown waits for it, until leave is called, however often.
func TestADetachedConnectionCountsUntilLeave(t *testing.T) {
	inAllRigs(t, func(t *testing.T, r rig) {
		type detached struct {
			nc    net.Conn
			leave func()
		}
		given := make(chan detached, 1)
		s := start(t, r, &server.Server{MaxConns: 1, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			wantNil(t, "DetachCounted", w.Conn().DetachCounted(func(nc net.Conn, _ []byte, leave func(), err error) {
				wantNil(t, "the detached connection", err)
				given <- detached{nc, leave}
			}))
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		d := testkit.Await(t, given, "the detached connection")
		testkit.Until(t, "the end on the loop", func() bool { return s.Stats().Closed == 1 })
		if n := s.Stats().OpenConns; n != 1 {
			t.Errorf("%d connections are open, want the detached one", n)
		}
		_, _ = io.Copy(io.Discard, s.dialPlain(t)) // it is refused
		testkit.Until(t, "a refusal", func() bool { return s.Stats().Refused == 1 })
		go func() { _, _ = io.WriteString(d.nc, "still there") }() // the client sees it
		expect(t, nc, "still there")
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		testkit.Until(t, "the end of the listener", func() bool { return len(s.Listeners()) == 0 })
		select {
		case err := <-ended:
			t.Errorf("Shutdown has not waited: %v", err)
		default:
		}
		_ = d.nc.Close() // by intention
		d.leave()
		d.leave()
		testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
		if n := s.Stats().OpenConns; n != 0 {
			t.Errorf("%d connections are open at the end", n)
		}
	})
}

// A connection that ends before it is detached counts no more.
func TestAConnectionThatIsNotDetachedDoesNotCount(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		failed := make(chan error, 1)
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			wantNil(t, "DetachCounted", w.Conn().DetachCounted(func(nc net.Conn, _ []byte, leave func(), err error) {
				if nc != nil || leave != nil {
					err = errors.New("there are a connection and a leave")
				}
				failed <- err
			}))
			w.Conn().Abort()
		})})
		send(t, s.dial(t), "go\n")
		testkit.CheckErr(t, "the error", testkit.Await(t, failed, "the function"), server.ErrClosed)
		testkit.Until(t, "the end", func() bool { return s.Stats().OpenConns == 0 })
		s.shutdown(t)
	})
}
