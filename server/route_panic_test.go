package server_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// A RouteOf that panics or calls runtime.Goexit ends the connection of its message, and is not called again for it. The other requests of
// the turn are answered, once each.
func TestARouteThatPanicsEndsItsConnectionAlone(t *testing.T) {
	needsLeaders(t)
	for name, end := range map[string]func(){"panic": func() { panic("on purpose") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				const conns = 6
				calls := make(chan struct{}, 100)
				closed := make(chan error, conns+1)
				d := &server.Dispatcher{
					Framing: framing.Lines{},
					Serve:   func(w server.Reply, message []byte) { fmt.Fprintf(w, "%s\n", message) },
					Route: func(message []byte) []byte {
						if string(message) == "end" {
							calls <- struct{}{}
							end()
						}
						return message
					},
					Closed: func(_ *server.Conn, reason error) { closed <- reason },
				}
				s := start(t, r, &server.Server{NumLoops: 1, Handler: d, OnPanic: func(*server.Conn, any, []byte) {}})
				bad, others := s.dial(t), make([]net.Conn, conns)
				for i := range others {
					others[i] = s.dial(t)
				}
				for _, nc := range append([]net.Conn{bad}, others...) { // so that handshakes are over
					send(t, nc, "open\n")
					expect(t, nc, "open\n")
				}
				held, release := make(chan struct{}), make(chan struct{})
				testkit.Must(t, s.Loops()[0].Post(func() { close(held); <-release }))
				testkit.Await(t, held, "a turn that waits")
				for i, nc := range others { // they are read in one turn
					send(t, nc, fmt.Sprintln("other", i))
					if i == conns/2 {
						send(t, bad, "end\nafter\n")
					}
				}
				close(release)
				testkit.CheckErr(t, "Close", testkit.Await(t, closed, "the end of the connection"), server.ErrPanic)
				testkit.Await(t, calls, "the call")
				for i, nc := range others {
					expect(t, nc, fmt.Sprintln("other", i))
					send(t, nc, "once\n")
					expect(t, nc, "once\n")
				}
				select {
				case <-calls:
					t.Error("RouteOf was called again")
				default:
				}
			})
		})
	}
}
