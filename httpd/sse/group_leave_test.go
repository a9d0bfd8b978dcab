package sse

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Members lists the streams, also those that still get earlier events.
func TestMembersAreAllStreams(t *testing.T) {
	x := startLate(t, &GroupConfig{})
	testkit.WantEqual(t, "the stream is behind", x.isBehind(), true)
	behind := x.g.Members()
	testkit.WantEqual(t, "streams", len(behind), 1)
	x.reads()
	x.next(0, x.sent)
	testkit.Until(t, "the client among the others", func() bool { return !x.isBehind() })
	members := x.g.Members()
	testkit.WantEqual(t, "streams", len(members), 1)
	testkit.WantEqual(t, "the stream", members[0], behind[0])
	testkit.Must(t, members[0].Close())
	x.c.wantEnd()
	testkit.WantErr(t, testkit.Await(t, x.left, "OnLeave"), context.Canceled)
	testkit.WantEqual(t, "streams", len(x.g.Members()), 0)
}

// The stream that refuses an event is named by the result and by OnLeave, and the error matches the reason.
func TestARefusalNamesItsStream(t *testing.T) {
	type leaving struct {
		s      Stream
		reason error
	}
	left := make(chan leaving, 10)
	g, _, addr := group(t, &GroupConfig{OnLeave: func(s Stream, reason error) { left <- leaving{s, reason} }})
	open(t, addr)
	testkit.Until(t, "the stream", func() bool { return g.Len() == 1 })
	s := g.Members()[0]
	var refused []BroadcastError
	for refused == nil {
		var err error
		refused, err = g.Broadcast(Event{Data: lateText}, nil)
		testkit.Must(t, err)
	}
	testkit.WantEqual(t, "refusals", len(refused), 1)
	testkit.WantEqual(t, "the stream that refuses", refused[0].Stream, s)
	testkit.WantErr(t, refused[0], server.ErrFull)
	if text := refused[0].Error(); !strings.HasPrefix(text, "sse: broadcast to a stream: ") {
		t.Errorf("the text is %q", text)
	}
	got := testkit.Await(t, left, "OnLeave")
	testkit.WantEqual(t, "the stream that leaves", got.s, s)
	testkit.WantEqual(t, "reason", got.reason, error(refused[0]))
	testkit.WantEqual(t, "further calls of OnLeave", len(left), 0)
	testkit.WantErr(t, s.Send(Event{}), httpd.ErrEnded)
}

// OnLeave and done may call all methods of the Group, and wait for other goroutines that call them: no lock is held.
func TestCallbacksMayUseTheirGroup(t *testing.T) {
	for name, end := range map[string]func(g *Group, c *client, s Stream){
		"close":        func(_ *Group, _ *client, s Stream) { testkit.Must(t, s.Close()) },
		"abort":        func(_ *Group, _ *client, s Stream) { s.Abort() },
		"half closed":  func(_ *Group, c *client, _ Stream) { testkit.Must(t, c.Conn.(*net.TCPConn).CloseWrite()) },
		"close of all": func(g *Group, _ *client, _ Stream) { g.Close() },
		"cut off": func(g *Group, _ *client, _ Stream) {
			for refused := []BroadcastError(nil); refused == nil; {
				refused, _ = g.Broadcast(Event{Data: lateText}, nil) // it is valid
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var g *Group
			use := func() {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					g.Len()
					g.Members()
					_, _ = g.Broadcast(Event{Data: "y"}, nil) // it is valid
				}()
				select { // not Await, which is for the test's goroutine
				case <-ended:
				case <-time.After(testkit.Patience):
					t.Error("a method of the Group waits for a lock")
				}
			}
			left := make(chan error, 10)
			g, _, addr := group(t, &GroupConfig{OnLeave: func(_ Stream, reason error) {
				use()
				left <- reason
			}})
			c := open(t, addr)
			testkit.Until(t, "the stream", func() bool { return g.Len() == 1 })
			s := g.Members()[0]
			told := make(chan Stream, 1)
			_, err := g.Broadcast(Event{Data: "x"}, func(s Stream, _ error) {
				use()
				told <- s
			})
			testkit.Must(t, err)
			testkit.WantEqual(t, "the stream that is told of", testkit.Await(t, told, "done"), s)
			end(g, c, s)
			testkit.Await(t, left, "OnLeave")
			testkit.WantEqual(t, "streams", g.Len(), 0)
			testkit.WantEqual(t, "further calls of OnLeave", len(left), 0)
		})
	}
}

// ConnState of the server may call the methods of the Group, also when a stream ends that has only a part of the events: no lock is held.
func TestConnStateMayUseTheGroup(t *testing.T) {
	g, err := NewGroup(nil)
	testkit.Must(t, err)
	handler := func(w http.ResponseWriter, r *http.Request) {
		p, err := park(w, r, 0, g.onGone)
		testkit.CheckErr(t, "park", err)
		testkit.CheckErr(t, "add", g.add(p, &backlog{text: []byte("id: 1\ndata: x\n\n"), isPartial: true}))
	}
	_, addr := startWith(t, http.HandlerFunc(handler), func(s *httpd.Server) {
		s.ConnState = func(net.Conn, http.ConnState) {
			ended := make(chan struct{})
			go func() {
				g.Len()
				close(ended)
			}()
			select { // as above
			case <-ended:
			case <-time.After(testkit.Patience):
				t.Error("Len waits for a lock")
			}
		}
	})
	c := open(t, addr)
	testkit.WantEqual(t, "event", c.next(), received{"1", "", "x"})
	c.wantEnd()
	testkit.WantEqual(t, "streams", g.Len(), 0)
}

// A broadcast allocates nothing for each stream.
func TestABroadcastAllocatesNothingForAStream(t *testing.T) {
	g, _, addr := group(t, &GroupConfig{History: -1})
	const n = 200
	var read sync.WaitGroup
	var clients []*client
	for range n {
		c := open(t, addr)
		clients = append(clients, c)
		read.Go(func() { _, _ = io.Copy(io.Discard, c.Conn) }) // until the end of the test
	}
	testkit.Until(t, "the streams", func() bool { return g.Len() == n })
	outcomes := make(chan struct{}, n)
	for _, done := range []func(Stream, error){nil, func(Stream, error) { outcomes <- struct{}{} }} {
		allocs := testing.AllocsPerRun(50, func() {
			if refused, err := g.Broadcast(Event{Data: "data"}, done); refused != nil || err != nil {
				t.Fatal(refused, err)
			}
			for range cap(outcomes) {
				if done != nil {
					<-outcomes
				}
			}
		})
		if allocs > n/10 && !leaktest.Raced() { // in race builds a sync.Pool loses objects
			t.Errorf("a broadcast to %d streams allocates %v times, with outcomes: %v", n, allocs, done != nil)
		}
	}
	for _, c := range clients {
		_ = c.Close() // ends its reader
	}
	read.Wait()
}
