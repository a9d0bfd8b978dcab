package websocket_test

import (
	"encoding/binary"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// The length of the frame and those of the frames before it have a sum that no int64 has.
func TestALengthIsTooBigAlsoIfTheSumOverflows(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	for _, first := range [][]byte{nil, frame(opText, "a"), frame(opText, strings.Repeat("a", 1000))} {
		for _, length := range []uint64{1 << 20, 1 << 32, math.MaxInt64 - 999, math.MaxInt64} {
			op := byte(0x80 | opText)
			if first != nil {
				op = 0x80 | opContinuation
			}
			p := s.dial(t, "")
			header := binary.BigEndian.AppendUint64([]byte{op, 0xff}, length)
			if first == nil && length == 1<<20 {
				continue // MaxMessage itself
			}
			p.send(first, header, testMask[:])
			p.wantClose(1009)
		}
	}
}

func TestMaxMessageMayBeTheLargestInt(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo, MaxMessage: math.MaxInt, Deflate: true})
	long := strings.Repeat("x", 300<<10)
	p := s.dial(t, "")
	p.send(text(long))
	p.want(0x80|opText, long)
	p.send(frame(opText, long), frame(0x80, long))
	p.want(0x80|opText, long+long)
}

// The program has set fields of the handshake in the header of the response.
func TestTheFieldsOfTheHandshakeAreSentOnce(t *testing.T) {
	h, err := websocket.NewHandler(&websocket.Config{Message: echo, Subprotocols: []string{"chat"}})
	testkit.Must(t, err)
	s := &site{handler: h, Server: newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Upgrade", "Connection"} {
			w.Header().Set(name, "x-program")
		}
		w.Header().Set("X-Program", "yes")
		h.ServeHTTP(w, r)
	}))}
	s.run(t)
	p := s.connect(t)
	p.send([]byte(handshake + "Sec-WebSocket-Protocol: chat\r\n\r\n"))
	header := p.accepted()
	for name, want := range map[string]string{"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-Websocket-Protocol": "chat", "Upgrade": "websocket", "Connection": "Upgrade", "X-Program": "yes"} {
		if got := header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	if got := header["Sec-Websocket-Extensions"]; got != nil {
		t.Errorf("Sec-WebSocket-Extensions is %q", got)
	}
}

// A response with 426 names the protocol and its version.
func TestUpgradeRequiredNamesTheProtocol(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	for _, request := range []string{edit("Version: 13", "Version: 12"), edit("Upgrade: websocket\r\n", "")} {
		p := s.connect(t)
		p.send([]byte(request + "\r\n"))
		resp, err := http.ReadResponse(p.r, nil)
		testkit.Must(t, err)
		testkit.Must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("Sec-Websocket-Version") != "13" {
			t.Errorf("the response is %v", resp)
		}
	}
}
