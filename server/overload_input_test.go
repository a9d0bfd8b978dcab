package server_test

import (
	"encoding/binary"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// fillServer makes the server hold more than MaxBuffered, by output that the client of a new connection does not read.
func fillServer(t *testing.T, s *running, p *probe) (drain func()) {
	t.Helper()
	c, nc := p.connect(t, s)
	n := int(s.MaxBuffered) + 4<<20 // more than the kernel takes
	_, err := c.Write(make([]byte, n))
	testkit.Must(t, err)
	testkit.Until(t, "a full server", func() bool { return s.Stats().BufferedBytes > s.MaxBuffered })
	return func() {
		expect(t, nc, string(make([]byte, n)))
		testkit.Until(t, "room", func() bool { return s.Stats().BufferedBytes < s.MaxBuffered })
	}
}

// While the server holds more than MaxBuffered, a connection whose input was kept before, and that sends nothing, is not closed by what the
// program does with it.
func TestAFullServerClosesNoConnectionThatSendsNothing(t *testing.T) {
	for name, command := range map[string]func(c *server.Conn){
		"SetTimeouts": func(c *server.Conn) { c.SetTimeouts(server.Timeouts{Idle: -1}) },
		"a pause":     func(c *server.Conn) { c.PauseRead(nil); c.ResumeRead(nil) },
		"SetHandler": func(c *server.Conn) {
			_ = c.SetHandler(calls{data: func(c *server.Conn, p []byte) (int, error) {
				if len(p) < 11 {
					return 0, nil
				}
				return c.Write(p)
			}})
		},
		"a write": func(c *server.Conn) { _, _ = c.WriteString("x") }, // refused
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
					if len(p) < 11 {
						return 0, nil
					}
					return c.Write(p)
				}})
				s := start(t, r, &server.Server{Handler: p, MaxBuffered: 1 << 20, MaxOutput: 1 << 30, Socket: tight()})
				c, nc := p.connect(t, s)
				send(t, nc, "0123456789")
				testkit.Until(t, "the input", func() bool { return c.Stats().BytesRead == 10 })
				onLoop(t, c, func() {})
				drain := fillServer(t, s, p)
				command(c)
				twoTurns(t, c)
				if len(p.closed) > 0 {
					t.Fatalf("closed: %v", <-p.closed)
				}
				drain()
				send(t, nc, "!")
				expect(t, nc, "0123456789!")
			})
		})
	}
}

// The same holds for a request that is answered with nothing before an older one.
func TestAFullServerClosesNoConnectionForAnEmptyAnswer(t *testing.T) {
	started, gates := make(chan string, 2), map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
	p := newProbe(calls{})
	d := &server.Dispatcher{
		Framing: framing.LengthPrefix{Size: 1, Order: binary.BigEndian, Max: 100}, Concurrent: 2,
		Serve: func(w server.Reply, m []byte) {
			started <- string(m)
			<-gates[string(m)]
			if string(m) == "a" {
				_, _ = w.WriteString("answer")
			}
		},
	}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, Workers: 2, MaxBuffered: 1 << 20, MaxOutput: 1 << 30, Socket: tight()})
	ln, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: d})
	testkit.Must(t, err)
	nc := (&running{s.Server, s.rig, ln.Addr()}).dial(t)
	send(t, nc, "\x01a\x01b")
	for range 2 {
		testkit.Await(t, started, "the handlers")
	}
	drain := fillServer(t, s, p)
	close(gates["b"])
	testkit.Until(t, "the end of the later request", func() bool { return s.Stats().RunningRequests == 1 })
	drain()
	close(gates["a"])
	expect(t, nc, "answer")
}
