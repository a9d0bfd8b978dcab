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

// Responses such as 103 precede the response to the handshake, and arrive in any pieces.
func TestDialSkipsInformationalResponses(t *testing.T) {
	const before = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
	for _, piece := range []int{1, 7, 10_000} {
		c := newCaller(t, websocket.Config{})
		url := fakeServer(t, func(nc net.Conn, _ *http.Request, accept string) {
			response := fmt.Appendf(nil, "%s%sSec-WebSocket-Accept: %s\r\n\r\n", before, switching, accept)
			response = append(response, unmasked(0x80|opText, "at once")...)
			for n := 0; n < len(response); n += piece {
				if _, err := nc.Write(response[n:min(n+piece, len(response))]); err != nil {
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
		testkit.CheckErr(t, "the response", err, nil)
	})
	ctx, cancel := testkit.Soon()
	defer cancel()
	_, err := websocket.Dial(ctx, url, &newCaller(t, websocket.Config{}).cfg)
	testkit.CheckErr(t, "Dial", err, websocket.ErrHandshake)
}
