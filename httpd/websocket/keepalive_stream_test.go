package websocket_test

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// While a NetConn holds as much as it may, its WebSocket is not read, so that a pong would not be noticed.
func TestNoPeerIsCutOffWhileItsNetConnIsFull(t *testing.T) {
	clock := testkit.NewClock()
	streams := make(chan net.Conn, 4)
	s := startWithClock(t, clock, &websocket.Config{IdleTimeout: time.Minute, Message: func(websocket.Reply, websocket.MessageType, []byte) {},
		Opened: func(c *websocket.Conn, _ *http.Request) { streams <- c.NetConn(websocket.Binary) }})
	full := make([]byte, 80<<10)
	p := s.dial(t, "", frame(0x80|opBinary, string(full)))
	nc := testkit.Await(t, streams, "Opened")
	testkit.Until(t, "the message", func() bool { return s.handler.Stats().Received == 1 })
	for range 3 { // the deadlines of each, IdleTimeout and those of pings, end later than those of the first
		other := s.dial(t, "")
		s.advance(t, clock, "the end of another WebSocket", func() bool { return len(s.closed) > 0 })
		if e := s.ended(t); !errors.Is(e, websocket.ErrPongTimeout) && !errors.Is(e, websocket.ErrIdle) {
			t.Errorf("the other WebSocket has ended with %v", e)
		}
		testkit.Must(t, other.Close())
	}
	for rest := len(full); rest > 0; {
		n, err := nc.Read(full)
		testkit.Must(t, err)
		rest -= n
	}
	clock.Advance(10 * time.Second) // the time in which it was not read does not count
	s.doWhatIsDue(t)
	go func() {
		_, err := nc.Write([]byte("still here"))
		testkit.CheckErr(t, "Write", err)
	}()
	first, payload := p.next()
	for first == 0x80|opPing {
		first, payload = p.next()
	}
	if first != 0x80|opBinary || payload != "still here" {
		t.Errorf("the frame is %x %q", first, payload)
	}
}
