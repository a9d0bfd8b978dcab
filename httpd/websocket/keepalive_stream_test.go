package websocket_test

import (
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
	streams := make(chan net.Conn, 2)
	s := startWithClock(t, clock, &websocket.Config{IdleTimeout: time.Minute, Message: func(websocket.Reply, websocket.MessageType, []byte) {},
		Opened: func(c *websocket.Conn, _ *http.Request) { streams <- c.NetConn(websocket.Binary) }})
	full := make([]byte, 80<<10)
	p := s.dial(t, "", frame(0x80|opBinary, string(full)))
	nc := testkit.Await(t, streams, "Opened")
	testkit.Until(t, "the message", func() bool { return s.handler.Stats().Received == 1 })
	other := s.dial(t, "")
	advance(t, clock, "the end of another WebSocket", func() bool { return len(s.closed) > 0 })
	s.ended(t)
	testkit.Must(t, other.Close())
	for began := clock.Now(); clock.Now()-began < 3*time.Minute; {
		clock.Advance(10 * time.Second)
		time.Sleep(time.Millisecond) // the loop has to notice it
	}
	for rest := len(full); rest > 0; {
		n, err := nc.Read(full)
		testkit.Must(t, err)
		rest -= n
	}
	go func() {
		_, err := nc.Write([]byte("still here"))
		testkit.CheckErr(t, "Write", err)
	}()
	for {
		if first, payload := p.next(); first == 0x80|opBinary {
			testkit.WantEqual(t, "message", payload, "still here")
			return
		}
	}
}
