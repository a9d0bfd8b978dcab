package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// A leaving is a call of OnLeave.
type leaving struct {
	c      *websocket.Conn
	reason error
}

// leavings returns a Group, and the calls of its OnLeave.
func leavings() (*websocket.Group, chan leaving) {
	left := make(chan leaving, 100)
	return websocket.NewGroup(&websocket.GroupConfig{OnLeave: func(c *websocket.Conn, reason error) { left <- leaving{c, reason} }}), left
}

// The zero Group has the defaults. A member may be added again, and a WebSocket may be in several groups.
func TestTheZeroGroupIsEmpty(t *testing.T) {
	var g websocket.Group
	other := websocket.NewGroup(nil)
	testkit.WantEqual(t, "members", g.Len()+len(g.Members()), 0)
	_, peers := hall(t, &g, 2, websocket.Config{})
	all := g.Members()
	testkit.Must(t, g.Add(all[0]))
	testkit.Must(t, other.Add(all[0]))
	testkit.WantEqual(t, "members", g.Len(), 2)
	testkit.WantEqual(t, "members of the other group", other.Len(), 1)
	testkit.WantEqual(t, "refusals", len(g.Broadcast(prepared(t, websocket.Text, "all"), nil)), 0)
	testkit.WantEqual(t, "refusals", len(other.Broadcast(prepared(t, websocket.Text, "one"), nil)), 0)
	testkit.WantEqual(t, "refusals", len(g.Broadcast(prepared(t, websocket.Text, "end"), nil)), 0)
	for i, messages := range [][]string{{"all", "one", "end"}, {"all", "end"}} {
		for _, m := range messages {
			peers[i].want(0x80|opText, m)
		}
	}
}

// OnLeave is called once in each group, with the error that Closed then gets, and not after Remove.
func TestAMemberLeavesWithTheReasonOfItsEnd(t *testing.T) {
	for name, end := range map[string]func(s *site, p *peer, c *websocket.Conn){
		"close frame": func(_ *site, p *peer, _ *websocket.Conn) { p.send(frame(0x80|opClose, closing(4001, "done"))) },
		"close": func(_ *site, p *peer, c *websocket.Conn) {
			testkit.Must(t, c.Close(4002, ""))
			p.send(frame(0x80|opClose, closing(4002, "")))
		},
		"abort":     func(_ *site, _ *peer, c *websocket.Conn) { c.Abort() },
		"violation": func(_ *site, p *peer, _ *websocket.Conn) { p.send([]byte{0xff, 0xff}) },
		"shutdown": func(s *site, p *peer, _ *websocket.Conn) {
			ctx, cancel := testkit.Soon()
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(ctx) }()
			p.want(0x80|opClose, closing(1001, ""))
			p.send(frame(0x80|opClose, closing(1001, "")))
			_ = p.Close() // so that the server's close ends
			testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var groups [2]*websocket.Group
			var left [2]chan leaving
			for i := range groups {
				groups[i], left[i] = leavings()
			}
			removed, unexpected := leavings()
			s, peers := hall(t, groups[0], 1, websocket.Config{})
			c := groups[0].Members()[0]
			testkit.Must(t, groups[1].Add(c))
			testkit.Must(t, removed.Add(c))
			testkit.WantEqual(t, "Remove", removed.Remove(c), true)
			end(s, peers[0], c)
			_ = peers[0].Close() // so that the server's close ends
			e := s.ended(t)
			for i := range groups {
				if got := testkit.Await(t, left[i], "OnLeave"); got.c != c || got.reason != error(e) {
					t.Errorf("%p leaves with %v, want %p with %v", got.c, got.reason, c, e)
				}
				testkit.WantEqual(t, "members", groups[i].Len(), 0)
				testkit.WantEqual(t, "further calls of OnLeave", len(left[i]), 0)
			}
			testkit.WantEqual(t, "calls of OnLeave after Remove", len(unexpected), 0)
		})
	}
}

// Close of a group sends each member the broadcasts before it and then a close frame. While their handshakes last, the members refuse broadcasts,
// and are not cut off for it. The group stays usable.
func TestCloseOfAGroupClosesItsMembers(t *testing.T) {
	g, left := leavings()
	s, peers := hall(t, g, 3, websocket.Config{})
	testkit.WantEqual(t, "refusals", len(g.Broadcast(prepared(t, websocket.Text, "last"), nil)), 0)
	g.Close()
	refused := g.Broadcast(prepared(t, websocket.Text, "x"), nil)
	testkit.WantEqual(t, "refusals", len(refused), len(peers))
	for _, r := range refused {
		testkit.CheckErr(t, "the refusal", r, websocket.ErrClosed)
	}
	testkit.WantEqual(t, "members", g.Len(), len(peers))
	newcomer := s.dial(t, "", text("join")) // becomes a member of the closed group
	newcomer.want(0x80|opText, "join")
	for _, p := range peers {
		p.want(0x80|opText, "last")
		p.want(0x80|opClose, closing(1001, ""))
		p.send(frame(0x80|opClose, closing(1001, "")))
		p.wantEnd()
		testkit.Must(t, p.Close())
		e := s.ended(t)
		testkit.WantEqual(t, "reason", testkit.Await(t, left, "OnLeave").reason, error(e))
		if e.Code != websocket.CloseGoingAway || e.ByPeer || e.Err != nil {
			t.Errorf("Closed was called with %v", e)
		}
	}
	testkit.WantEqual(t, "refusals", len(g.Broadcast(prepared(t, websocket.Text, "again"), nil)), 0)
	newcomer.want(0x80|opText, "again")
}

// OnLeave and done may call all methods of the Group, and wait for other goroutines that call them: no lock is held.
func TestCallbacksMayUseTheirGroup(t *testing.T) {
	for name, end := range map[string]func(g *websocket.Group, p *peer, c *websocket.Conn){
		"close frame": func(_ *websocket.Group, p *peer, _ *websocket.Conn) { p.send(frame(0x80|opClose, closing(1000, ""))) },
		"abort":       func(_ *websocket.Group, _ *peer, c *websocket.Conn) { c.Abort() },
		"cut off": func(g *websocket.Group, _ *peer, _ *websocket.Conn) {
			for m := prepared(t, websocket.Binary, noise(50_000)); g.Broadcast(m, nil) == nil; {
			}
		},
		"close of all": func(g *websocket.Group, p *peer, _ *websocket.Conn) {
			g.Close()
			p.send(frame(0x80|opClose, closing(1001, "")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var g *websocket.Group
			use := func(c *websocket.Conn) {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					g.Len()
					g.Members()
					g.Remove(c)
					_ = g.Add(c) // fails if it has ended
					g.Broadcast(prepared(t, websocket.Text, "y"), nil)
				}()
				select { // not Await, which is for the test's goroutine
				case <-ended:
				case <-time.After(testkit.Patience):
					t.Error("a method of the Group waits for a lock")
				}
			}
			left := make(chan error, 10)
			g = websocket.NewGroup(&websocket.GroupConfig{OnLeave: func(c *websocket.Conn, reason error) {
				use(c)
				left <- reason
			}})
			_, peers := hall(t, g, 1, websocket.Config{MaxOutput: 100_000})
			c := g.Members()[0]
			told := make(chan struct{})
			testkit.WantEqual(t, "refusals", len(g.Broadcast(prepared(t, websocket.Text, "x"), func(c *websocket.Conn, _ error) {
				use(c)
				close(told)
			})), 0)
			testkit.Await(t, told, "done")
			end(g, peers[0], c)
			_, _ = io.ReadAll(peers[0].r) // the end, or a reset
			_ = peers[0].Close()          // so that the server's close ends
			testkit.Await(t, left, "OnLeave")
			testkit.WantEqual(t, "further calls of OnLeave", len(left), 0)
		})
	}
}

// A WebSocket that has left its group meanwhile is not cut off for a broadcast that it has refused as a member.
func TestAConnThatWasRemovedIsNotCutOff(t *testing.T) {
	g, left := leavings()
	_, peers := hall(t, g, 1, websocket.Config{})
	c := g.Members()[0]
	testkit.WantEqual(t, "Remove", g.Remove(c), true)
	websocket.CutOff(g, websocket.BroadcastError{Conn: c, Err: websocket.ErrFull})
	testkit.Must(t, c.WriteText("open"))
	peers[0].want(0x80|opText, "open")
	testkit.WantEqual(t, "calls of OnLeave", len(left), 0)
}

// A panic of OnLeave is logged, and the other groups and Closed are told all the same.
func TestAPanicOfOnLeaveIsLogged(t *testing.T) {
	other, left := leavings()
	var logged bytes.Buffer
	g := websocket.NewGroup(&websocket.GroupConfig{OnLeave: func(*websocket.Conn, error) { panic("of the test") }})
	s, _ := hall(t, other, 1, websocket.Config{ErrorLog: log.New(&logged, "", 0)})
	c := other.Members()[0]
	testkit.Must(t, g.Add(c))
	c.Abort()
	e := s.ended(t)
	testkit.WantEqual(t, "reason", testkit.Await(t, left, "OnLeave").reason, error(e))
	if !strings.Contains(logged.String(), "panic in OnLeave") || !strings.Contains(logged.String(), "of the test") {
		t.Errorf("the log is %q", logged.String())
	}
}

// The error of a WebSocket that has refused a broadcast names the operation and the peer, and matches the reason.
func TestABroadcastErrorMatchesItsReason(t *testing.T) {
	var g websocket.Group
	hall(t, &g, 1, websocket.Config{})
	c := g.Members()[0]
	var err error = websocket.BroadcastError{Conn: c, Err: context.Canceled}
	testkit.WantEqual(t, "text", err.Error(), "websocket: broadcast to "+c.RemoteAddr().String()+": "+context.Canceled.Error())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not match its reason", err)
	}
}
