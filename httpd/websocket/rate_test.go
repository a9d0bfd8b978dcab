package websocket_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// limited returns a site with rate limits, and its clock.
func limited(t *testing.T, deflate bool, set func(s *site)) (*site, *testkit.Clock) {
	t.Helper()
	clock := testkit.NewClock()
	s := newSite(t, &websocket.Config{Message: echo, PingInterval: -1, ReadTimeout: -1, Deflate: deflate}) // the clock does not wait for bytes in flight
	s.LoopConfig = &event.Config{Clock: clock}
	set(s)
	s.run(t)
	return s, clock
}

// The bytes of frames that a WebSocket receives are limited, those of control frames, too.
func TestTheBytesThatAreReadAreLimited(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		s, clock := limited(t, deflate, func(s *site) { s.ReadLimit = server.RateLimit{BytesPerSecond: 1000, Burst: 1000} })
		p := s.dial(t, fields)
		const n = 10
		ping := frame(0x80|opPing, strings.Repeat("p", 94)) // 100 bytes
		for range n {
			p.send([]byte(strings.Repeat(string(ping), 10)))
		}
		pongs := make(chan struct{}, 10*n)
		go func() {
			for range 10 * n {
				p.want(0x80|opPong, strings.Repeat("p", 94))
				pongs <- struct{}{}
			}
		}()
		s.advance(t, clock, "the last pong", func() bool { return len(pongs) == 10*n })
		if passed := clock.Now(); passed < (n-2)*time.Second {
			t.Errorf("%d bytes were read in %v", 1000*n, passed)
		}
	})
}

// The bytes of frames that are sent to a WebSocket are limited, also those of one message.
func TestTheBytesThatAreWrittenAreLimited(t *testing.T) {
	hostile(t, func(t *testing.T, deflate bool, fields string) {
		s, clock := limited(t, deflate, func(s *site) { s.WriteLimit = server.RateLimit{BytesPerSecond: 1000, Burst: 1000} })
		p := s.dial(t, fields)
		m := noise(10_000)
		p.send(frame(0x80|opBinary, m))
		read := make(chan struct{})
		go func() {
			defer close(read)
			p.want(0x80|opBinary, m)
		}()
		s.advance(t, clock, "the message", func() bool {
			select {
			case <-read:
				return true
			default:
				return false
			}
		})
		if passed := clock.Now(); passed < 8*time.Second {
			t.Errorf("%d bytes were written in %v", len(m), passed)
		}
	})
}

// WebSockets of several servers share the limit of a group.
func TestAGroupOfServersSharesTheLimitOfBytes(t *testing.T) {
	clock := testkit.NewClock()
	group, err := server.NewRateGroup(server.RateLimit{BytesPerSecond: 1000, Burst: 1000}, server.RateLimit{})
	testkit.Must(t, err)
	done := make(chan struct{}, 2)
	var sites []*site
	var peers []*peer
	for range 2 {
		s := newSite(t, &websocket.Config{Message: echo, PingInterval: -1, ReadTimeout: -1})
		s.LoopConfig, s.RateGroup = &event.Config{Clock: clock}, group
		s.run(t)
		sites = append(sites, s)
		peers = append(peers, s.dial(t, "")) // before time passes, since a handshake has a deadline
	}
	for _, p := range peers {
		m := noise(5000)
		p.send(frame(0x80|opBinary, m))
		go func() {
			p.want(0x80|opBinary, m)
			done <- struct{}{}
		}()
	}
	sites[0].advance(t, clock, "the messages", func() bool {
		sites[1].doWhatIsDue(t)
		return len(done) == 2
	})
	if passed := clock.Now(); passed < 8*time.Second {
		t.Errorf("10 KB were read in %v", passed)
	}
}

// A frame that the limit delays for longer than ReadTimeout is read, and no peer is cut off for a pong that waits behind it.
func TestReadTimeoutDoesNotCountWhileReadingIsLimited(t *testing.T) {
	clock := testkit.NewClock()
	var read atomic.Bool // the clock stops when the server has the message: the peer sends no pongs, and is cut off later
	s := newSite(t, &websocket.Config{PingInterval: 5 * time.Second, PongTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second,
		Message: func(w websocket.Reply, typ websocket.MessageType, m []byte) {
			echo(w, typ, m)
			read.Store(true)
		}})
	s.LoopConfig = &event.Config{Clock: clock}
	s.ReadLimit = server.RateLimit{BytesPerSecond: 1000, Burst: 1000}
	s.run(t)
	p := s.dial(t, "")
	m := noise(40_000)
	input := frame(0x80|opBinary, m)
	p.send(input)
	total := len(handshake+"\r\n") + len(input)
	s.advance(t, clock, "the message", func() bool { // ReadTimeout counts while the server waits for bytes in flight, so the clock waits for them
		permitted := 1000 + int(clock.Now()/time.Millisecond) - 1000/8 // reading continues when an eighth of the burst has been refilled
		testkit.Until(t, "the bytes that the limit permits to be read", func() bool {
			return websocket.BytesRead(s.handler) >= min(total, permitted) || len(s.closed) > 0
		})
		return read.Load() || len(s.closed) > 0
	})
	if passed := clock.Now(); passed < 38*time.Second || len(s.closed) > 0 {
		t.Errorf("the message was read after %v, %d WebSockets have ended", passed, len(s.closed))
	}
	first, payload := p.next()
	for first == 0x80|opPing {
		first, payload = p.next()
	}
	if first != 0x80|opBinary || payload != m {
		t.Errorf("the frame is %x %.100q", first, payload)
	}
}
