package websocket_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// chaos counts what a server with many WebSockets has promised.
type chaos struct {
	opened, closed             atomic.Int64
	accepted, given, failed    atomic.Int64
	group                      websocket.Group
	running                    sync.Map // the Conns whose Message runs
	concurrent, late, endTwice atomic.Int64
}

func (x *chaos) message(w websocket.Reply, t websocket.MessageType, p []byte) {
	c := w.Conn()
	if _, runs := x.running.LoadOrStore(c, true); runs {
		x.concurrent.Add(1)
	}
	defer x.running.Delete(c)
	if c.Value() != "open" {
		x.late.Add(1)
	}
	switch rand.IntN(20) {
	case 0:
		w.Blocking()
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	case 1:
		_ = c.Close(4000, "server") // the errors of this function are those of connections that end
	case 2:
		x.group.Remove(c)
	case 3:
		panic("of the test")
	}
	_ = w.WriteMessage(t, p)
}

// act does something to a WebSocket, on a goroutine of the test.
func (x *chaos) act(c *websocket.Conn, m *websocket.Prepared) {
	done := func(err error) {
		if err == nil {
			x.given.Add(1)
		} else {
			x.failed.Add(1)
		}
	}
	switch rand.IntN(30) {
	case 0:
		c.Abort()
	case 1:
		_ = c.Close(websocket.CloseNormal, "") // as in message
	case 2:
		_ = c.Ping([]byte("ping"))
	case 3:
		_ = x.group.Add(c) // as in message
	case 4, 5, 6, 7, 8:
		if c.WriteNotify(websocket.Binary, make([]byte, rand.IntN(2000)), done) == nil {
			x.accepted.Add(1)
		}
	case 9, 10:
		refused := websocket.Broadcast([]*websocket.Conn{c, c}, m, func(_ *websocket.Conn, err error) { done(err) })
		x.accepted.Add(int64(2 - len(refused)))
	default:
		_ = c.WriteText("text of a goroutine")
	}
}

// peer is a client that does as it likes, sometimes with invalid frames, and ends in one of several ways. It checks that the frames of the server are valid,
// and that none follows a close frame.
func (x *chaos) peer(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil // the server is being closed
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(testkit.Patience)) // fails if it has ended
	if _, err := io.WriteString(nc, handshake+[]string{"", deflateOffer}[rand.IntN(2)]+"\r\n"); err != nil {
		return nil
	}
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return nil // the server is being closed
	}
	outcome := make(chan error, 1)
	go func() { outcome <- checkFrames(r) }()
	for range rand.IntN(50) {
		var b []byte
		switch rand.IntN(12) {
		case 0:
			b = frame(opText, "part ")
			b = append(b, frame(0x80|opPing, "x")...)
			b = append(b, frame(0x80, "end")...)
		case 1:
			b = frame(0x80|opBinary, noise(rand.IntN(100_000)))
		case 2:
			b = frame(0x80|opPing, "ping")
		case 3:
			if rand.IntN(5) == 0 {
				b = violations[rand.IntN(len(violations))].input
			}
		default:
			b = text("text of a client")
		}
		cut := rand.IntN(len(b) + 1)
		for _, piece := range [][]byte{b[:cut], b[cut:]} {
			if _, err := nc.Write(piece); err != nil {
				break
			}
		}
	}
	switch rand.IntN(3) {
	case 0:
		_ = nc.(*net.TCPConn).SetLinger(0) // a reset
		_ = nc.Close()
	case 1:
		_, _ = nc.Write(frame(0x80|opClose, closing(1000, "")))
	}
	_ = nc.(*net.TCPConn).CloseWrite() // these fail if it has ended
	return <-outcome
}

// checkFrames reads frames until the end.
func checkFrames(r *bufio.Reader) error {
	closed := false
	for {
		var head [10]byte
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return nil //nolint:nilerr // it is the end of the connection
		}
		n := uint64(head[1])
		switch {
		case closed:
			return fmt.Errorf("a frame %x follows the close frame", head[0])
		case n > 127 || !slices.Contains([]byte{0x81, 0x82, 0xc1, 0xc2, 0x88, 0x89, 0x8a}, head[0]):
			return fmt.Errorf("a frame begins with %x", head[:2])
		case n == 126:
			_, _ = io.ReadFull(r, head[2:4]) // an error is returned below
			n = uint64(binary.BigEndian.Uint16(head[2:]))
		case n == 127:
			_, _ = io.ReadFull(r, head[2:10])
			n = binary.BigEndian.Uint64(head[2:])
		}
		closed = head[0] == 0x88
		if _, err := r.Discard(int(n)); err != nil {
			return nil //nolint:nilerr // as above
		}
	}
}

// start starts the server.
func (x *chaos) start(t *testing.T) *site {
	t.Helper()
	s := newSite(t, &websocket.Config{
		Message: x.message, Deflate: true, MaxMessage: maxMessage, CloseTimeout: 2 * time.Second, ErrorLog: quiet, CutOffSlow: true,
		Opened: func(c *websocket.Conn, _ *http.Request) {
			c.SetValue("open")
			x.opened.Add(1)
			_ = x.group.Add(c) // as in message
		},
		Closed: func(c *websocket.Conn, _ *websocket.CloseError) {
			if c.Value() == "closed" {
				x.endTwice.Add(1)
			}
			c.SetValue("closed")
			x.closed.Add(1)
		},
	})
	s.NumLoops = 2
	s.run(t)
	return s
}

// actUntil acts on all WebSockets again and again until stop is closed.
func (x *chaos) actUntil(stop chan struct{}, s *site, m *websocket.Prepared) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		for _, c := range x.group.Members() {
			x.act(c, m)
		}
		for c := range s.handler.Conns() {
			x.act(c, m)
		}
		time.Sleep(100 * time.Microsecond) // so that the clients get on
	}
}

// check checks that nothing is left.
func (x *chaos) check(t *testing.T, s *site) {
	t.Helper()
	st := s.handler.Stats()
	testkit.WantEqual(t, "open WebSockets", st.Open, 0)
	testkit.WantEqual(t, "bytes of fragments", st.FragmentBytes, 0)
	testkit.WantEqual(t, "members", x.group.Len(), 0)
	testkit.WantEqual(t, "calls of Message at the same time", x.concurrent.Load(), 0)
	testkit.WantEqual(t, "calls of Message before Opened or after Closed", x.late.Load(), 0)
	testkit.WantEqual(t, "second calls of Closed", x.endTwice.Load(), 0)
}

// Many clients and goroutines do all kinds of things at the same time, and the server is shut down meanwhile. Each WebSocket that was opened is closed once,
// each accepted write has one outcome, and nothing is left.
func TestNothingIsLostInChaos(t *testing.T) {
	clients, each := 8, 8
	if testkit.Full() {
		clients, each = 50, 100
	}
	for _, shutdown := range []bool{false, true} {
		t.Run(fmt.Sprint("shutdown ", shutdown), func(t *testing.T) {
			x := new(chaos)
			s := x.start(t)
			var peers, actors sync.WaitGroup
			stop := make(chan struct{})
			m := prepared(t, websocket.Text, hello)
			for range 3 {
				actors.Go(func() { x.actUntil(stop, s, m) })
			}
			for range clients {
				peers.Go(func() {
					for range each {
						if err := x.peer(s.addr); err != nil {
							t.Error(err)
						}
					}
				})
			}
			if shutdown {
				for n := range int64(clients*each/4 + 1) { // one after the other, since all take long on a slow machine
					testkit.Until(t, "another WebSocket", func() bool { return x.opened.Load() > n })
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if err := s.Shutdown(ctx); err != nil && !errors.As(err, new(*server.ShutdownError)) {
					t.Errorf("Shutdown: %v", err)
				}
			}
			peers.Wait()
			close(stop)
			actors.Wait()
			testkit.Until(t, "the end of all WebSockets", func() bool { return x.closed.Load() == x.opened.Load() })
			testkit.Until(t, "the outcomes", func() bool { return x.given.Load()+x.failed.Load() == x.accepted.Load() })
			x.check(t, s)
			t.Logf("%d WebSockets, %d writes accepted, %d given to the kernel", x.opened.Load(), x.accepted.Load(), x.given.Load())
		})
	}
}
