package httpd

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func TestMain(m *testing.M) {
	testkit.ParallelTests(8) // they wait for the kernel's timers and for package net/http
	leaktest.Main(m, awaitNetHTTP)
}

// eachPlacement runs a test with a server whose handlers run on the loop, and with one whose handlers run on workers.
func eachPlacement(t *testing.T, run func(t *testing.T, s *Server)) {
	t.Helper()
	for _, p := range []server.Placement{server.OnLoop, server.OnWorkers} {
		t.Run(p.String(), func(t *testing.T) { run(t, &Server{Placement: p}) })
	}
}

// somePlacement is eachPlacement in the full mode, and otherwise runs the test with handlers on the loop only: for tests that run long.
func somePlacement(t *testing.T, run func(t *testing.T, s *Server)) {
	t.Helper()
	if testkit.Full() {
		eachPlacement(t, run)
	} else {
		run(t, &Server{Placement: server.OnLoop})
	}
}

// serve starts s with the handler, and returns its address. It is closed at the end of the test.
func serve(t *testing.T, s *Server, handler http.HandlerFunc) (addr string) {
	t.Helper()
	s.Handler = handler
	return start(t, s)
}

// post is the head of a POST with these header lines.
func post(path, more string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n"
}

// head reads a head, up to its empty line.
func (c *client) head() string {
	c.t.Helper()
	var text string
	for {
		line, err := c.r.ReadString('\n')
		text += line
		if err != nil {
			c.t.Fatalf("after %q: %v", text, err)
		}
		if line == "\r\n" {
			return text
		}
	}
}

// rest reads until the end of the connection, whatever the end is.
func (c *client) rest() string {
	c.t.Helper()
	b, _ := io.ReadAll(c.r) // a part of a response may be followed by a reset
	return string(b)
}

// closeWrite closes the sending side.
func (c *client) closeWrite() {
	c.t.Helper()
	testkit.Must(c.t, c.Conn.(*net.TCPConn).CloseWrite())
}

// reset ends the connection with a reset.
func (c *client) reset() {
	c.t.Helper()
	testkit.Must(c.t, c.Conn.(*net.TCPConn).SetLinger(0))
	_ = c.Close() // by intention
}

// long is a time that no test waits for.
const long = time.Hour
