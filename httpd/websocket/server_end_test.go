package websocket_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Close, and a Shutdown whose context has ended, return although nothing reads the NetConn of a WebSocket, or a function of the program
// does not return, and although the clock of the loops stands still.
func TestTheServerEndsWhateverItsWebSocketsWaitFor(t *testing.T) {
	t.Parallel()
	for end, ends := range map[string]func(*site) error{
		"Close": func(s *site) error { return s.Close() },
		"Shutdown": func(s *site) error {
			if err := s.Shutdown(testkit.Canceled()); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		},
	} {
		for _, waits := range []string{"NetConn", "Opened", "Message on the loop", "Message on a worker"} {
			t.Run(end+", "+waits, func(t *testing.T) {
				t.Parallel()
				begun, release := make(chan struct{}), make(chan struct{})
				wait := func() {
					close(begun)
					<-release
				}
				cfg := &websocket.Config{
					Message: func(websocket.Reply, websocket.MessageType, []byte) { wait() },
					Opened: func(c *websocket.Conn, _ *http.Request) {
						switch waits {
						case "NetConn":
							c.NetConn(websocket.Binary)
						case "Opened":
							wait()
						}
					},
				}
				switch waits {
				case "Message on the loop":
					cfg.Placement = server.OnLoop
				case "Message on a worker":
					cfg.Placement = server.OnWorkers
				}
				s := startWithClock(t, testkit.NewClock(), cfg)
				defer close(release)
				p := s.connect(t)
				p.send([]byte(handshake+"\r\n"), frame(0x80|opBinary, string(make([]byte, 80<<10))))
				if waits == "NetConn" {
					testkit.Until(t, "the message", func() bool { return s.handler.Stats().Received == 1 })
				} else {
					testkit.Await(t, begun, waits)
				}
				ended := make(chan error, 1)
				go func() { ended <- ends(s) }()
				testkit.Must(t, testkit.Await(t, ended, end))
			})
		}
	}
}

// A Shutdown without a deadline waits for the close handshake of a WebSocket whose NetConn is not read, until CloseTimeout.
func TestShutdownDoesNotWaitForTheReaderOfANetConn(t *testing.T) {
	clock := testkit.NewClock()
	s := startWithClock(t, clock, &websocket.Config{Message: echo, Opened: func(c *websocket.Conn, _ *http.Request) { c.NetConn(websocket.Binary) }})
	p := s.dial(t, "", frame(0x80|opBinary, string(make([]byte, 80<<10))))
	testkit.Until(t, "the message", func() bool { return s.handler.Stats().Received == 1 })
	s.awaitRequests(t) // Closed waits for it
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	p.want(0x80|opClose, closing(1001, ""))
	p.send(frame(0x80|opClose, closing(1001, ""))) // which is not read
	s.advance(t, clock, "the end", func() bool { return len(s.closed) > 0 })
	if passed := clock.Now(); passed < websocket.DefaultCloseTimeout || passed > websocket.DefaultCloseTimeout+2*time.Second {
		t.Errorf("it has ended after %v", passed)
	}
	if e := s.ended(t); e.Code != websocket.CloseGoingAway || !errors.Is(e, websocket.ErrCloseTimeout) {
		t.Errorf("Closed was called with %v", e)
	}
	testkit.Must(t, testkit.Await(t, ended, "Shutdown"))
}
