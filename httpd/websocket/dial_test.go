package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A caller dials WebSockets on loops of its own, and receives their messages.
type caller struct {
	t        testing.TB
	cfg      websocket.DialConfig
	messages chan string // with the type
	closed   chan *websocket.CloseError
}

// newCaller returns a caller with a server of one loop, which is closed at the end of the test.
func newCaller(t testing.TB, cfg websocket.Config) *caller {
	t.Helper()
	c := &caller{t: t, messages: make(chan string, 100), closed: make(chan *websocket.CloseError, 100)}
	cfg.Message = func(_ websocket.Reply, typ websocket.MessageType, p []byte) {
		c.messages <- fmt.Sprintf("%v %s", typ, p)
	}
	cfg.Closed = func(_ *websocket.Conn, e *websocket.CloseError) { c.closed <- e }
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = testkit.Patience // a peer that is slow has as much time as the test
	}
	h, err := websocket.NewHandler(&cfg)
	testkit.Must(t, err)
	srv := &server.Server{NumLoops: 1, Handler: server.HandlerFunc(func(_ *server.Conn, p []byte) (int, error) { return len(p), nil })}
	testkit.Must(t, srv.Start())
	t.Cleanup(func() { testkit.Must(t, srv.Close()) })
	c.cfg = websocket.DialConfig{Server: srv, Handler: h}
	return c
}

func (c *caller) dial(url string) *websocket.Conn {
	c.t.Helper()
	ctx, cancel := testkit.Soon()
	defer cancel()
	conn, err := websocket.Dial(ctx, url, &c.cfg)
	testkit.Must(c.t, err)
	return conn
}

func (c *caller) want(message string) {
	c.t.Helper()
	if got := testkit.Await(c.t, c.messages, "a message"); got != message {
		c.t.Fatalf("the message is %q, want %q", brief(got), brief(message))
	}
}

// With and without compression, and over TLS. The close handshake is complete on both sides.
func TestDialMakesAWebSocket(t *testing.T) {
	ts := httptest.NewUnstartedServer(nil)
	ts.StartTLS() // for its certificate and client
	defer ts.Close()
	for _, secure := range []bool{false, true} {
		for _, deflate := range []bool{false, true} {
			t.Run(fmt.Sprint("TLS ", secure, " deflate ", deflate), func(t *testing.T) {
				fields := make(chan string, 1)
				s := newSite(t, &websocket.Config{Message: echo, Deflate: deflate, Subprotocols: []string{"b"}, Opened: func(_ *websocket.Conn, r *http.Request) {
					user, password, _ := r.BasicAuth()
					fields <- fmt.Sprint(r.Host, r.RequestURI, r.Header.Get("X-Field"), user, password)
				}})
				s.tls = secure
				s.TLSConfig = &tls.Config{Certificates: ts.TLS.Certificates}
				s.run(t)
				c := newCaller(t, websocket.Config{Deflate: deflate, Subprotocols: []string{"a", "b"}})
				c.cfg.Header = http.Header{"X-Field": {"field"}}
				scheme := "ws"
				if secure {
					scheme = "wss"
					c.cfg.TLS = ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
					c.cfg.TLS.ServerName = "example.com"
				}
				conn := c.dial(scheme + "://user:secret@" + s.addr + "/path?q=1")
				testkit.WantEqual(t, "the request", testkit.Await(t, fields, "Opened"), s.addr+"/path?q=1fieldusersecret")
				testkit.WantEqual(t, "Subprotocol", conn.Subprotocol(), "b")
				for _, m := range []string{"", "short", hello, strings.Repeat("long ", 50_000)} {
					testkit.Must(t, conn.WriteText(m))
					c.want("text " + m)
					testkit.Must(t, conn.WritePrepared(prepared(t, websocket.Binary, m), nil))
					c.want("binary " + m)
				}
				testkit.Must(t, conn.Close(4000, "done"))
				for _, e := range []*websocket.CloseError{testkit.Await(t, c.closed, "Closed"), s.ended(t)} {
					if e.Code != 4000 || e.Reason != "done" || e.Err != nil {
						t.Errorf("Closed was called with %v", e)
					}
				}
			})
		}
	}
}

// fakeServer serves one connection by a function, and returns the URL.
func fakeServer(t *testing.T, respond func(nc net.Conn, r *http.Request, accept string)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		r, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			t.Errorf("the request of Dial: %v", err)
			return
		}
		rec := httptest.NewRecorder()
		h, _ := websocket.NewHandler(&websocket.Config{Message: echo}) // to see that it is a valid handshake
		if _, err := h.Upgrade(rec, r); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("the request of Dial is refused: %v", err)
		}
		respond(nc, r, acceptOf(r))
	}()
	t.Cleanup(func() {
		_ = l.Close()
		testkit.Await(t, done, "the end of the fake server")
	})
	return "ws://" + l.Addr().String()
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

// Each response makes Dial fail.
func TestDialRefusesResponsesThatAreNoHandshake(t *testing.T) {
	for name, response := range map[string]string{
		"403":                      "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
		"no HTTP":                  "SSH-2.0-x\r\n\r\n",
		"200":                      "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
		"no Upgrade":               "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
		"no Connection":            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
		"no accept":                switching + "\r\n",
		"another accept":           switching + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
		"subprotocol":              switching + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: other\r\n\r\n",
		"extension":                switching + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: other\r\n\r\n",
		"context takeover":         switching + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
		"a window of the client":   switching + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits=9\r\n\r\n",
		"the same extension twice": switching + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover\r\n\r\n",
		"a long head":              switching + "X: " + strings.Repeat("x", 40_000),
		"end of the stream":        switching,
	} {
		t.Run(name, func(t *testing.T) {
			url := fakeServer(t, func(nc net.Conn, _ *http.Request, accept string) {
				_, _ = io.WriteString(nc, strings.Replace(response, "ACCEPT", accept, 1)) // the client may be gone
			})
			c := newCaller(t, websocket.Config{Deflate: true, Subprotocols: []string{"v1"}})
			ctx, cancel := testkit.Soon()
			defer cancel()
			_, err := websocket.Dial(ctx, url, &c.cfg)
			if name == "end of the stream" {
				testkit.CheckErr(t, "Dial", err, io.EOF)
				return
			}
			testkit.CheckErr(t, "Dial", err, websocket.ErrHandshake)
			var refused *websocket.HandshakeError
			if errors.As(err, &refused); name == "403" && refused.Status != 403 {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// The server's frames are not masked, and a client that finds a mask closes with 1002. A frame in the read of the response is not lost.
func TestADialledWebSocketChecksTheServersFrames(t *testing.T) {
	url := fakeServer(t, func(nc net.Conn, _ *http.Request, accept string) {
		_, _ = nc.Write(append([]byte(switching+"Sec-WebSocket-Accept: "+accept+"\r\n\r\n"), seq(unmasked(0x80|opText, "first"), text("masked"))...))
		p := make([]byte, 4)
		if _, err := io.ReadFull(nc, p); err != nil || p[0] != 0x80|opClose || p[1]&0x80 == 0 {
			t.Errorf("the client has sent %x, %v; want a masked close frame", p, err)
		}
		_, _ = io.Copy(io.Discard, nc)
	})
	c := newCaller(t, websocket.Config{})
	c.dial(url)
	c.want("text first")
	if e := testkit.Await(t, c.closed, "Closed"); e.Code != websocket.CloseProtocolError {
		t.Errorf("Closed was called with %v", e)
	}
}

func TestDialChecksItsArguments(t *testing.T) {
	c := newCaller(t, websocket.Config{})
	try := func(url string, change func(cfg *websocket.DialConfig)) {
		t.Helper()
		cfg := c.cfg
		change(&cfg)
		_, err := websocket.Dial(context.Background(), url, &cfg)
		testkit.CheckErr(t, "Dial", err, websocket.ErrInvalid)
	}
	for _, url := range []string{"", "http://127.0.0.1:1", "ws://", "ws://127.0.0.1:1#x", "ws://127.0.0.1:x", "//127.0.0.1"} {
		try(url, func(*websocket.DialConfig) {})
	}
	const url = "ws://127.0.0.1:1"
	try(url, func(cfg *websocket.DialConfig) { cfg.Server = nil })
	try(url, func(cfg *websocket.DialConfig) { cfg.Handler = nil })
	try(url, func(cfg *websocket.DialConfig) { cfg.Header = http.Header{"Upgrade": {"x"}} })
	_, err := websocket.Dial(context.Background(), url, nil)
	testkit.CheckErr(t, "Dial", err, websocket.ErrInvalid)
}

// The server accepts the connection and does not respond.
func TestDialEndsWithItsContextOrTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer l.Close()
	url := "ws://" + l.Addr().String()
	c := newCaller(t, websocket.Config{})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("of the test")
	ends := make(chan error, 1)
	go func() {
		_, err := websocket.Dial(ctx, url, &c.cfg)
		ends <- err
	}()
	nc, err := l.Accept()
	testkit.Must(t, err)
	defer nc.Close()
	_, err = http.ReadRequest(bufio.NewReader(nc)) // so Dial waits for the response
	testkit.Must(t, err)
	cancel(why)
	testkit.CheckErr(t, "Dial", testkit.Await(t, ends, "Dial"), why)
	c.cfg.Timeout = 10 * time.Millisecond
	_, err = websocket.Dial(context.Background(), url, &c.cfg)
	testkit.CheckErr(t, "Dial", err, server.ErrDialTimeout)
}

// Message of one WebSocket dials another one and waits for it, also if it runs on the loop of both.
func TestMessageMayDial(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	c := newCaller(t, websocket.Config{})
	front := &server.Server{NumLoops: 1, Handler: server.HandlerFunc(func(_ *server.Conn, p []byte) (int, error) { return len(p), nil })}
	testkit.Must(t, front.Start())
	t.Cleanup(func() { testkit.Must(t, front.Close()) })
	outcome := make(chan error, 1)
	h, err := websocket.NewHandler(&websocket.Config{Placement: server.OnLoop, Message: func(websocket.Reply, websocket.MessageType, []byte) {
		cfg := c.cfg
		cfg.Server = front
		conn, err := websocket.Dial(context.Background(), "ws://"+s.addr, &cfg)
		if err == nil {
			err = conn.WriteText("from Message")
		}
		outcome <- err
	}})
	testkit.Must(t, err)
	conn, err := websocket.Dial(context.Background(), "ws://"+s.addr, &websocket.DialConfig{Server: front, Handler: h})
	testkit.Must(t, err)
	testkit.Must(t, conn.WriteText("go"))
	testkit.Must(t, testkit.Await(t, outcome, "the outcome"))
	c.want("text from Message")
}
