package websocket_test

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// edit returns the handshake with a part replaced.
func edit(old, replacement string) string {
	if !strings.Contains(handshake, old) {
		panic(old)
	}
	return strings.Replace(handshake, old, replacement, 1)
}

// Each response has a status, and the connection goes on where HTTP permits it.
func TestBadHandshakesAreRefused(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	tests := []struct {
		name, request string
		status        int
		field, value  string
	}{
		{"POST", edit("GET", "POST") + "Content-Length: 0\r\n", 405, "Allow", "GET"},
		{"HEAD", edit("GET", "HEAD"), 405, "Allow", "GET"},
		{"no Upgrade", edit("Upgrade: websocket\r\n", ""), 426, "Upgrade", "websocket"},
		{"another Upgrade", edit("Upgrade: websocket", "Upgrade: h2c"), 426, "Upgrade", "websocket"},
		{"no Connection", edit("Connection: Upgrade\r\n", ""), 426, "Upgrade", "websocket"},
		{"another Connection", edit("Connection: Upgrade", "Connection: keep-alive"), 426, "Upgrade", "websocket"},
		{"no version", edit("Sec-WebSocket-Version: 13\r\n", ""), 426, "Sec-Websocket-Version", "13"},
		{"version 12", edit("Version: 13", "Version: 12"), 426, "Sec-Websocket-Version", "13"},
		{"two versions", edit("Version: 13\r\n", "Version: 13\r\nSec-WebSocket-Version: 8\r\n"), 426, "Sec-Websocket-Version", "13"},
		{"no key", edit("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400, "", ""},
		{"short key", edit("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400, "", ""},
		{"key that is no base64", edit("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!=="), 400, "", ""},
		{"two keys", handshake + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400, "", ""},
		{"body", handshake + "Content-Length: 2\r\n", 400, "", ""},
		{"HTTP/1.0", edit("HTTP/1.1", "HTTP/1.0"), 400, "", ""},
		{"foreign origin", handshake + "Origin: http://evil.example\r\n", 403, "", ""},
		{"origin null", handshake + "Origin: null\r\n", 403, "", ""},
		{"two origins", handshake + "Origin: http://example.com\r\nOrigin: http://example.com\r\n", 403, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := s.connect(t)
			body := ""
			if test.name == "body" {
				body = "xy"
			}
			p.send([]byte(test.request + "\r\n" + body))
			resp, err := http.ReadResponse(p.r, &http.Request{Method: strings.Fields(test.request)[0]})
			testkit.Must(t, err)
			testkit.Must(t, resp.Body.Close())
			if resp.StatusCode != test.status || test.field != "" && resp.Header.Get(test.field) != test.value {
				t.Errorf("the response is %v", resp)
			}
			if !resp.Close {
				p.send([]byte(handshake + "\r\n"))
				p.accepted()
				p.send(text("hello"))
				p.want(0x80|opText, "hello")
			}
		})
	}
}

// The case of tokens is not significant, and other tokens may stand beside them.
func TestHandshakesOfManyFormsAreAccepted(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo, AllowedOrigins: []string{"https://app.example.net"}})
	for _, request := range []string{
		edit("Connection: Upgrade", "Connection: keep-alive, UPGRADE"),
		edit("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
		edit("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
		handshake + "Origin: http://example.com\r\n",
		handshake + "Origin: https://EXAMPLE.com\r\n",
		handshake + "Origin: https://example.com:443\r\n",
		edit("Host: example.com", "Host: example.com:80") + "Origin: http://example.com\r\n",
		edit("Host: example.com", "Host: [::1]:8080") + "Origin: http://[::1]:8080\r\n",
		handshake + "Origin: https://app.example.NET\r\n",
		handshake + "Sec-WebSocket-Extensions: permessage-deflate; x-unknown\r\n",
	} {
		p := s.connect(t)
		p.send([]byte(request + "\r\n"))
		p.accepted()
	}
}

func TestOriginsWithAnotherPortAreRefused(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	for _, fields := range [][2]string{{"example.com", "http://example.com:8080"}, {"example.com:8080", "http://example.com"}, {"example.com:443", "http://example.com"}} {
		p := s.connect(t)
		p.send([]byte(edit("Host: example.com", "Host: "+fields[0]) + "Origin: " + fields[1] + "\r\n\r\n"))
		testkit.WantEqual(t, "status for "+fields[1], p.status(), http.StatusForbidden)
	}
}

func TestCheckOriginReplacesTheCheck(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo, CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "x:good" }})
	s.dial(t, "Origin: x:good\r\n")
	p := s.connect(t)
	p.send([]byte(handshake + "Origin: http://example.com\r\n\r\n"))
	testkit.WantEqual(t, "status", p.status(), http.StatusForbidden)
}

// The server's order decides.
func TestASubprotocolIsAgreedOn(t *testing.T) {
	names := make(chan string, 1)
	s := start(t, &websocket.Config{Message: echo, Subprotocols: []string{"v2", "v1"}, Opened: func(c *websocket.Conn, r *http.Request) {
		names <- c.Subprotocol() + r.URL.Path
	}})
	for _, test := range [][2]string{
		{"Sec-WebSocket-Protocol: v1, v2\r\n", "v2"}, {"Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: v1\r\n", "v1"},
		{"Sec-WebSocket-Protocol: V1\r\n", ""}, {"", ""},
	} {
		p := s.connect(t)
		p.send([]byte(handshake + test[0] + "\r\n"))
		testkit.WantEqual(t, "subprotocol in the response to "+test[0], p.accepted().Get("Sec-Websocket-Protocol"), test[1])
		testkit.WantEqual(t, "Subprotocol", testkit.Await(t, names, "Opened"), test[1]+"/")
	}
}

// The ResponseWriter is that of another server, of HTTP/2, or hidden by a wrapper.
func TestUpgradeIsNotSupportedElsewhere(t *testing.T) {
	errs := make(chan error, 1)
	h, err := websocket.NewHandler(&websocket.Config{Message: echo})
	testkit.Must(t, err)
	upgrade := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := h.Upgrade(w, r)
		errs <- err
	})
	check := func(status int) {
		t.Helper()
		testkit.WantEqual(t, "status", status, http.StatusNotImplemented)
		testkit.CheckErr(t, "Upgrade", testkit.Await(t, errs, "Upgrade"), http.ErrNotSupported)
	}
	ts := httptest.NewServer(upgrade)
	defer ts.Close()
	p := (&site{addr: ts.Listener.Addr().String()}).connect(t)
	p.send([]byte(handshake + "\r\n"))
	check(p.status())

	s := &site{Server: newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrade(struct{ http.ResponseWriter }{w}, r)
	}))}
	s.run(t)
	p = s.connect(t)
	p.send([]byte(handshake + "\r\n"))
	check(p.status())

	ts2 := httptest.NewUnstartedServer(nil)
	ts2.EnableHTTP2 = true
	ts2.StartTLS() // for its certificate and client
	defer ts2.Close()
	s2 := newServer(upgrade)
	s2.TLSConfig = &tls.Config{Certificates: ts2.TLS.Certificates}
	s2.Addr = "127.0.0.1:0"
	l := &site{Server: s2, tls: true}
	l.run(t)
	resp, err := ts2.Client().Get("https://" + l.addr)
	testkit.Must(t, err)
	testkit.Must(t, resp.Body.Close())
	check(resp.StatusCode)
	ts2.Client().CloseIdleConnections()
}

// unwrapper is a wrapper of middleware with a method Unwrap.
type unwrapper struct{ http.ResponseWriter }

func (w unwrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeWorksThroughMiddleware(t *testing.T) {
	h, err := websocket.NewHandler(&websocket.Config{Message: echo})
	testkit.Must(t, err)
	s := &site{Server: newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Middleware", "yes")
		h.ServeHTTP(unwrapper{unwrapper{w}}, r)
	}))}
	s.run(t)
	p := s.connect(t)
	p.send([]byte(handshake + "\r\n"))
	testkit.WantEqual(t, "field of the middleware", p.accepted().Get("X-Middleware"), "yes")
	p.send(text("hello"))
	p.want(0x80|opText, "hello")
}

// With TLS it is the same.
func TestWebSocketsOverTLS(t *testing.T) {
	ts := httptest.NewUnstartedServer(nil)
	ts.StartTLS() // for its certificate and client
	defer ts.Close()
	h, err := websocket.NewHandler(&websocket.Config{Message: echo})
	testkit.Must(t, err)
	s := &site{Server: newServer(h), tls: true}
	s.TLSConfig = &tls.Config{Certificates: ts.TLS.Certificates}
	s.run(t)
	p := s.connect(t)
	config := ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName, config.NextProtos = "example.com", []string{"http/1.1"}
	p.Conn = tls.Client(p.Conn, config)
	p.r = bufio.NewReader(p.Conn)
	p.send([]byte(handshake+"\r\n"), text("same record"))
	p.accepted()
	p.want(0x80|opText, "same record")
	p.send(text(hello))
	p.want(0x80|opText, hello)
}

func TestNewHandlerChecksItsConfig(t *testing.T) {
	for name, cfg := range map[string]*websocket.Config{
		"nil":          nil,
		"Message":      {},
		"Placement":    {Message: echo, Placement: 100},
		"MaxMessage":   {Message: echo, MaxMessage: -1},
		"CloseTimeout": {Message: echo, CloseTimeout: -1},
		"Subprotocols": {Message: echo, Subprotocols: []string{"a b"}},
	} {
		_, err := websocket.NewHandler(cfg)
		testkit.CheckErr(t, "NewHandler", err, websocket.ErrInvalid)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error is %v; want one that names %s", err, name)
		}
	}
}
