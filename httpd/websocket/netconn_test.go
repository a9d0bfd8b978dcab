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
	"sync"
	"sync/atomic"
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

// Close ends a Write that waits for a peer that does not read.
func TestCloseOfANetConnEndsAWrite(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		streams := make(chan net.Conn, 1)
		s := start(t, &websocket.Config{Deflate: deflate, Message: func(websocket.Reply, websocket.MessageType, []byte) {},
			Opened: func(c *websocket.Conn, _ *http.Request) { streams <- c.NetConn(websocket.Binary) }})
		p := s.dial(t, fields)
		nc := testkit.Await(t, streams, "Opened")
		m := []byte(noise(900_000))
		written := make(chan error, 1)
		var sent atomic.Int32
		go func() {
			for {
				if _, err := nc.Write(m); err != nil {
					written <- err
					return
				}
				sent.Add(1)
			}
		}()
		_, err := p.r.Peek(1) // it has begun
		testkit.Must(t, err)
		for last := int32(-1); last != sent.Load(); time.Sleep(50 * time.Millisecond) { // until Write waits for the peer; if Close comes before, it ends a Write, too
			last = sent.Load()
		}
		testkit.Must(t, nc.Close())
		testkit.CheckErr(t, "Write", testkit.Await(t, written, "the end of Write"), net.ErrClosed)
	})
}

// readAll reads until the end, also after deadlines, and counts the bytes.
func readAll(t *testing.T, nc net.Conn, got *atomic.Int64) {
	for b := make([]byte, 100); ; {
		n, err := nc.Read(b)
		got.Add(int64(n))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			testkit.CheckErr(t, "Read", err, io.EOF)
			return
		}
	}
}

// Two goroutines read and two write, while others change the deadlines. Each byte is read once, and each Read and Write returns when a deadline passes.
func TestANetConnMayBeUsedByManyGoroutines(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		streams := make(chan net.Conn, 1)
		s := start(t, &websocket.Config{Deflate: deflate, Message: func(websocket.Reply, websocket.MessageType, []byte) {},
			Opened: func(c *websocket.Conn, _ *http.Request) { streams <- c.NetConn(websocket.Binary) }})
		p := s.dial(t, fields)
		nc := testkit.Await(t, streams, "Opened")
		var readers, others sync.WaitGroup
		var got, sent atomic.Int64
		stop := make(chan struct{})
		for i := range 2 {
			readers.Go(func() { readAll(t, nc, &got) })
			others.Go(func() {
				for range 100 {
					if n, err := nc.Write([]byte("12345")); err == nil {
						sent.Add(int64(n))
					} else {
						testkit.CheckErr(t, "Write", err, os.ErrDeadlineExceeded)
					}
				}
			})
			others.Go(func() {
				for k := time.Duration(0); ; k++ {
					select {
					case <-stop:
						return
					default:
						testkit.CheckErr(t, "SetDeadline", nc.SetDeadline(time.Now().Add((k%3-1)*time.Duration(i+1)*100*time.Microsecond)))
					}
				}
			})
		}
		const messages = 200
		for range messages {
			p.send(frame(0x80|opBinary, "abcdefghij"))
		}
		testkit.Until(t, "the bytes to be read", func() bool { return got.Load() == 10*messages })
		close(stop)
		others.Wait()
		testkit.Must(t, nc.SetDeadline(time.Now().Add(time.Millisecond))) // Reads that wait return, and more of them do
		testkit.Must(t, nc.SetDeadline(time.Time{}))
		p.send(frame(0x80|opClose, closing(1000, "")))
		readers.Wait()
		total := int64(0)
		for {
			first, payload := p.next()
			if first == 0x80|opClose {
				break
			}
			total += int64(len(payload))
		}
		if total < sent.Load() { // a Write that was late may have been sent
			t.Errorf("%d bytes have arrived of %d", total, sent.Load())
		}
	})
}
