package sse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// start starts a server, which the end of the test closes.
func start(t *testing.T, handler http.Handler) (s *httpd.Server, addr string) {
	t.Helper()
	return startWith(t, handler, func(*httpd.Server) {})
}

// startWith is start of a server that configure changes.
func startWith(t *testing.T, handler http.Handler, configure func(s *httpd.Server)) (s *httpd.Server, addr string) {
	t.Helper()
	s = &httpd.Server{Handler: handler, NumLoops: 1, ErrorLog: log.New(io.Discard, "", 0), Socket: server.SocketOptions{WriteBuffer: 64 << 10}}
	configure(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close() // again, in some tests
		testkit.WantErr(t, testkit.Await(t, done, "the end of Serve"), http.ErrServerClosed)
	})
	return s, l.Addr().String()
}

// A client is the receiver of a stream.
type client struct {
	t *testing.T
	net.Conn
	head   http.Header
	status int
	body   *bufio.Reader
	parser
}

// open requests a stream, with more lines of the head. Its head has arrived.
func open(t *testing.T, addr string, more ...string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = nc.Close() }) // the test is over
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	testkit.Must(t, nc.(*net.TCPConn).SetReadBuffer(16<<10))
	_, err = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n"+strings.Join(more, "")+"\r\n")
	testkit.Must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil) //nolint:bodyclose // the end of the connection closes it
	testkit.Must(t, err)
	return &client{t: t, Conn: nc, head: resp.Header, status: resp.StatusCode, body: bufio.NewReader(resp.Body)}
}

// next returns the next event.
func (c *client) next() received {
	c.t.Helper()
	e, err := c.tryNext()
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// tryNext is next, or the error of the connection.
func (c *client) tryNext() (received, error) {
	n := len(c.events)
	for len(c.events) == n {
		line, err := c.body.ReadString('\n')
		if err != nil {
			return received{}, fmt.Errorf("after %q: %w", line, err)
		}
		c.line(strings.TrimSuffix(line, "\n"))
	}
	return c.events[n], nil
}

// wantEnd waits for the end of the stream, which is complete.
func (c *client) wantEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.body); len(rest) > 0 || err != nil {
		c.t.Errorf("the end of the stream is %q, %v", rest, err)
	}
}

// starting is a handler that starts streams and passes them on.
func starting(t *testing.T, cfg *StreamConfig) (handler http.HandlerFunc, streams chan Stream) {
	streams = make(chan Stream, 1)
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := Start(w, r, cfg)
		if err != nil {
			t.Errorf("Start: %v", err)
		}
		streams <- s
	}, streams
}

// The client of a stream receives the head at once, and each event and comment in order.
func TestAStreamSendsEvents(t *testing.T) {
	handler, streams := starting(t, &StreamConfig{Retry: 1500 * time.Millisecond})
	_, addr := start(t, handler)
	c := open(t, addr)
	s := testkit.Await(t, streams, "the stream")
	for key, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		testkit.WantEqual(t, key, c.head.Get(key), want)
	}
	testkit.Must(t, s.Comment("hello\nworld"))
	testkit.Must(t, s.Send(Event{ID: "1", Name: "n", Data: "a\nb"}))
	testkit.Must(t, s.Send(Event{Data: "c"}))
	testkit.WantErr(t, s.Send(Event{ID: "\n"}), ErrInvalid)
	for _, want := range []received{{"1", "n", "a\nb"}, {"1", "", "c"}} {
		testkit.WantEqual(t, "event", c.next(), want)
	}
	testkit.WantEqual(t, "retry", c.retry, "1500")
	testkit.WantEqual(t, "comments", c.comments, 2)
	outcome := make(chan error, 1)
	testkit.Must(t, s.Parked().Notify(func(err error) { outcome <- err }))
	testkit.Must(t, testkit.Await(t, outcome, "the outcome"))
	testkit.Must(t, s.Close())
	testkit.WantErr(t, s.Send(Event{}), httpd.ErrEnded)
	c.wantEnd()
}

// Without OnGone a stream is closed when its client goes away; with it, the function is called.
func TestAStreamLearnsThatItsClientIsGone(t *testing.T) {
	handler, streams := starting(t, nil)
	s, addr := start(t, handler)
	c := open(t, addr)
	stream := testkit.Await(t, streams, "the stream")
	_ = c.Close() // by intention
	testkit.Until(t, "the end", func() bool { return s.Parked() == 0 })
	if err := stream.Send(Event{}); err == nil {
		t.Error("an event is accepted after the end")
	}

	gone := make(chan error, 1)
	handler, streams = starting(t, &StreamConfig{OnGone: func(s Stream, cause error) {
		testkit.Must(t, s.Send(Event{Data: "bye"}))
		testkit.Must(t, s.Close())
		gone <- cause
	}})
	_, addr = start(t, handler)
	c = open(t, addr)
	testkit.Await(t, streams, "the stream")
	testkit.Must(t, c.Conn.(*net.TCPConn).CloseWrite())
	testkit.WantErr(t, testkit.Await(t, gone, "OnGone"), server.ErrPeerClosed)
	testkit.WantEqual(t, "last event", c.next().data, "bye")
	c.wantEnd()
}

// A stream is refused for a ResponseWriter that cannot be parked, and for a wrong configuration; then the handler can respond otherwise.
func TestStartRefusesWhatCannotBeAStream(t *testing.T) {
	type opaque struct{ http.ResponseWriter } // without Unwrap
	g, err := NewGroup(nil)
	testkit.Must(t, err)
	_, addr := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := Start(opaque{w}, r, nil)
		_, err2 := g.Join(opaque{w}, r)
		_, err3 := Start(w, r, &StreamConfig{Retry: -1})
		if !errors.Is(err, http.ErrNotSupported) || !errors.Is(err2, http.ErrNotSupported) || !errors.Is(err3, ErrInvalid) {
			t.Errorf("Start: %v; Join: %v; a negative Retry: %v", err, err2, err3)
		}
		g.ServeHTTP(opaque{w}, r)
	}))
	c := open(t, addr)
	testkit.WantEqual(t, "status", c.status, http.StatusInternalServerError)
	for _, cfg := range []*GroupConfig{{Retry: -1}} {
		_, err := NewGroup(cfg)
		testkit.WantErr(t, err, ErrInvalid)
	}
}

// An event for a client that does not read is refused at MaxPending.
func TestAStreamOfASlowClientIsLimited(t *testing.T) {
	handler, streams := starting(t, nil)
	_, addr := start(t, handler)
	c := open(t, addr)
	s := testkit.Await(t, streams, "the stream")
	sent := 0
	var err error
	for ; err == nil; sent++ {
		err = s.Send(Event{Data: fmt.Sprint(sent) + strings.Repeat("x", 1000)})
	}
	testkit.WantErr(t, err, server.ErrFull)
	if n := s.Parked().Pending(); n > DefaultMaxPending+4<<10 {
		t.Errorf("%d bytes wait", n)
	}
	testkit.Must(t, s.Close())
	for i := range sent - 1 {
		if e := c.next(); !strings.HasPrefix(e.data, fmt.Sprint(i)+"x") {
			t.Fatalf("event %d is %.20q", i, e.data)
		}
	}
	c.wantEnd()
}
