package server_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The tests below check one rule: ReadTimeout does not count while the server does not read, since the peer cannot end its request. It counts
// from when the server reads again.

// As many requests are in progress as the handler permits.
func TestReadTimeoutDoesNotCountWhileRequestsAreInProgress(t *testing.T) {
	eachDispatcher(t, func(t *testing.T, handler func(d *server.Dispatcher) server.Handler) {
		clock := testkit.NewClock()
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
		clock.Advance(2 * time.Hour)
		twoTurnsOfAll(t, s)
		close(release)
		expect(t, nc, "a\nb\n")
		for c := range s.Conns() { // the loop has ended both requests when it calls this
			onLoop(t, c, func() {})
		}
		clock.Advance(50 * time.Minute)
		twoTurnsOfAll(t, s)
		send(t, nc, "f\n")
		expect(t, nc, "half\n")

		send(t, nc, "no end")
		testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead == 9+6 })
		for c := range s.Conns() {
			onLoop(t, c, func() {})
		}
		clock.Advance(2 * time.Hour)
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrReadTimeout)
	})
}

// Reading is paused by PauseRead, or because the peer does not take the output.
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
			clock := testkit.NewClock()
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
			clock.Advance(2 * time.Hour)
			twoTurns(t, c)
			row.resume(t, c, nc)
			onLoop(t, c, func() {})
			clock.Advance(50 * time.Minute)
			twoTurns(t, c)
			send(t, nc, "f\n")
			expect(t, nc, "half\n")
		})
	}
}
