package websocket_test

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// echo is a Config.Message that sends the message back.
func echo(w websocket.Reply, t websocket.MessageType, p []byte) { _ = w.WriteMessage(t, p) }

// A site is a server with WebSockets.
type site struct {
	*httpd.Server
	addr    string
	handler *websocket.Handler
	tls     bool
	closed  chan *websocket.CloseError // what Closed was called with
}

// startWithClock is start with a clock of the test.
func startWithClock(t testing.TB, clock *testkit.Clock, cfg *websocket.Config) *site {
	t.Helper()
	c := *cfg
	if c.CloseTimeout == 0 {
		c.CloseTimeout = websocket.DefaultCloseTimeout
	}
	s := newSite(t, &c)
	s.LoopConfig = &event.Config{Clock: clock}
	s.run(t)
	return s
}

// advance makes a second pass again and again until done returns true. The loops do what is due each time before done is called.
func (s *site) advance(t testing.TB, clock *testkit.Clock, what string, done func() bool) {
	t.Helper()
	testkit.Until(t, what, func() bool {
		if done() {
			return true
		}
		clock.Advance(time.Second)
		s.doWhatIsDue(t)
		return done()
	})
}

// doWhatIsDue waits until each loop has handled the timers that are due. Two functions are posted: the first may run in a turn that began
// before the clock was advanced.
func (s *site) doWhatIsDue(t testing.TB) {
	t.Helper()
	for _, l := range websocket.Loops(s.handler) {
		for range 2 {
			ran := make(chan struct{})
			testkit.Must(t, l.Post(func() { close(ran) }))
			testkit.Await(t, ran, "a posted function")
		}
	}
}

// awaitRequests waits until no frame is being handled or waits for it.
func (s *site) awaitRequests(t testing.TB) {
	t.Helper()
	testkit.Until(t, "the end of the requests", func() bool {
		n, err := websocket.Pending(s.handler)
		testkit.Must(t, err)
		return n == 0
	})
}

// start serves WebSockets with cfg on one loop. The server is closed at the end of the test.
func start(t testing.TB, cfg *websocket.Config) *site {
	t.Helper()
	s := newSite(t, cfg)
	s.run(t)
	return s
}

// newSite returns a site that is not started. Without a CloseTimeout in cfg, a peer that is slow has as much time as the test.
func newSite(t testing.TB, cfg *websocket.Config) *site {
	t.Helper()
	s := &site{closed: make(chan *websocket.CloseError, 100)}
	c := *cfg
	if closed := c.Closed; closed == nil {
		c.Closed = func(_ *websocket.Conn, e *websocket.CloseError) { s.closed <- e }
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = testkit.Patience
	}
	h, err := websocket.NewHandler(&c)
	testkit.Must(t, err)
	s.Server, s.handler = newServer(h), h
	return s
}

// quiet logs nothing.
var quiet = log.New(io.Discard, "", 0)

func newServer(h http.Handler) *httpd.Server {
	return &httpd.Server{Handler: h, ErrorLog: quiet, NumLoops: 1}
}

// run starts the server.
func (s *site) run(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	s.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() {
		if s.tls {
			done <- s.ServeTLS(l, "", "")
		} else {
			done <- s.Serve(l)
		}
	}()
	t.Cleanup(func() {
		testkit.Must(t, s.Close())
		if err := testkit.Await(t, done, "the end of Serve"); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// both runs a test with Message on the loop and on workers.
func both(t *testing.T, test func(t *testing.T, p server.Placement)) {
	for _, p := range []server.Placement{server.OnLoop, server.OnWorkers} {
		t.Run(p.String(), func(t *testing.T) { test(t, p) })
	}
}

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

var testMask = [4]byte{0x12, 0xe4, 0x56, 0x78}

// frame returns a masked frame. The first byte has the opcode, and 0x80 for the last frame of a message.
func frame(first byte, payload string) []byte {
	b := unmasked(first, payload)
	b[1] |= 0x80
	n := len(b) - len(payload)
	masked := append(append([]byte(nil), b[:n]...), testMask[:]...)
	for i := range len(payload) {
		masked = append(masked, payload[i]^testMask[i%4])
	}
	return masked
}

// unmasked returns a frame without a mask.
func unmasked(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// text returns a text in one frame.
func text(s string) []byte { return frame(0x80|opText, s) }

// closeFrame returns the payload of a close frame.
func closing(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// A peer is a connection that the test writes and reads.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

const handshake = "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// connect connects without a handshake.
func (s *site) connect(t testing.TB) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = nc.Close() }) // the test is over
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	return &peer{t, nc, bufio.NewReader(nc)}
}

// dial makes a WebSocket. fields are further fields of the request, and more is sent together with it.
func (s *site) dial(t testing.TB, fields string, more ...[]byte) *peer {
	t.Helper()
	p := s.connect(t)
	p.send([]byte(handshake+fields+"\r\n"), bytes.Join(more, nil))
	p.accepted()
	return p
}

// accepted reads the response to the handshake, and returns its header.
func (p *peer) accepted() http.Header {
	p.t.Helper()
	resp, err := http.ReadResponse(p.r, nil)
	testkit.Must(p.t, err)
	testkit.Must(p.t, resp.Body.Close())
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		p.t.Fatalf("the response is %v", resp)
	}
	return resp.Header
}

// status reads a response without upgrade, and returns its status.
func (p *peer) status() int {
	p.t.Helper()
	resp, err := http.ReadResponse(p.r, nil)
	testkit.Must(p.t, err)
	testkit.Must(p.t, resp.Body.Close())
	return resp.StatusCode
}

func (p *peer) send(pieces ...[]byte) {
	p.t.Helper()
	if _, err := p.Write(bytes.Join(pieces, nil)); err != nil {
		p.t.Fatal(err)
	}
}

// next reads a frame.
func (p *peer) next() (first byte, payload string) {
	p.t.Helper()
	var head [2]byte
	p.read(head[:])
	if head[1]&0x80 != 0 {
		p.t.Fatal("the frame is masked")
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		p.read(b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		p.read(b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	b := make([]byte, n)
	p.read(b)
	return head[0], string(b)
}

func (p *peer) read(b []byte) {
	p.t.Helper()
	if _, err := io.ReadFull(p.r, b); err != nil {
		p.t.Fatalf("read: %v", err)
	}
}

// want reads a frame and compares it.
func (p *peer) want(first byte, payload string) {
	p.t.Helper()
	f, got := p.next()
	if f != first || got != payload {
		p.t.Fatalf("the frame is %x %q; want %x %q", f, brief(got), first, brief(payload))
	}
}

// wantClose reads a close frame with the code, and the end of the stream.
func (p *peer) wantClose(code int) {
	p.t.Helper()
	f, got := p.next()
	if f != 0x80|opClose || len(got) < 2 || int(binary.BigEndian.Uint16([]byte(got))) != code {
		p.t.Fatalf("the frame is %x %q; want a close frame with %d", f, brief(got), code)
	}
	p.wantEnd()
}

// wantEnd reads the end of the stream.
func (p *peer) wantEnd() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || err != nil {
		p.t.Fatalf("the connection has not ended: %q, %v", brief(string(rest)), err)
	}
}

// brief shortens a text for a message.
func brief(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// ended waits for the call of Closed.
func (s *site) ended(t testing.TB) *websocket.CloseError {
	t.Helper()
	return testkit.Await(t, s.closed, "Closed")
}

// hello is a text that is longer than a frame with a short length.
var hello = strings.Repeat("hello, world; ", 100)

// acceptOf returns the value of Sec-WebSocket-Accept for the response to a request.
func acceptOf(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 asks for it
	return base64.StdEncoding.EncodeToString(sum[:])
}

// fillOutput writes a message until one is refused. It returns the message, and the number of those that were accepted.
func fillOutput(t testing.TB, c *websocket.Conn) (m string, sent int) {
	t.Helper()
	m = noise(100_000)
	testkit.Until(t, "output to wait", func() bool {
		if c.WriteMessage(websocket.Binary, []byte(m)) == nil {
			sent++
			return false
		}
		return true
	})
	return m, sent
}
