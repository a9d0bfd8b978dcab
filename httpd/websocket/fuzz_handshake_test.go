package websocket

import (
	"bufio"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// A request that is accepted has the fields that RFC 6455 asks for, and the response offers nothing that the client has not offered.
func FuzzHandshake(f *testing.F) {
	const request = "GET /x HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, more := range []string{
		"", "Origin: http://example.com\r\n", "Origin: null\r\n", "Origin: http://[::1]:80\r\n", "Sec-WebSocket-Protocol: v1, v2\r\n",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", "Sec-WebSocket-Extensions: a;b=\"c\\\"d\", permessage-deflate;server_max_window_bits=15\r\n",
		"Sec-WebSocket-Version: 8\r\n", "Content-Length: 1\r\n",
	} {
		f.Add(request + more)
	}
	f.Add(strings.Replace(request, "GET", "POST", 1))
	f.Add(strings.Replace(request, "1.1", "1.0", 1))
	h, err := NewHandler(&Config{Message: func(Reply, MessageType, []byte) {}, Subprotocols: []string{"v2", "v1"}, Deflate: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text + "\r\n")))
		if err != nil {
			return
		}
		no := h.checkRequest(r)
		if no != nil {
			if no.status < 400 || no.status > 426 || no.text == "" {
				t.Errorf("refused with %+v", no)
			}
			return
		}
		key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
		if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || r.Header.Get("Sec-WebSocket-Version") != "13" || err != nil || len(key) != 16 ||
			!strings.Contains(strings.ToLower(strings.Join(r.Header["Upgrade"], ",")), "websocket") ||
			!strings.Contains(strings.ToLower(strings.Join(r.Header["Connection"], ",")), "upgrade") {
			t.Errorf("accepted: %v", r.Header)
		}
		if origin := r.Header.Get("Origin"); origin != "" && !strings.Contains(strings.ToLower(origin), strings.ToLower(withoutPort(r.Host, "http"))) &&
			!strings.Contains(strings.ToLower(origin), strings.ToLower(withoutPort(r.Host, "https"))) {
			t.Errorf("origin %q is accepted for host %q", origin, r.Host)
		}
		c := &Conn{h: h, subprotocol: h.subprotocol(r)}
		header := http.Header{}
		c.acceptDeflate(r, header)
		if name := c.Subprotocol(); name != "" && !strings.Contains(strings.Join(r.Header["Sec-Websocket-Protocol"], ","), name) {
			t.Errorf("subprotocol %q was not offered", name)
		}
		if c.deflates != (len(header) > 0) || c.deflates && !strings.Contains(strings.Join(r.Header["Sec-Websocket-Extensions"], ","), "permessage-deflate") {
			t.Errorf("the response is %v", header)
		}
	})
}
