package server_test

import (
	"bufio"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// A timer, a pause, deadlines or a large answer that a request has needed for some time take up no memory of the connection afterwards, and its
// later output takes the path of connections without an ext.
func TestAConnectionReleasesStateThatItHasNeededForATime(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, w server.Reply){
		"Flush":            func(t *testing.T, w server.Reply) { testkit.Must(t, w.Flush()) },
		"a large answer":   func(t *testing.T, w server.Reply) { testkit.Must(t, second(w.Write(make([]byte, 300<<10)))) },
		"a timer":          func(_ *testing.T, w server.Reply) { w.Conn().AfterFunc(time.Hour, func() {}).Stop() },
		"a timer that ran": func(_ *testing.T, w server.Reply) { w.Conn().AfterFunc(0, func() {}) },
		"a pause": func(_ *testing.T, w server.Reply) {
			w.Conn().PauseRead(nil)
			w.Conn().ResumeRead(nil)
		},
		"deadlines": func(_ *testing.T, w server.Reply) {
			w.Conn().SetTimeouts(server.Timeouts{Write: time.Hour})
			w.Conn().SetTimeouts(server.Timeouts{})
		},
		"Defer": func(t *testing.T, w server.Reply) { testkit.Must(t, w.Defer(time.Hour)) },
		"the server's handler": func(t *testing.T, w server.Reply) {
			h := w.Conn().Handler()
			testkit.Must(t, w.Conn().SetHandler(newProbe(calls{})))
			testkit.Must(t, w.Conn().SetHandler(h))
		},
	} {
		for _, placement := range []server.Placement{server.OnLoop, server.OnWorkers} {
			t.Run(name, func(t *testing.T) {
				d := &server.Dispatcher{Framing: framing.Lines{}, Placement: placement, Serve: func(w server.Reply, message []byte) {
					if string(message) == "use" {
						use(t, w)
					}
					_, err := w.WriteString("\nend")
					testkit.Must(t, err)
					go func() { _ = w.Close() }() // it fails unless the reply was deferred
				}}
				conns := make(chan *server.Conn, 1)
				d.Opened = func(c *server.Conn) { conns <- c }
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
				nc := s.dial(t)
				c := testkit.Await(t, conns, "the connection")
				in := bufio.NewReader(nc)
				for _, message := range []string{"a\n", "use\n", "a\n"} {
					send(t, nc, message)
					testkit.Must(t, second(in.ReadString('\n'))) // the large answer has no such byte
					expect(t, in, "end")
				}
				testkit.Until(t, "a connection without an ext", func() bool { return !server.HasExt(c) })
			})
		}
	}
}
