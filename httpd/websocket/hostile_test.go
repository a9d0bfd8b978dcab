package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The peers of this file break rules, or use them to cost the server more than they cost the peer. Each test runs without and with permessage-deflate.

// hostile runs a test without and with compression. fields are those with which a peer asks for it.
func hostile(t *testing.T, test func(t *testing.T, deflate bool, fields string)) {
	t.Run("plain", func(t *testing.T) { test(t, false, "") })
	t.Run("deflate", func(t *testing.T) { test(t, true, deflateOffer) })
}

// With compression the rules of RFC 6455 are the same, except for RSV1 of a message.
func TestEachViolationHasItsCloseCodeAlsoWithCompression(t *testing.T) {
	s := start(t, &websocket.Config{MaxMessage: maxMessage, Deflate: true, Message: func(websocket.Reply, websocket.MessageType, []byte) {}})
	for _, v := range violations {
		if v.input[0] == 0xc0|opText { // it is compressed
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			p := s.dial(t, deflateOffer)
			p.send(v.input)
			p.violates(s, v.code)
		})
	}
}

// Rules that hold for each frame hold for those in the middle of a message, too.
func TestAFrameWithinAMessageIsChecked(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		s := start(t, &websocket.Config{MaxMessage: maxMessage, Deflate: deflate, Message: echo})
		begin := frame(opText, "begin")
		if deflate {
			begin = frame(bitDeflate|opText, deflated(t, hello)[:20])
		}
		for _, v := range []struct {
			name  string
			input []byte
			code  int
		}{
			{"a continuation without a mask", unmasked(opContinuation, "x"), 1002},
			{"the last continuation without a mask", unmasked(0x80|opContinuation, "x"), 1002},
			{"an empty continuation without a mask", unmasked(opContinuation, ""), 1002},
			{"a ping without a mask", unmasked(0x80|opPing, "x"), 1002},
			{"a continuation with the highest bit in its length", header(opContinuation, 8, 1<<63), 1002},
			{"a continuation with all bits in its length", header(opContinuation, 8, 1<<64-1), 1002},
			{"a ping with the highest bit in its length", header(0x80|opPing, 8, 1<<63), 1002},
			{"a continuation of the largest length", header(opContinuation, 8, 1<<63-1), 1009},
			{"a continuation with RSV1", frame(bitDeflate|opContinuation, "x"), 1002},
			{"a close frame with a code that is never sent", frame(0x80|opClose, closing(1006, "")), 1002},
			{"a close frame with a code of no range", frame(0x80|opClose, closing(5000, "")), 1002},
		} {
			t.Run(v.name, func(t *testing.T) {
				p := s.dial(t, fields)
				p.send(begin, frame(opContinuation, ""), v.input)
				p.violates(s, v.code)
			})
		}
		p := s.dial(t, fields) // the end within a message is one in order
		p.send(begin, frame(0x80|opClose, ""), frame(0x80, "late"))
		p.want(0x80|opClose, "")
		p.wantEnd()
		testkit.Must(t, p.Close())
		testkit.Until(t, "no bytes to be counted", func() bool { return s.handler.Stats().FragmentBytes == 0 })
	})
}

// A compressed text is checked when it is decompressed, wherever its frames are cut.
func TestACompressedTextMayBeCutAnywhere(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo, Deflate: true})
	p := s.dial(t, deflateOffer)
	const m = "κόσμε €𝄞 \U0010ffff"
	q, bad := deflated(t, m), deflated(t, m+"\xed\xa0\x80")
	for i := range len(q) + 1 {
		p.send(frame(bitDeflate|opText, q[:i]), frame(0x80|opPing, "p"), frame(0x80, q[i:]))
		p.want(0x80|opPong, "p")
		p.want(0x80|opText, m)
	}
	p.send(frame(bitDeflate|opText, bad[:len(bad)/2]), frame(0x80, bad[len(bad)/2:]))
	p.wantClose(1007)
}

// The peer sends its close frame and does not end: it gets the answer, what it sends is discarded, and the connection ends at a deadline.
func TestAPeerThatSendsOnAfterItsCloseFrameIsCutOff(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		clock := testkit.NewClock()
		s := startWithClock(t, clock, &websocket.Config{Deflate: deflate, Message: func(websocket.Reply, websocket.MessageType, []byte) { t.Error("Message was called") }})
		p := s.dial(t, fields)
		p.send(frame(0x80|opClose, closing(1000, "")))
		p.want(0x80|opClose, closing(1000, ""))
		p.wantEnd()
		more := seq(text("more"), frame(0x80|opPing, "more"), frame(0x80|opClose, ""), []byte("no frame"), make([]byte, 10_000))
		sent := 0
		s.advance(t, clock, "the end", func() bool {
			n, _ := p.Write(more) // fails when it has ended
			sent += n
			return len(s.closed) > 0
		})
		if passed := clock.Now(); passed > 3*websocket.DefaultCloseTimeout {
			t.Errorf("it has ended after %v", passed)
		}
		if e := s.ended(t); e.Code != websocket.CloseNormal || !e.ByPeer || e.Err != nil {
			t.Errorf("Closed was called with %v", e)
		}
		if got := s.handler.Stats(); got.Received != 0 || got.Violations != 0 {
			t.Errorf("after %d bytes: %+v", sent, got)
		}
	})
}

// Whichever side begins, a peer may close its half of the connection with its close frame.
func TestAPeerMayCloseItsHalfWithItsCloseFrame(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		s, opened := conns(t, websocket.Config{Message: echo, Deflate: deflate})
		half := func(p *peer) { testkit.Must(t, p.Conn.(*net.TCPConn).CloseWrite()) }
		check := func(byPeer bool, code websocket.CloseCode, err error) {
			t.Helper()
			if e := s.ended(t); e.Code != code || e.ByPeer != byPeer || !errors.Is(e.Err, err) {
				t.Errorf("Closed was called with %v", e)
			}
		}
		p := s.dial(t, fields)
		p.send(text("last"), frame(0x80|opClose, closing(1000, "")))
		half(p)
		p.want(0x80|opText, "last")
		p.want(0x80|opClose, closing(1000, ""))
		p.wantEnd()
		check(true, websocket.CloseNormal, nil)

		p = s.dial(t, fields)
		testkit.Must(t, p.conn(opened).Close(4000, "server"))
		p.want(0x80|opClose, closing(4000, "server"))
		p.send(frame(0x80|opClose, closing(4000, "")))
		half(p)
		p.wantEnd()
		check(false, 4000, nil)

		p = s.dial(t, fields) // it does not answer
		testkit.Must(t, p.conn(opened).Close(4000, "server"))
		half(p)
		p.want(0x80|opClose, closing(4000, "server"))
		p.wantEnd()
		check(false, 4000, io.ErrUnexpectedEOF)

		p = s.dial(t, fields) // its last frame is not complete
		p.send(text("last"), frame(0x80|opClose, closing(1000, ""))[:5])
		half(p)
		p.want(0x80|opText, "last")
		p.wantEnd()
		check(false, websocket.CloseAbnormal, io.ErrUnexpectedEOF)
	})
}

// A peer sends pings and reads nothing. The server stops reading from it before the pongs reach MaxOutput, and the only worker serves others.
func TestAFloodOfPingsIsBounded(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		s, opened := conns(t, websocket.Config{Message: echo, Deflate: deflate, Placement: server.OnWorkers})
		flooding := s.dial(t, fields)
		c := flooding.conn(opened)
		pings := []byte(strings.Repeat(string(frame(0x80|opPing, strings.Repeat("p", 125))), 500))
		over, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			for {
				if _, err := flooding.Write(pings); err != nil {
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		testkit.Until(t, "the server to stop reading", func() bool { return c.Buffered() >= server.DefaultMaxOutput/4 })
		other := s.dial(t, fields)
		for i := range 100 {
			other.send(text(strconv.Itoa(i)))
			other.want(0x80|opText, strconv.Itoa(i))
		}
		if n := c.Buffered(); n > server.DefaultMaxOutput {
			t.Errorf("%d bytes of output", n)
		}
		close(stop)
		testkit.Must(t, flooding.Close())
		testkit.Await(t, over, "the end of the flood")
	})
}

// Fragments of one byte between pings: the pongs are sent in their order, and the message takes no more memory than its bytes.
func TestPingsBetweenFragmentsAreAnswered(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		s := start(t, &websocket.Config{Message: echo, Deflate: deflate, MaxMessage: maxMessage})
		m := noise(3000)
		body, first, full := m, byte(opBinary), m
		if deflate {
			full = strings.Repeat("word ", 2000)
			body, first = deflated(t, full), bitDeflate|opBinary
		}
		p := s.dial(t, fields)
		ping := strings.Repeat("p", 125)
		go func() {
			for i := range len(body) {
				op := byte(opContinuation)
				if i == 0 {
					op = first
				}
				if _, err := p.Write(seq(frame(op, body[i:i+1]), frame(0x80|opPing, ping), frame(opContinuation, ""))); err != nil {
					t.Errorf("Write: %v", err)
					return
				}
			}
			_, _ = p.Write(frame(0x80, "")) // the answer shows it
		}()
		for range len(body) {
			p.want(0x80|opPong, ping)
		}
		if n := s.handler.Stats().FragmentBytes; n > 64<<10 {
			t.Errorf("%d bytes for %d", n, len(body))
		}
		f, got := p.next()
		if f&bitDeflate != 0 {
			got = inflated(t, got)
		}
		if got != full {
			t.Errorf("the message is %q, want %q", brief(got), brief(full))
		}
	})
}

// A message that expands a thousandfold, in many fragments, again and again.
func TestBombsInFragmentsTakeNoMoreThanTheLimit(t *testing.T) {
	const limit = 256 << 10
	s := start(t, &websocket.Config{Message: echo, Deflate: true, MaxMessage: limit})
	bomb := deflated(t, strings.Repeat("\x00", 50<<20))
	input := frame(bitDeflate|opBinary, bomb[:1])
	for rest := bomb[1:]; rest != ""; rest = rest[min(len(rest), 97):] {
		input = append(input, frame(opContinuation, rest[:min(len(rest), 97)])...)
	}
	input = append(input, frame(0x80, "")...)
	var before, after runtime.MemStats
	for i := range 3 {
		p := s.dial(t, deflateOffer)
		runtime.ReadMemStats(&before)
		p.send(input)
		p.wantClose(1009)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 6*limit {
			t.Errorf("%d: %d bytes were allocated for a message of %d", i, got, len(bomb))
		}
		testkit.Must(t, p.Close())
	}
	testkit.Until(t, "no bytes to be counted", func() bool { return s.handler.Stats().FragmentBytes == 0 })
}

// Message blocks when Shutdown begins. The WebSocket ends with CloseGoingAway when Message returns, and what it writes then is refused.
func TestShutdownWaitsForMessageThatBlocks(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		entered, release, refused := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		s := start(t, &websocket.Config{Deflate: deflate, Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
			w.Blocking()
			close(entered)
			<-release
			refused <- w.WriteText("late")
		}})
		p := s.dial(t, fields, text("x"))
		testkit.Await(t, entered, "Message")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		p.want(0x80|opClose, closing(1001, ""))
		p.send(frame(0x80|opClose, closing(1001, "")))
		select {
		case err := <-done:
			t.Fatalf("Shutdown has returned %v while Message runs", err)
		case <-time.After(20 * time.Millisecond):
		}
		close(release)
		testkit.CheckErr(t, "a write during Shutdown", testkit.Await(t, refused, "Message"), websocket.ErrClosed)
		p.wantEnd()
		testkit.Must(t, p.Close())
		testkit.Must(t, testkit.Await(t, done, "Shutdown"))
		if e := s.ended(t); e.Code != websocket.CloseGoingAway || e.ByPeer || e.Err != nil {
			t.Errorf("Closed was called with %v", e)
		}
	})
}

// Message blocks beyond the end of Shutdown's context. Nothing is counted when it has returned, whatever has arrived behind its message.
func TestMessageMayOutliveShutdown(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		entered, release, returned := make(chan struct{}), make(chan struct{}), make(chan error, 10)
		s := start(t, &websocket.Config{Deflate: deflate, Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
			w.Blocking()
			close(entered)
			<-release
			returned <- w.WriteText("late")
		}})
		s.dial(t, fields, frame(opText, "x"), frame(0x80, "y"), frame(opText, "behind"), frame(opContinuation, hello))
		testkit.Await(t, entered, "Message")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown has returned %v", err)
		}
		close(release)
		testkit.CheckErr(t, "a write after the end", testkit.Await(t, returned, "Message"), net.ErrClosed)
		testkit.Until(t, "no bytes to be counted", func() bool { return s.handler.Stats().FragmentBytes == 0 })
	})
}

// The answer to a ping waits for room behind the beginning of a message when the connection ends.
func TestNothingIsCountedAfterShutdownInAMessage(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		full := make(chan struct{})
		m := noise(100_000)
		s := start(t, &websocket.Config{Deflate: deflate, Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
			for w.Conn().WriteMessage(websocket.Binary, []byte(m)) == nil {
			}
			close(full)
		}})
		s.dial(t, fields, text("fill"), frame(opText, "begin"), frame(0x80|opPing, "waits"))
		testkit.Await(t, full, "Message")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown has returned %v", err)
		}
		testkit.Until(t, "no bytes to be counted", func() bool { return s.handler.Stats().FragmentBytes == 0 })
	})
}

// Many messages that expand a thousandfold to MaxMessage are handled at the same time: together they take no more than MaxFragments.
func TestDecompressedMessagesAreLimited(t *testing.T) {
	const size, most = 1 << 20, 8 << 20
	release := make(chan struct{})
	s := start(t, &websocket.Config{Deflate: true, MaxMessage: size, MaxFragments: most, Message: func(w websocket.Reply, typ websocket.MessageType, p []byte) {
		w.Blocking()
		<-release
		echo(w, typ, p[:1])
	}})
	bomb := frame(0x80|bitDeflate|opBinary, deflated(t, strings.Repeat("x", size)))
	for range most / size {
		s.dial(t, deflateOffer).send(bomb)
	}
	testkit.Until(t, "the messages to be handled", func() bool { return s.handler.Stats().Received == most/size })
	testkit.WantEqual(t, "bytes that are counted", s.handler.Stats().InflatedBytes, most)
	p := s.dial(t, deflateOffer)
	p.send(bomb)
	p.wantClose(1013)
	other := s.dial(t, "") // messages in several frames have a limit of their own
	other.send(frame(opText, hello), frame(0x80|opPing, "p"))
	other.want(0x80|opPong, "p")
	close(release)
	testkit.Until(t, "no bytes to be counted", func() bool { return s.handler.Stats().InflatedBytes == 0 })
	p = s.dial(t, deflateOffer)
	p.send(bomb)
	p.want(0x80|opBinary, "x")
}
