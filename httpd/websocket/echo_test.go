package websocket_test

import (
	"strings"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/server"
)

func TestMessagesOfAllSizesAreEchoed(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		p := s.dial(t, "")
		for _, n := range []int{0, 1, 125, 126, 127, 1000, 65535, 65536, 100_000, websocket.DefaultMaxMessage} {
			m := strings.Repeat("x", n)
			p.send(frame(0x80|opBinary, m))
			p.want(0x80|opBinary, m)
		}
		p.send(text("ä€𝄞"))
		p.want(0x80|opText, "ä€𝄞")
	})
}

// A client need not wait for the response to its handshake.
func TestFramesInTheReadOfTheUpgradeAreNotLost(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		p := s.dial(t, "", text("one"), text("two"), text(hello)[:20])
		p.want(0x80|opText, "one")
		p.want(0x80|opText, "two")
		p.send(text(hello)[20:])
		p.want(0x80|opText, hello)
	})
}

func TestFramesByteByByte(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	p := s.dial(t, "")
	for _, b := range text(strings.Repeat("y", 200)) {
		p.send([]byte{b})
	}
	p.want(0x80|opText, strings.Repeat("y", 200))
}

// Many messages in one read are answered in their order.
func TestPipelinedMessagesAreAnsweredInOrder(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		p := s.dial(t, "")
		var all []byte
		for i := range 1000 {
			all = append(all, text(strings.Repeat("z", i%300))...)
		}
		go func() { _, _ = p.Write(all) }()
		for i := range 1000 {
			p.want(0x80|opText, strings.Repeat("z", i%300))
		}
	})
}

func TestAPingIsAnsweredAlsoBetweenFragments(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		p := s.dial(t, "")
		p.send(frame(0x80|opPing, "a"))
		p.want(0x80|opPong, "a")
		p.send(frame(opText, "one "), frame(0x80|opPing, ""), frame(opContinuation, "two "), frame(0x80|opPong, "unasked"), frame(0x80|opContinuation, "three"))
		p.want(0x80|opPong, "")
		p.want(0x80|opText, "one two three")
		p.send(text("first"), frame(0x80|opPing, "after"), text("last")) // found by the goroutine that handles the first
		p.want(0x80|opText, "first")
	})
}
