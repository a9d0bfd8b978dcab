package websocket_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

// hall returns a site whose WebSockets join the group, and n of them, of which every second one has compression.
func hall(t testing.TB, g *websocket.Group, n int, cfg websocket.Config) (*site, []*peer) {
	t.Helper()
	cfg.Deflate = true
	cfg.Message = func(w websocket.Reply, typ websocket.MessageType, p []byte) {
		testkit.CheckErr(t, "Add", g.Add(w.Conn()))
		echo(w, typ, p)
	}
	s := start(t, &cfg)
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = s.dial(t, []string{"", deflateOffer}[i%2])
		peers[i].send(text("join"))
		peers[i].want(0x80|opText, "join")
	}
	testkit.WantEqual(t, "members", g.Len(), n)
	return s, peers
}

func prepared(t testing.TB, typ websocket.MessageType, p string) *websocket.Prepared {
	t.Helper()
	m, err := websocket.Prepare(typ, []byte(p))
	testkit.Must(t, err)
	return m
}

// Each member receives the message, and its outcome is told.
func TestABroadcastReachesEachMember(t *testing.T) {
	var g websocket.Group
	s, peers := hall(t, &g, 20, websocket.Config{})
	for _, m := range []string{"short", hello, strings.Repeat("long ", 50_000)} {
		outcomes := make(chan error, len(peers))
		refused := g.Broadcast(prepared(t, websocket.Text, m), func(_ *websocket.Conn, err error) { outcomes <- err })
		if len(refused) > 0 {
			t.Errorf("refused: %v", refused)
		}
		for i, p := range peers {
			first, got := p.next()
			if compressed := i%2 == 1 && m != "short"; compressed != (first == 0x80|bitDeflate|opText) {
				t.Errorf("member %d: the first byte is %x", i, first)
			} else if compressed {
				got = inflated(t, got)
			}
			if got != m {
				t.Errorf("member %d has received %q", i, brief(got))
			}
			testkit.Must(t, testkit.Await(t, outcomes, "an outcome"))
		}
	}
	_, err := websocket.Prepare(0, nil)
	testkit.CheckErr(t, "Prepare", err, websocket.ErrInvalid)
	all := g.Members()
	for i, p := range peers { // they leave in the order of the members, from both ends
		testkit.Must(t, p.Close())
		testkit.Until(t, "the member to leave", func() bool { return g.Len() == len(peers)-i-1 })
		s.ended(t)
	}
	refused := websocket.Broadcast(append(all, nil), prepared(t, websocket.Text, "x"), nil)
	testkit.WantEqual(t, "refused", len(refused), len(all)+1)
	testkit.CheckErr(t, "the error for nil", refused[len(all)], websocket.ErrInvalid)
	testkit.CheckErr(t, "the error for a closed one", refused[0], net.ErrClosed)
	testkit.CheckErr(t, "Add of a closed one", g.Add(all[0]), net.ErrClosed)
	testkit.WantEqual(t, "Remove of a closed one", g.Remove(all[0]), false)
}

// Broadcasts of several goroutines arrive everywhere in the same order, while members come and go.
func TestBroadcastsHaveOneOrder(t *testing.T) {
	var g websocket.Group
	_, peers := hall(t, &g, 6, websocket.Config{})
	const senders, each = 4, 50
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for n := range each {
				g.Broadcast(prepared(t, websocket.Text, fmt.Sprint(i, n)), nil)
				for _, c := range g.Members()[:1] {
					testkit.CheckErr(t, "Add of a member", g.Add(c))
				}
			}
		})
	}
	var first []string
	for i, p := range peers {
		for n := range senders * each {
			_, got := p.next()
			if i == 0 {
				first = append(first, got)
			} else if got != first[n] {
				t.Fatalf("message %d is %q for one member and %q for another", n, first[n], got)
			}
		}
	}
	sending.Wait()
}

// The others receive all messages. The one that reads nothing is reported, at the limit, and is cut off unless both configurations keep it.
func TestASlowReceiverIsBounded(t *testing.T) {
	for name, test := range map[string]struct{ keepSlow, cutOffSlow bool }{
		"kept": {true, false}, "cut off by the group": {false, false}, "cut off by its config": {true, true}, "cut off by both": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan error, 10)
			g := websocket.NewGroup(&websocket.GroupConfig{KeepSlow: test.keepSlow, OnLeave: func(_ *websocket.Conn, reason error) { left <- reason }})
			s, peers := hall(t, g, 3, websocket.Config{MaxOutput: 200_000, CutOffSlow: test.cutOffSlow})
			slow, others := peers[2], peers[:2]
			m := prepared(t, websocket.Binary, noise(50_000))
			conns := g.Members()
			kept := test.keepSlow && !test.cutOffSlow
			var given atomic.Int32
			refused := 0
			var last error
			for range 500 {
				errs := g.Broadcast(m, func(*websocket.Conn, error) { given.Add(1) })
				for _, p := range others {
					if _, got := p.next(); len(got) != 50_000 {
						t.Fatalf("%d bytes", len(got))
					}
				}
				if refused += len(errs); len(errs) > 0 {
					last = errs[0]
					testkit.WantEqual(t, "the one that refuses", errs[0].Conn, conns[2])
				}
				if refused == 3 || !kept && refused == 1 {
					break
				}
			}
			testkit.CheckErr(t, "the refusal", last, websocket.ErrFull)
			testkit.WantEqual(t, "messages refused", s.handler.Stats().Full, uint64(refused))
			if n := conns[2].Buffered(); n > 260_000 {
				t.Errorf("%d bytes wait", n)
			}
			if kept {
				testkit.WantEqual(t, "members", g.Len(), 3)
				go func() { _, _ = io.Copy(io.Discard, slow.r) }() // it reads at last
				testkit.Until(t, "room", func() bool { return conns[2].Buffered() < 200_000 })
				testkit.Must(t, conns[2].WritePrepared(m, nil))
				testkit.WantEqual(t, "calls of OnLeave", len(left), 0)
				g.Remove(conns[2])
				return
			}
			testkit.CheckErr(t, "the reason", testkit.Await(t, left, "OnLeave"), websocket.ErrFull)
			if e := s.ended(t); e.Code != websocket.CloseAbnormal || !errors.Is(e, websocket.ErrFull) {
				t.Errorf("Closed was called with %v", e)
			}
			testkit.WantEqual(t, "members", g.Len(), 2)
			testkit.WantEqual(t, "further calls of OnLeave", len(left), 0)
		})
	}
}

// noise returns n bytes that cannot be compressed.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return string(b)
}

// The peer reads nothing for WriteTimeout.
func TestAReceiverThatReadsNothingIsCutOff(t *testing.T) {
	clock := testkit.NewClock()
	opened := make(chan *websocket.Conn, 1)
	s := startWithClock(t, clock, &websocket.Config{WriteTimeout: 20 * time.Second, PingInterval: -1, Message: func(w websocket.Reply, _ websocket.MessageType, _ []byte) {
		opened <- w.Conn()
	}})
	p := s.dial(t, "")
	c := p.conn(opened)
	m := []byte(noise(100_000))
	s.advance(t, clock, "the end", func() bool {
		for c.WriteMessage(websocket.Binary, m) == nil { // the kernel takes several megabytes at first
		}
		return len(s.closed) > 0
	})
	if e := s.ended(t); e.Code != websocket.CloseAbnormal || !strings.Contains(e.Error(), "read") {
		t.Errorf("Closed was called with %v", e)
	}
}

// Members leave and join while a broadcast is sent, those that have the message and those that do not. Each of the others receives it once.
func TestMembersMayLeaveAndJoinDuringABroadcast(t *testing.T) {
	const n = 3 * websocket.MembersAtOnce
	for _, leaves := range [][]int{{0, 1, 2}, {n - 1, n - 2}, {0, n - 1, n / 2}, {n / 2, n/2 + 1, n/2 - 1, 5, n - 5}, nil} {
		var g websocket.Group
		_, peers := hall(t, &g, n, websocket.Config{Closed: func(*websocket.Conn, *websocket.CloseError) {}})
		conns, moved := g.Members(), map[string]bool{}
		parts := 0
		refused := websocket.BroadcastInParts(&g, prepared(t, websocket.Text, "broadcast"), func(int) {
			parts++
			for _, i := range leaves {
				c := conns[(i+parts)%n]
				moved[c.RemoteAddr().String()] = true
				testkit.WantEqual(t, "Remove", g.Remove(c), true)
				testkit.CheckErr(t, "Add", g.Add(c))
			}
		})
		if len(refused) > 0 || parts < 3 {
			t.Errorf("refused in %d parts: %v", parts, refused)
		}
		testkit.WantEqual(t, "members", g.Len(), n)
		g.Broadcast(prepared(t, websocket.Text, "end"), nil)
		for i, p := range peers {
			got := 0
			for _, m := p.next(); m != "end"; _, m = p.next() {
				got++
			}
			if got > 1 || got == 0 && !moved[p.LocalAddr().String()] {
				t.Errorf("member %d has received %d", i, got)
			}
		}
	}
}

// The Group is not locked for the time of a broadcast.
func TestMembersMayLeaveWhileBroadcastsAreSent(t *testing.T) {
	var g websocket.Group
	const n = 2 * websocket.MembersAtOnce
	_, peers := hall(t, &g, n, websocket.Config{})
	conns := g.Members()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				g.Remove(conns[i%n])
				testkit.CheckErr(t, "Add", g.Add(conns[i%n]))
			}
		}
	}()
	for range 100 {
		if refused := g.Broadcast(prepared(t, websocket.Text, "broadcast"), nil); len(refused) > 0 {
			t.Errorf("refused: %v", refused)
		}
	}
	close(stop)
	testkit.Await(t, stopped, "the members")
	g.Broadcast(prepared(t, websocket.Text, "end"), nil)
	for i, p := range peers {
		got := 0
		for _, m := p.next(); m != "end"; _, m = p.next() {
			got++
		}
		if got > 100 {
			t.Errorf("member %d has received %d", i, got)
		}
	}
}

// A broadcast to many allocates nothing for each, with and without outcomes.
func TestABroadcastDoesNotAllocateForEachMember(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	var g websocket.Group
	_, peers := hall(t, &g, 50, websocket.Config{})
	told := make(chan struct{}, len(peers))
	tell := func(_ *websocket.Conn, err error) {
		testkit.CheckErr(t, "the outcome", err)
		told <- struct{}{}
	}
	for i, n := range []int{100, 1000, 100, 1000} {
		m := prepared(t, websocket.Binary, noise(n))
		in := make([]byte, len(unmasked(0, strings.Repeat("x", n))))
		var done func(*websocket.Conn, error)
		if i >= 2 {
			done = tell
		}
		trip := func() {
			if refused := g.Broadcast(m, done); refused != nil {
				t.Fatal(refused)
			}
			for _, p := range peers {
				p.read(in)
				if done != nil {
					<-told
				}
			}
		}
		for range 20 {
			trip()
		}
		if allocs := testing.AllocsPerRun(100, trip); allocs > 1 {
			t.Errorf("%.1f allocations for a broadcast of %d bytes to %d, with outcomes: %v", allocs, n, len(peers), done != nil)
		}
	}
}
