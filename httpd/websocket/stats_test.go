package websocket_test

import (
	"slices"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// The counters of loops without WebSockets are not lost.
func TestStatsCountWhatHappens(t *testing.T) {
	s := newSite(t, &websocket.Config{Message: echo, Deflate: true})
	s.NumLoops = 3
	s.run(t)
	var peers []*peer
	for range 6 {
		p := s.dial(t, "")
		p.send(text("one"), text("two"), frame(opBinary, "incomplete"), frame(0x80|opPing, ""))
		p.want(0x80|opText, "one")
		p.want(0x80|opText, "two")
		p.want(0x80|opPong, "")
		peers = append(peers, p)
	}
	bad := s.connect(t)
	bad.send([]byte(handshake + "Origin: http://evil.example\r\n\r\n"))
	testkit.WantEqual(t, "status", bad.status(), 403)
	got := s.handler.Stats()
	if got.FragmentBytes < 6*int64(len("incomplete")) {
		t.Errorf("%d bytes of fragments", got.FragmentBytes)
	}
	got.FragmentBytes = 0
	testkit.WantEqual(t, "Stats", got, websocket.Stats{Open: 6, Opened: 6, Refused: 1, Received: 12, Sent: 12})
	all := slices.Collect(s.handler.Conns())
	testkit.WantEqual(t, "Conns", len(all), 6)
	for range s.handler.Conns() { // an iteration may end early
		break
	}
	for i, p := range peers {
		p.send(frame(0x80|3, ""))
		p.wantClose(1002)
		testkit.Must(t, p.Close())
		s.ended(t)
		testkit.Until(t, "the WebSocket to leave", func() bool { return s.handler.Stats().Open == 5-i })
	}
	testkit.WantEqual(t, "Stats", s.handler.Stats(), websocket.Stats{Opened: 6, Refused: 1, Received: 12, Sent: 12, Violations: 6})
}
