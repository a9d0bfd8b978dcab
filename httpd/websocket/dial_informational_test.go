package websocket_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// Answers such as 103 precede the answer to the handshake, and arrive in any pieces.
func TestDialSkipsInformationalAnswers(t *testing.T) {
	const before = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
	for _, piece := range []int{1, 7, 10_000} {
		c := newCaller(t, websocket.Config{})
		url := fakeServer(t, func(nc net.Conn, _ *http.Request, accept string) {
			answer := fmt.Appendf(nil, "%s%sSec-WebSocket-Accept: %s\r\n\r\n", before, switching, accept)
			answer = append(answer, unmasked(0x80|opText, "at once")...)
			for n := 0; n < len(answer); n += piece {
				if _, err := nc.Write(answer[n:min(n+piece, len(answer))]); err != nil {
					t.Error(err)
					return
				}
			}
		})
		c.dial(url)
		c.want("text at once")
	}
	url := fakeServer(t, func(nc net.Conn, _ *http.Request, _ string) {
		_, err := io.WriteString(nc, before+"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		testkit.CheckErr(t, "the answer", err, nil)
	})
	ctx, cancel := testkit.Soon()
	defer cancel()
	_, err := websocket.Dial(ctx, url, &newCaller(t, websocket.Config{}).cfg)
	testkit.CheckErr(t, "Dial", err, websocket.ErrHandshake)
}
