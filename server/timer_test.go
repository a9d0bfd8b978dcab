package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A timer for a connection fires on its loop, is cancelled, or ends with the loop without firing.
func TestTimersEndWithTheServer(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var late atomic.Int32
		s := start(t, r, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Loop().AfterFunc(time.Millisecond, func() {
				if !c.Loop().OnLoop() {
					t.Error("a timer fired elsewhere")
				}
				_, _ = c.WriteString("tick\n") // the client sees whether it comes
			})
			testkit.Must(t, err)
			var cancelled *event.Event
			cancelled, err = c.Loop().AfterFunc(2*time.Millisecond, func() { t.Error("a cancelled timer fired") })
			testkit.Must(t, err)
			testkit.Must(t, cancelled.Del())
			_, err = c.Loop().AfterFunc(time.Hour, func() { late.Add(1) })
			testkit.Must(t, err)
			return len(p), nil
		}}})
		nc := s.dial(t)
		for range 5 {
			send(t, nc, "go")
			expect(t, nc, "tick\n")
		}
		hangUp(nc)
		s.shutdown(t)
		if late.Load() != 0 {
			t.Error("a timer of an hour fired at the shutdown")
		}
	})
}
