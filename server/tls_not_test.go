package server_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// NotTLS is called once for each client that does not speak TLS, with its first five bytes, and the client gets its result, also if it has sent
// much and goes on sending. A client of TLS is served.
func TestAClientWithoutTLSGetsTheAnswerOfNotTLS(t *testing.T) {
	for _, loops := range []int{1, 3} {
		rejected, firsts := make(chan error, 10), make(chan string, 10)
		s := start(t, rig{"tcp", false, loops}, &server.Server{Handler: calls{data: echo}, OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
		ln := listenWith(t, s, server.ListenerConfig{TLS: serverTLS(), NotTLS: func(first []byte) []byte {
			firsts <- string(first)
			if string(first) == "QUIET" {
				return nil
			}
			return []byte("speak TLS")
		}})
		plain := &running{s.Server, rig{"tcp", false, loops}, ln.Addr()}
		for _, row := range []struct{ input, first, answer string }{
			{"hello, server", "hello", "speak TLS"},
			{strings.Repeat("much ", 100<<10), "much ", "speak TLS"},
			{"QUIET", "QUIET", ""},
			{"\x16\x03\x01\x00\x10\x02", "\x16\x03\x01\x00\x10", "speak TLS"}, // a record of TLS with another message
		} {
			nc := plain.dial(t)
			for _, n := range []int{1, 3, len(row.input) - 4} {
				_, _ = io.WriteString(nc, row.input[:n]) // the server may have answered
				row.input = row.input[n:]
			}
			if got, _ := io.ReadAll(nc); string(got) != row.answer { // a reset may follow
				t.Errorf("%q is answered with %q", row.first, got)
			}
			if first := testkit.Await(t, firsts, "NotTLS"); first != row.first {
				t.Errorf("NotTLS is called with %q, want %q", first, row.first)
			}
			testkit.CheckErr(t, "the reason", testkit.Await(t, rejected, "OnReject"), server.ErrHandshake)
		}
		nc := (&running{s.Server, rig{"tcp", true, loops}, ln.Addr()}).dial(t)
		send(t, nc, "hello")
		expect(t, nc, "hello")
		hangUp(nc)
		s.shutdown(t)
	}
}

// A client that sends less than five bytes has HandshakeTimeout for the rest.
func TestNotTLSWaitsForTheFirstBytes(t *testing.T) {
	clock := testkit.NewClock()
	rejected := make(chan error, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}, LoopConfig: &event.Config{Clock: clock}, HandshakeTimeout: time.Minute, OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
	ln := listenWith(t, s, server.ListenerConfig{TLS: serverTLS(), NotTLS: func(first []byte) []byte {
		t.Errorf("NotTLS is called with %q", first)
		return nil
	}})
	nc := (&running{s.Server, rig{"tcp", false, 1}, ln.Addr()}).dial(t)
	send(t, nc, "hell")
	testkit.Until(t, "the connection", func() bool { return s.Stats().Accepted == 1 })
	testkit.Until(t, "the bytes", func() bool { return s.Stats().BufferedBytes > 0 })
	clock.Advance(time.Minute)
	expectEOF(t, nc)
	testkit.CheckErr(t, "the reason", testkit.Await(t, rejected, "OnReject"), server.ErrHandshake)
}

func TestNotTLSNeedsTLS(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}})
	_, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", &server.ListenerConfig{NotTLS: func([]byte) []byte { return nil }})
	if !errors.Is(err, server.ErrInvalid) || !strings.Contains(err.Error(), "NotTLS") {
		t.Errorf("the error is %v", err)
	}
}
