package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// yielding echoes a few lines at a time, and then yields.
func yielding(atATime int) calls {
	return calls{data: func(c *server.Conn, p []byte) (n int, err error) {
		for range atATime {
			end := bytes.IndexByte(p[n:], '\n') + 1
			if end == 0 {
				return n, nil
			}
			if _, err = c.Write(p[n : n+end]); err != nil {
				return n, err
			}
			n += end
		}
		return n, server.ErrYield
	}}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// It gets all of it, in order, also if no more input arrives.
func TestAfterErrYieldDataIsCalledInTheNextTurn(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const atATime = 10
		lines := numbered(3000)
		h := yielding(atATime)
		inTurn, most := map[uint64]int{}, 0
		data := h.data
		h.data = func(c *server.Conn, p []byte) (int, error) {
			n, err := data(c, p)
			turn := turns(c)
			inTurn[turn] += bytes.Count(p[:n], []byte("\n"))
			most = max(most, inTurn[turn])
			return n, err
		}
		p := newProbe(h)
		s := start(t, r, &server.Server{Handler: p, MaxInput: 64})
		c, nc := p.connect(t, s)
		go func() { _, _ = io.WriteString(nc, lines) }()
		expect(t, nc, lines)
		onLoop(t, c, func() {
			if most > 2*atATime { // the input that was left, and new input
				t.Errorf("%d lines in one turn", most)
			}
		})
	})
}

// It is served before the peer's end, and before the end of a shutdown.
func TestInputThatErrYieldLeavesIsServedBeforeTheEnd(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		lines := numbered(2000)
		for _, end := range []string{"eof", "shutdown"} {
			p := newProbe(yielding(7))
			s := start(t, r, &server.Server{Handler: p})
			_, nc := p.connect(t, s)
			send(t, nc, lines)
			down := make(chan error, 1)
			if end == "eof" {
				testkit.Must(t, nc.(halfCloser).CloseWrite())
			} else {
				expect(t, nc, lines[:7])
				arrives(t, nc)
				go func() { down <- s.Shutdown(context.Background()) }()
				lines := lines[7:]
				expect(t, nc, lines)
				testkit.Must(t, nc.Close())
				testkit.Must(t, testkit.Await(t, down, "Shutdown"))
				continue
			}
			expect(t, nc, lines)
			if reason := testkit.Await(t, p.closed, "Close"); reason != io.EOF {
				t.Errorf("the reason is %v", reason)
			}
			testkit.Must(t, s.Close())
		}
	})
}

// A handler that has consumed nothing is not called again until more bytes have arrived.
func TestErrYieldWithoutProgressWaitsForInput(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var asked atomic.Int32
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			asked.Add(1)
			if p[len(p)-1] != '\n' {
				return 0, server.ErrYield
			}
			return len(p), nil
		}})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		send(t, nc, "half a line")
		testkit.Until(t, "Data", func() bool { return asked.Load() > 0 })
		for range 100 {
			onLoop(t, c, func() {})
		}
		if n := asked.Load(); n > int32(len("half a line")) {
			t.Errorf("Data was called %d times", n)
		}
		send(t, nc, "\n")
		hangUp(nc)
	})
}

// The commands are a pause, a close of either half, and an end.
func TestErrYieldDelaysNoCommand(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		lines := numbered(500)
		commands := map[string]func(c *server.Conn){
			"pause":      func(c *server.Conn) { c.PauseRead(nil); go c.ResumeRead(nil) },
			"closeWrite": func(c *server.Conn) { _ = c.CloseWrite() },
			"closeRead":  func(c *server.Conn) { _ = c.CloseRead(); _ = c.CloseWrite() },
			"flush":      func(c *server.Conn) { c.Close() },
			"abort":      func(c *server.Conn) { c.Abort() },
		}
		for name, command := range commands {
			times, called := 0, false
			p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
				if times++; times == 3 && !called {
					called = true
					command(c)
				}
				return min(len(p), 100), server.ErrYield
			}})
			s := start(t, r, &server.Server{Handler: p})
			_, nc := p.connect(t, s)
			_, _ = io.WriteString(nc, lines) // may fail in the middle
			_ = closeHalf(nc)                // may be gone
			_, _ = io.Copy(io.Discard, nc)   // a reset is an end, too
			_ = nc.Close()                   // fails with TLS if the peer has closed
			testkit.Await(t, p.closed, name)
			testkit.Must(t, s.Close())
		}
	})
}

func closeHalf(nc net.Conn) error { return nc.(halfCloser).CloseWrite() }
