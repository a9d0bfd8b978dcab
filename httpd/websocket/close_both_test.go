package websocket_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Close is called at about the time at which the peer's close frame arrives. The peer always receives one close frame, as the last frame: an answer to its own,
// or that of Close, which may have had to wait for a Reply.
func TestAPeerReceivesACloseFrameIfBothSidesClose(t *testing.T) {
	rounds := 80
	if testkit.Full() {
		rounds = 2000
	}
	both(t, func(t *testing.T, p server.Placement) {
		opened := make(chan *websocket.Conn, 1)
		s := start(t, &websocket.Config{Placement: p, Message: echo, Closed: func(*websocket.Conn, *websocket.CloseError) {},
			Opened: func(c *websocket.Conn, _ *http.Request) { opened <- c }})
		for range rounds {
			peer := s.dial(t, "")
			c := testkit.Await(t, opened, "Opened")
			done := make(chan struct{})
			go func() {
				defer close(done)
				time.Sleep(time.Duration(rand.IntN(150)) * time.Microsecond)
				_ = c.Close(websocket.CloseNormal, "") // fails if the peer was the first
			}()
			messages := rand.IntN(20)
			peer.send(bytes.Repeat(text("hello"), messages), frame(0x80|opClose, closing(1001, "")))
			got, err := io.ReadAll(peer.r)
			testkit.Must(t, err)
			echoes := len(got) / len(unmasked(0x80|opText, "hello")) * len(unmasked(0x80|opText, "hello")) // a close frame is shorter
			rest := got[echoes:]
			if !bytes.Equal(rest, unmasked(0x80|opClose, closing(1000, ""))) && !bytes.Equal(rest, unmasked(0x80|opClose, closing(1001, ""))) {
				t.Fatalf("the last frame is %q after %d bytes of %d messages", rest, echoes, messages)
			}
			<-done
			testkit.Must(t, peer.Close())
		}
	})
}
