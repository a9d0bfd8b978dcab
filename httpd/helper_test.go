package httpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// start starts a server with one loop and returns its address. It is closed at the end of the test.
func start(t *testing.T, s *Server) (addr string) {
	t.Helper()
	if s.ErrorLog == nil {
		s.ErrorLog = log.New(io.Discard, "", 0)
	}
	if s.NumLoops == 0 {
		s.NumLoops = 1
	}
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := testkit.Await(t, done, "the end of Serve"); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// startTLS is start with TLS. It returns a client that trusts the server.
func startTLS(t *testing.T, s *Server, http2 bool) (addr string, client *http.Client) {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.EnableHTTP2 = http2
	ts.StartTLS() // for its certificate and client
	t.Cleanup(ts.Close)
	s.TLSConfig = &tls.Config{Certificates: ts.TLS.Certificates}
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.NumLoops = 1
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = s.Close() // handlers may run
		testkit.Await(t, done, "the end of ServeTLS")
	})
	return l.Addr().String(), ts.Client()
}

// A client is a connection that the test writes and reads.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() }) // the test is over
	if err := nc.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t, nc, bufio.NewReader(nc)}
}

// send sends text.
func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// A clientResponse is what the test looks at of an http.Response.
type clientResponse struct {
	status int
	header http.Header
	closes bool // the connection ends after it
	body   string
}

// response reads the response to a GET.
func (c *client) response() clientResponse {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return clientResponse{resp.StatusCode, resp.Header, resp.Close, string(body)}
}

// wantEnd waits until the server closes the connection.
func (c *client) wantEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("the connection has not ended: %q, %v", rest, err)
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// pass lets d pass, and waits until the loops of s have handled the timers that are due. Two functions are posted to each: the first may run in
// a turn that began before.
func pass(t testing.TB, s *Server, clock *testkit.Clock, d time.Duration) {
	t.Helper()
	clock.Advance(d)
	s.mu.Lock()
	srv := s.srv
	s.mu.Unlock()
	for _, l := range srv.Loops() {
		for range 2 {
			ran := make(chan struct{})
			testkit.Must(t, l.Post(func() { close(ran) }))
			testkit.Await(t, ran, "a posted function")
		}
	}
}
