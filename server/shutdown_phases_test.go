package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// Clients that do not close, like those of a pool, are not waited for, although CloseTimeout is not reached. They read the end of the
// stream.
func TestShutdownClosesIdleConnectionsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d := echoLines()
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d, CloseTimeout: -1, IdleTimeout: -1})
		var clients []net.Conn
		for i := range 20 {
			nc := s.dial(t)
			if i > 0 { // one has not sent anything
				testkit.Must(t, pipelined(nc, "hello", 1))
			}
			clients = append(clients, nc)
		}
		if r.tls {
			testkit.Must(t, clients[0].(*tls.Conn).Handshake())
		}
		// A connection that is not open yet at the server, although its client's handshake has ended, would not be idle.
		testkit.Until(t, "all connections", func() bool { return s.Stats().Opened == uint64(len(clients)) })
		s.shutdown(t)
		for _, nc := range clients {
			expectEOF(t, nc)
		}
		for range clients {
			if reason := testkit.Await(t, reasons, "Close"); reason != server.ErrServerClosed {
				t.Errorf("Close was called with %v", reason)
			}
		}
	})
}

// It waits neither for the clients of such connections nor for the peers of those that the server has dialled.
func TestShutdownClosesIdleConnectionsAtOnceWhoseHalfItHasClosed(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		p, dialled := newProbe(calls{}), newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1, IdleTimeout: -1})
		c, nc := p.connect(t, s)
		outside, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		defer outside.Close()
		backend, err := s.Dial(context.Background(), "tcp", outside.Addr().String(), &server.DialConfig{Handler: dialled})
		testkit.Must(t, err)
		peer, err := outside.Accept()
		testkit.Must(t, err)
		defer peer.Close()
		testkit.Await(t, dialled.opened, "Open")
		testkit.Must(t, c.CloseWrite())
		testkit.Must(t, backend.CloseWrite())
		expectEOF(t, nc)
		expectEOF(t, peer)
		s.shutdown(t)
		for _, p := range []*probe{p, dialled} {
			testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), server.ErrServerClosed)
		}
	})
}

// The client reads the bytes that the kernel holds, and need not close then.
func TestShutdownLosesNoUnsentOutputOfAnIdleConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1})
		c, nc := p.connect(t, s)
		want := noise(32 << 10)
		_, err := c.Write(want)
		testkit.Must(t, err)
		testkit.Until(t, "the kernel to have all", func() bool { return c.Stats().BytesWritten == uint64(len(want)) })
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		got, err := io.ReadAll(nc)
		testkit.Must(t, err)
		if string(got) != string(want) {
			t.Errorf("the client has read %d of %d bytes", len(got), len(want))
		}
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
	})
}

// dialEcho makes s connect to an echo server outside of it.
func dialEcho(t *testing.T, s *running, h server.Handler) *server.Conn {
	t.Helper()
	outside := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	c, err := s.Dial(context.Background(), "tcp", outside.addr.String(), &server.DialConfig{Handler: h})
	testkit.Must(t, err)
	return c
}

// They serve the requests that are in progress, and end after them.
func TestConnectionsThatWereDialledServeRequestsDuringShutdown(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		answers := make(chan string, 1)
		client := newProbe(calls{data: func(_ *server.Conn, p []byte) (int, error) { answers <- string(p); return len(p), nil }})
		begun, release := make(chan struct{}), make(chan struct{})
		var backend *server.Conn
		front := newProbe(calls{})
		d := &server.Dispatcher{Framing: framing.Lines{}, Opened: front.Open, Closed: front.Close, Serve: func(w server.Reply, _ []byte) {
			close(begun)
			<-release
			if _, err := backend.WriteString("question\n"); err != nil {
				t.Error(err)
				return
			}
			_, _ = w.WriteString(<-answers)
		}}
		s := start(t, r, &server.Server{Handler: d})
		backend = dialEcho(t, s, client)
		testkit.Await(t, client.opened, "Open")
		_, nc := front.connect(t, s)
		send(t, nc, "go\n")
		testkit.Await(t, begun, "the request")
		idle := s.dial(t)
		if r.tls {
			testkit.Must(t, idle.(*tls.Conn).Handshake())
		}
		testkit.Await(t, front.opened, "Open of an idle connection")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		testkit.CheckErr(t, "Close of the idle connection", testkit.Await(t, front.closed, "Close"), server.ErrServerClosed) // so the shutdown has begun
		if len(client.closed) > 0 {
			t.Errorf("the connection that was dialled has ended: %v", <-client.closed)
		}
		close(release)
		line, err := bufio.NewReader(nc).ReadString('\n')
		testkit.Must(t, err)
		if line != "question\n" {
			t.Errorf("the client has read %q", line)
		}
		hangUp(nc, idle)
		testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
		testkit.CheckErr(t, "Close", testkit.Await(t, client.closed, "Close"), server.ErrServerClosed)
	})
}

// It continues while requests are in progress.
func TestADialUnderWayContinuesDuringShutdown(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer silent.Close()
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(server.Reply, []byte) {
		close(begun)
		<-release
	})})
	nc := s.dial(t)
	send(t, nc, "go\n")
	testkit.Await(t, begun, "the request")
	idle := s.dial(t)
	testkit.Until(t, "the connections", func() bool { return s.Stats().OpenConns == 2 })
	h := newCaller()
	_, err = s.Dial(context.Background(), "tcp", silent.Addr().String(), &server.DialConfig{Handler: h, TLS: clientTLS()})
	testkit.Must(t, err)
	peer, err := silent.Accept()
	testkit.Must(t, err)
	defer peer.Close()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	expectEOF(t, idle) // so the shutdown has begun
	if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
		t.Errorf("the client's handshake has not continued: %v", err)
	}
	close(release)
	hangUp(nc)
	testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
	h.failed(t, server.ErrServerClosed)
}
