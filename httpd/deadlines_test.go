package httpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// slow is a server whose clock the test advances, for a client that sends or reads a byte each second.
type slow struct {
	*Server
	clock  *testkit.Clock
	client net.Conn
	begun  chan struct{} // a value for each call of the handler
	errs   chan error    // what the handler has got from reading or writing
}

const longBody = 400 << 10 // more than the kernel takes with the buffers of newSlow, and less than MaxOutput

// newSlow starts s, which the client reaches with small buffers, and with TLS if isTLS.
func newSlow(t *testing.T, s *Server, isTLS bool) *slow {
	t.Helper()
	w := &slow{Server: s, clock: testkit.NewClock(), begun: make(chan struct{}, 10), errs: make(chan error, 10)}
	s.LoopConfig = &event.Config{Clock: w.clock}
	s.Socket = server.SocketOptions{WriteBuffer: 16 << 10}
	file := filepath.Join(t.TempDir(), "file")
	testkit.Must(t, os.WriteFile(file, make([]byte, 4<<20), 0o600))
	s.Handler = http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.begun <- struct{}{}
		w.serve(rw, req, file)
	})
	var addr string
	if isTLS {
		addr, _ = startTLS(t, s, false)
	} else {
		addr = start(t, s)
	}
	nc, err := net.Dial("tcp", addr)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = nc.Close() }) // the test is over
	testkit.Must(t, nc.(*net.TCPConn).SetReadBuffer(16<<10))
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	if w.client = nc; isTLS {
		w.client = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // the server is ours
	}
	return w
}

// stats returns the counts of the server; none before Serve has started it.
func (w *slow) stats() server.Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.srv == nil {
		return server.Stats{}
	}
	return w.srv.Stats()
}

// serve is the handler.
func (w *slow) serve(rw http.ResponseWriter, req *http.Request, file string) {
	rc := http.NewResponseController(rw)
	switch req.URL.Path {
	case "/readdeadline":
		_ = rc.SetReadDeadline(time.Now().Add(5 * time.Second)) // has no error for a body that is open
		fallthrough
	case "/read":
		_, err := io.Copy(io.Discard, req.Body)
		w.errs <- err
	case "/writedeadline":
		_ = rc.SetWriteDeadline(time.Now().Add(5 * time.Second)) // has no error before Hijack
		fallthrough
	case "/write":
		_, err := rw.Write(make([]byte, longBody))
		w.errs <- err
	case "/longwrite":
		_, err := rw.Write(make([]byte, 16<<20))
		w.errs <- err
	case "/stream":
		var err error
		for err == nil {
			if _, err = rw.Write(make([]byte, 4<<10)); err == nil {
				err = rc.Flush()
			}
		}
		w.errs <- err
	case "/file":
		http.ServeFile(rw, req, file)
	case "/clear":
		_ = rc.SetWriteDeadline(time.Time{}) // has no error before Hijack
		_, err := rw.Write(make([]byte, longBody))
		w.errs <- err
	}
}

// postOf is the head of a request whose body has n bytes.
func postOf(path string, n int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, n)
}

// Each deadline holds in total, not for each byte: a client that sends or reads one byte each second meets it.
func TestASlowClientMeetsTheDeadlines(t *testing.T) {
	t.Parallel()
	const none = -1
	for _, row := range []struct {
		name                        string
		head, read, write, idle     time.Duration
		input                       string
		sends, reads                bool          // a byte each second
		after                       time.Duration // the deadline
		handles, timesOut, isServed bool          // the handler is called; its error is that of a deadline; it returns before the deadline
	}{
		{name: "head", head: 10, input: "GET / HTTP/1.1\r\nX: ", sends: true, after: 10},
		{name: "request line", head: 10, input: "G", sends: true, after: 10},
		{name: "head of a second request", head: 10, input: get("/") + "GET / HTTP/1.1\r\nX: ", sends: true, after: 10, handles: true},
		{name: "body that the handler reads", head: none, read: 20, input: postOf("/read", 1000), sends: true, after: 20, handles: true, timesOut: true},
		{name: "body that the handler does not read", head: none, read: 20, input: postOf("/", 1000), sends: true, after: 20, handles: true},
		{name: "body that the handler does not read, without ReadTimeout", head: 10, input: postOf("/", 1000), sends: true, after: 10, handles: true},
		{name: "body in chunks", head: none, read: 20, input: "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n", sends: true, after: 20, handles: true, timesOut: true},
		{name: "extension of a chunk", head: none, read: 20, input: "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400;", sends: true, after: 20, handles: true, timesOut: true},
		{name: "trailer", head: none, read: 20, input: "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: ", sends: true, after: 20, handles: true, timesOut: true},
		{name: "SetReadDeadline", head: none, read: 20, input: postOf("/readdeadline", 1000), sends: true, after: 5, handles: true, timesOut: true},
		{name: "response while the handler writes", write: 30, input: get("/longwrite"), reads: true, after: 30, handles: true, timesOut: true},
		{name: "response that the handler flushes", write: 30, input: get("/stream"), reads: true, after: 30, handles: true, timesOut: true},
		{name: "response after the handler", write: 30, input: get("/write"), reads: true, after: 30, handles: true, isServed: true},
		{name: "response that is not read", write: 30, input: get("/write"), after: 30, handles: true, isServed: true},
		{name: "response before the end of the connection", write: 30, input: get("/write", "Connection: close\r\n"), reads: true, after: 30, handles: true, isServed: true},
		{name: "file", write: 30, input: get("/file"), reads: true, after: 30, handles: true},
		{name: "SetWriteDeadline", input: get("/writedeadline"), reads: true, after: 5, handles: true, isServed: true},
		{name: "SetWriteDeadline before WriteTimeout", write: 30, input: get("/writedeadline"), reads: true, after: 5, handles: true, isServed: true},
		{name: "requests behind a response that is not read", write: 30, input: get("/write") + strings.Repeat(get("/"), 3), after: 30, handles: true, isServed: true},
		{name: "idle", idle: 60, input: get("/"), after: 60, handles: true},
	} {
		for _, isTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/TLS=%v", row.name, isTLS), func(t *testing.T) {
				second := func(n time.Duration) time.Duration { return max(none, n*time.Second) }
				w := newSlow(t, &Server{ReadHeaderTimeout: second(row.head), ReadTimeout: second(row.read), WriteTimeout: second(row.write), IdleTimeout: second(row.idle)}, isTLS)
				_, err := io.WriteString(w.client, row.input)
				testkit.Must(t, err)
				if row.handles {
					testkit.Await(t, w.begun, "the request")
				} else {
					testkit.Until(t, "the input", func() bool { return w.stats().BytesRead >= uint64(len(row.input)) })
				}
				if row.isServed {
					testkit.Must(t, testkit.Await(t, w.errs, "the end of the handler"))
				}
				w.passes(t, row.after*time.Second, row.sends, row.reads, !row.reads && !row.isServed)
				if row.timesOut {
					if err := testkit.Await(t, w.errs, "the error"); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the error is %v", err)
					}
				}
			})
		}
	}
}

// passes lets the time pass until the connection ends, which must not be before the deadline. The client sends or reads a byte each second
// all the time, so that a deadline that a byte renews never ends it.
func (w *slow) passes(t *testing.T, after time.Duration, sends, reads, drains bool) {
	t.Helper()
	ended := make(chan struct{})
	if drains {
		go func() {
			_, _ = io.Copy(io.Discard, w.client) // until the end
			close(ended)
		}()
	}
	at := time.Duration(0)
	testkit.Until(t, "the end of the connection", func() bool {
		select {
		case <-ended:
			return true
		default:
		}
		if w.stats().OpenConns == 0 {
			return true
		}
		pass(t, w.Server, w.clock, time.Second)
		if at += time.Second; sends {
			_, _ = io.WriteString(w.client, "x") // fails after the end
		}
		if reads {
			_, _ = w.client.Read(make([]byte, 1)) // as above
		}
		return false
	})
	if at < after {
		t.Errorf("the connection has ended %v after the request, and the deadline is %v", at, after)
	}
}

// A response that is read in time leaves no deadline behind for the requests and the pauses that follow.
func TestADeadlineThatWasMetIsOver(t *testing.T) {
	t.Parallel()
	w := newSlow(t, &Server{WriteTimeout: 10 * time.Second, IdleTimeout: time.Hour}, false)
	c := &client{t, w.client, bufio.NewReader(w.client)}
	for _, path := range []string{"/write", "/clear", "/writedeadline", "/file", "/write"} {
		c.send(get(path))
		testkit.Await(t, w.begun, "the request")
		pass(t, w.Server, w.clock, 3*time.Second)
		if path == "/clear" {
			testkit.Must(t, testkit.Await(t, w.errs, "the end of the handler"))
			pass(t, w.Server, w.clock, time.Minute)
		}
		if resp := c.response(); len(resp.body) < longBody {
			t.Fatalf("%s: the response has %d bytes", path, len(resp.body))
		}
		testkit.Until(t, "the end of the output", func() bool { return w.stats().BufferedBytes == 0 })
		pass(t, w.Server, w.clock, time.Minute)
	}
}

// A client that pauses while it reads the last response of a connection gets all of it; then the server does not wait for long for its end.
func TestAPauseOfTheClientDoesNotCutTheLastResponse(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/write", "/file"} {
		w := newSlow(t, &Server{IdleTimeout: -1}, false) // no limit for the pauses
		c := &client{t, w.client, bufio.NewReader(w.client)}
		c.send(get(path, "Connection: close\r\n"))
		testkit.Await(t, w.begun, "the request")
		if path == "/write" {
			testkit.Must(t, testkit.Await(t, w.errs, "the end of the handler"))
		}
		testkit.Until(t, "the output", func() bool { return w.stats().BytesWritten > 0 })
		for range 10 {
			pass(t, w.Server, w.clock, 10*time.Second)
		}
		if resp := c.response(); len(resp.body) < longBody {
			t.Fatalf("the response has %d bytes", len(resp.body))
		}
		testkit.Until(t, "the end of the connection", func() bool {
			pass(t, w.Server, w.clock, time.Second)
			return w.stats().OpenConns == 0
		})
	}
}
