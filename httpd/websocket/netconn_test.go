package websocket_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// streams returns a site whose WebSockets are given to serve as a net.Conn, on a goroutine that the test waits for.
func streams(t *testing.T, serve func(nc net.Conn)) *site {
	t.Helper()
	over := make(chan struct{}, 10)
	n := 0
	s := start(t, &websocket.Config{Message: func(websocket.Reply, websocket.MessageType, []byte) { t.Error("Message was called") },
		Opened: func(c *websocket.Conn, _ *http.Request) {
			nc := c.NetConn(websocket.Binary)
			if nc != c.NetConn(websocket.Text) {
				t.Error("NetConn has returned another net.Conn")
			}
			n++
			go func() {
				defer func() { over <- struct{}{} }()
				serve(nc)
			}()
		}})
	t.Cleanup(func() {
		for range n {
			testkit.Await(t, over, "the end of the function that has the net.Conn")
		}
	})
	return s
}

// The bytes of the messages are a stream, whatever their types and frames are.
func TestNetConnIsAStream(t *testing.T) {
	s := streams(t, func(nc net.Conn) {
		defer nc.Close()
		for in := bufio.NewScanner(nc); in.Scan(); {
			_, err := fmt.Fprintf(nc, "[%s]", in.Text())
			testkit.CheckErr(t, "Write", err)
		}
	})
	p := s.dial(t, "", text("a line in the read of the upgrade\nand "), frame(opBinary, "an"), frame(0x80, "other\n"), text("x"))
	p.want(0x80|opBinary, "[a line in the read of the upgrade]")
	p.want(0x80|opBinary, "[and another]")
	p.send(text(" end\n"))
	p.want(0x80|opBinary, "[x end]")
	p.send(frame(0x80|opClose, closing(1000, "")))
}

// A Read of a stream that the peer has closed in order returns io.EOF; other ends are errors that tell the code.
func TestNetConnEndsAsTheWebSocketDoes(t *testing.T) {
	ends := make(chan error, 1)
	s := streams(t, func(nc net.Conn) {
		got, err := io.ReadAll(nc)
		testkit.WantEqual(t, "the bytes before the end", string(got), "last")
		_, err2 := nc.Write([]byte("x"))
		testkit.CheckErr(t, "a Write after the end", err2, net.ErrClosed)
		ends <- err
	})
	for _, test := range []struct {
		end  []byte
		code websocket.CloseCode
	}{
		{frame(0x80|opClose, closing(1000, "")), 0}, {frame(0x80|opClose, closing(1001, "")), 0}, {frame(0x80|opClose, ""), 0},
		{frame(0x80|opClose, closing(1011, "")), 1011}, {frame(0x80|3, ""), 1002}, {nil, 1006},
	} {
		p := s.dial(t, "", text("last"))
		p.send(test.end)
		if test.end == nil {
			testkit.Must(t, p.Close())
		} else {
			_, _ = io.ReadAll(p.r)
			testkit.Must(t, p.Close())
		}
		err := testkit.Await(t, ends, "the end")
		var e *websocket.CloseError
		if ok := errors.As(err, &e); ok != (test.code != 0) || ok && e.Code != test.code || errors.Is(err, io.EOF) {
			t.Errorf("the end of %x is %v", test.end, err)
		}
	}
}

// The peer is stopped while nothing is read, and loses nothing.
func TestNetConnIsBounded(t *testing.T) {
	const total = 8 << 20
	release := make(chan struct{})
	s := streams(t, func(nc net.Conn) {
		defer nc.Close()
		<-release
		n, err := io.CopyN(io.Discard, nc, total)
		if n != total || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
	p := s.dial(t, "")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		m := frame(0x80|opBinary, strings.Repeat("x", 1<<16))
		for range total >> 16 {
			if _, err := p.Write(m); err != nil {
				t.Errorf("Write: %v", err)
			}
		}
	}()
	testkit.Until(t, "the server to stop reading", func() bool { return s.handler.Stats().Received >= 2 })
	if n := s.handler.Stats().Received; n > 20 {
		t.Errorf("%d messages are held", n)
	}
	close(release)
	testkit.Await(t, sent, "the last message")
	p.want(0x80|opClose, closing(1000, ""))
	testkit.WantEqual(t, "messages", s.handler.Stats().Received, total>>16)
}

// Close and the deadlines end calls that wait, and further ones.
func TestNetConnHasDeadlines(t *testing.T) {
	over, passed := make(chan struct{}), make(chan struct{})
	s := streams(t, func(nc net.Conn) {
		defer close(over)
		var b [1]byte
		testkit.CheckErr(t, "SetReadDeadline", nc.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := nc.Read(b[:])
		testkit.CheckErr(t, "Read", err, os.ErrDeadlineExceeded)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("Read has returned %v", err)
		}
		testkit.CheckErr(t, "SetDeadline", nc.SetDeadline(time.Now().Add(-time.Second)))
		_, err = nc.Write(b[:])
		testkit.CheckErr(t, "Write", err, os.ErrDeadlineExceeded)
		testkit.CheckErr(t, "SetDeadline", nc.SetDeadline(time.Time{}))
		close(passed)
		_, err = nc.Read(b[:])
		testkit.CheckErr(t, "Read", err)
		read := make(chan error)
		go func() {
			_, err := nc.Read(b[:])
			read <- err
		}()
		testkit.CheckErr(t, "Close", nc.Close())
		testkit.CheckErr(t, "Read", <-read, net.ErrClosed)
		_, err = nc.Write(b[:])
		testkit.CheckErr(t, "Write", err, net.ErrClosed)
		testkit.CheckErr(t, "Close", nc.Close(), net.ErrClosed)
	})
	p := s.dial(t, "")
	testkit.Await(t, passed, "the deadlines")
	p.send(text("x"))
	testkit.Await(t, over, "the end")
	p.want(0x80|opClose, closing(1000, ""))
}

// Both sides of a connection may be streams.
func TestNetConnOfADialledWebSocket(t *testing.T) {
	s := streams(t, func(nc net.Conn) {
		defer nc.Close()
		_, _ = io.Copy(nc, nc)
	})
	var nc net.Conn
	c := newCaller(t, websocket.Config{Opened: func(c *websocket.Conn, _ *http.Request) { nc = c.NetConn(websocket.Binary) }})
	c.dial("ws://" + s.addr)
	for _, m := range []string{"x", hello, strings.Repeat("long ", 50_000)} {
		go func() { _, _ = io.WriteString(nc, m) }()
		got := make([]byte, len(m))
		_, err := io.ReadFull(nc, got)
		testkit.Must(t, err)
		testkit.WantEqual(t, "the echo", string(got), m)
	}
	testkit.Must(t, nc.Close())
}
