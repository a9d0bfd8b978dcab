package server_test

import (
	"bufio"
	"runtime"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// TestARouteIsTriedAgainAfterARequestThatWasNotTimed: since its handler has panicked or called runtime.Goexit, or its connection was closed
// before it ran. Otherwise workers would run all further requests.
func TestARouteIsTriedAgainAfterARequestThatWasNotTimed(t *testing.T) {
	needsLeaders(t)
	for name, spoil := range map[string]func(t *testing.T, s *running){
		"panic":  func(t *testing.T, s *running) { request(t, s, "panic\n") },
		"Goexit": func(t *testing.T, s *running) { request(t, s, "goexit\n") },
		"closed": func(t *testing.T, s *running) { request(t, s, "abort\n") },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				r.loops = 1
				d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
					switch string(line) {
					case "panic":
						panic("of the test")
					case "goexit":
						runtime.Goexit()
					}
					_, _ = w.Write(append(line, '\n'))
				})
				s := start(t, r, &server.Server{Handler: abortsAfter{d}, OnPanic: func(*server.Conn, any, []byte) {}})
				spoil(t, s)
				testkit.Until(t, "requests on the loop", func() bool {
					nc := s.dial(t)
					defer hangUp(nc)
					for range 20 {
						send(t, nc, "request\n")
						expect(t, nc, "request\n")
					}
					return s.RouteStats()[0].Inline >= 20
				})
			})
		})
	}
}

// request sends a request after which the connection ends.
func request(t *testing.T, s *running, line string) {
	nc := s.dial(t)
	send(t, nc, line)
	expectEnd(nc)
	hangUp(nc)
}

// abortsAfter is a Dispatcher that aborts a connection after it has handed over the request "abort".
type abortsAfter struct{ *server.Dispatcher }

func (a abortsAfter) Data(c *server.Conn, p []byte) (int, error) {
	n, err := a.Dispatcher.Data(c, p)
	if string(p) == "abort\n" {
		c.Abort()
	}
	return n, err
}
