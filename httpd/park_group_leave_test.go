package httpd

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The zero Group has the defaults. A member may be added again, and a Parked is in one group.
func TestTheZeroGroupIsEmpty(t *testing.T) {
	handler, parked := parking(t, nil)
	addr := serve(t, &Server{}, handler)
	var g, other Group
	testkit.WantEqual(t, "members", g.Len()+len(g.Members()), 0)
	testkit.WantErr(t, g.Add(nil), ErrInvalid)
	testkit.WantEqual(t, "Remove of nil", g.Remove(nil), false)
	clients, members := join(t, &g, addr, parked, get("/"), get("/"))
	testkit.Must(t, g.Add(members[0]))
	testkit.WantErr(t, other.Add(members[0]), ErrInvalid)
	testkit.WantEqual(t, "members", g.Len(), 2)
	all := g.Members()
	testkit.WantEqual(t, "members that are listed", len(all), 2)
	if !slices.Contains(all, members[0]) || !slices.Contains(all, members[1]) {
		t.Errorf("the members are %v, want %v", all, members)
	}
	testkit.WantEqual(t, "refusals", len(g.Broadcast([]byte("x"), nil)), 0)
	g.Close()
	for _, c := range clients {
		testkit.WantEqual(t, "body", c.response().body, "x")
	}
}

// Close of a group ends the responses of its members, of which some have begun. The connections serve their next requests, which may be added.
func TestCloseOfAGroupCompletesItsMembers(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, handler)
		left := make(chan error, 10)
		g := NewGroup(&GroupConfig{OnLeave: func(_ *Parked, reason error) { left <- reason }})
		clients, members := join(t, g, addr, parked, get("/"), get("/"))
		for range 2 {
			write(t, members[0], "begun")
			testkit.Must(t, members[0].FlushError())
			g.Close()
			testkit.WantEqual(t, "members", g.Len(), 0)
			for i, c := range clients {
				testkit.WantEqual(t, "body", c.response().body, []string{"begun", ""}[i])
				testkit.WantErr(t, testkit.Await(t, left, "OnLeave"), context.Canceled)
				c.send(get("/"))
				members[i] = testkit.Await(t, parked, "the next request")
				testkit.Must(t, g.Add(members[i]))
			}
			testkit.WantEqual(t, "further calls of OnLeave", len(left), 0)
		}
		g.Close()
	})
}

// OnLeave and done may call all methods of the Group, and wait for other goroutines that call them: no lock is held.
func TestCallbacksMayUseTheirGroup(t *testing.T) {
	for name, end := range map[string]func(g *Group, c *client, p *Parked){
		"close":              func(_ *Group, _ *client, p *Parked) { testkit.Must(t, p.Close()) },
		"abort":              func(_ *Group, _ *client, p *Parked) { p.Abort() },
		"reset":              func(_ *Group, c *client, _ *Parked) { c.reset() },
		"half closed":        func(_ *Group, c *client, _ *Parked) { c.closeWrite() },
		"close of all":       func(g *Group, _ *client, p *Parked) { g.Close() },
		"cut off":            func(g *Group, _ *client, p *Parked) { fill(g) },
		"end of a broadcast": func(g *Group, _ *client, p *Parked) { g.Complete([]byte("x"), func(*Parked, error) { g.Len() }) },
	} {
		t.Run(name, func(t *testing.T) {
			handler, parked := parking(t, &ParkConfig{Timeout: -1, MaxPending: 50_000})
			addr := serve(t, &Server{Socket: server.SocketOptions{WriteBuffer: 64 << 10}}, handler)
			var g *Group
			used := make(chan struct{}, 10)
			use := func(p *Parked) {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					g.Len()
					g.Members()
					g.Remove(p)
					_ = g.Add(p) // fails if it has ended
					g.Broadcast([]byte("y"), nil)
					g.Remove(p)
				}()
				select { // not Await, which is for the test's goroutine
				case <-ended:
				case <-time.After(testkit.Patience):
					t.Error("a method of the Group waits for a lock")
				}
			}
			g = NewGroup(&GroupConfig{OnLeave: func(p *Parked, _ error) {
				use(p)
				used <- struct{}{}
			}})
			clients, members := join(t, g, addr, parked, get("/"))
			told := make(chan struct{})
			g.Broadcast([]byte("begin"), func(p *Parked, _ error) {
				use(p)
				close(told)
			})
			testkit.Await(t, told, "done")
			testkit.Must(t, g.Add(members[0]))
			end(g, clients[0], members[0])
			testkit.Await(t, used, "OnLeave")
			members[0].Abort() // in some rows it was removed in OnLeave, and is open
			testkit.WantEqual(t, "further calls of OnLeave", len(used), 0)
		})
	}
}

// fill sends broadcasts until a member refuses one because it is slow.
func fill(g *Group) {
	for g.Broadcast([]byte(piece), nil) == nil {
	}
}

// A Parked that has left its group meanwhile stays open: it is neither cut off for a broadcast that it has refused as a member, nor closed.
func TestAParkedThatWasRemovedStaysOpen(t *testing.T) {
	handler, parked := parking(t, nil)
	addr := serve(t, &Server{}, handler)
	left := 0
	g := NewGroup(&GroupConfig{OnLeave: func(*Parked, error) { left++ }})
	clients, members := join(t, g, addr, parked, get("/"))
	testkit.WantEqual(t, "Remove", g.Remove(members[0]), true)
	g.cutOff(BroadcastError{members[0], server.ErrFull})
	g.gone(members[0], server.ErrPeerClosed)
	write(t, members[0], "open")
	testkit.Must(t, members[0].Close())
	testkit.WantEqual(t, "body", clients[0].response().body, "open")
	testkit.WantEqual(t, "calls of OnLeave", left, 0)
}

// The error of a member that has refused a broadcast names the operation, and matches the reason.
func TestABroadcastErrorMatchesItsReason(t *testing.T) {
	var err error = BroadcastError{new(Parked), ErrEnded}
	testkit.WantEqual(t, "text", err.Error(), "httpd: broadcast to a parked response: "+ErrEnded.Error())
	if !errors.Is(err, ErrEnded) {
		t.Errorf("%v does not match its reason", err)
	}
}

// A groupSite is a Group whose OnLeave panics, and its members.
type groupSite struct {
	t       *testing.T
	g       *Group
	clients []*client
	members []*Parked
}

// recovered calls fn, in which OnLeave panics.
func (s groupSite) recovered(fn func()) {
	s.t.Helper()
	defer func() {
		if recover() == nil {
			s.t.Error("OnLeave was not called")
		}
	}()
	fn()
}

// wantServed reads the response of a client, and another one on its connection.
func (s groupSite) wantServed(i int, body string) {
	s.t.Helper()
	c := s.clients[i]
	testkit.WantEqual(s.t, "body", c.response().body, body)
	c.send(get("/plain"))
	testkit.WantEqual(s.t, "body of the next response", c.response().body, "plain")
}

// panickingEnds are the ways in which members leave, by name.
var panickingEnds = map[string]func(s groupSite){
	"close": func(s groupSite) {
		for i, p := range s.members {
			s.recovered(func() { testkit.Must(s.t, p.Close()) })
			s.wantServed(i, "")
		}
	},
	"abort": func(s groupSite) {
		for i, p := range s.members {
			s.recovered(p.Abort)
			s.clients[i].wantEnd()
		}
	},
	"close of all": func(s groupSite) {
		s.recovered(s.g.Close)
		for i := range s.clients {
			s.wantServed(i, "")
		}
	},
	"end of a broadcast": func(s groupSite) {
		s.recovered(func() { s.g.Complete([]byte("news"), nil) })
		for i := range s.clients {
			s.wantServed(i, "news")
		}
	},
	"cut off": func(s groupSite) {
		for s.g.Len() > 0 {
			s.recovered(func() { fill(s.g) })
		}
	},
	"reset": func(s groupSite) {
		for _, c := range s.clients {
			c.reset()
		}
	},
	"half closed": func(s groupSite) {
		for _, c := range s.clients {
			c.closeWrite()
		}
	},
}

// A function of the program that panics leaves no member open, no connection that cannot be used, and no response that counts as parked.
func TestAPanicOfOnLeaveLeavesNoMemberOpen(t *testing.T) {
	for name, end := range panickingEnds {
		t.Run(name, func(t *testing.T) {
			gone := make(chan error, 10)
			parks, parked := parking(t, &ParkConfig{Timeout: -1, MaxPending: 50_000, OnGone: func(_ *Parked, cause error) { gone <- cause }})
			handler := func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/plain" {
					_, _ = io.WriteString(w, "plain")
					return
				}
				parks(w, req)
			}
			s := &Server{Socket: server.SocketOptions{WriteBuffer: 64 << 10}, LoopConfig: &event.Config{PanicHandler: func(any, []byte) {}}}
			addr := serve(t, s, handler)
			g := NewGroup(&GroupConfig{OnLeave: func(*Parked, error) { panic("of the test") }})
			clients, members := join(t, g, addr, parked, get("/"), get("/"), get("/"))
			end(groupSite{t, g, clients, members})
			testkit.Until(t, "no parked response", func() bool { return s.Parked() == 0 })
			testkit.WantEqual(t, "members", g.Len(), 0)
			if name == "reset" || name == "half closed" {
				for range members {
					testkit.Await(t, gone, "OnGone")
				}
			}
		})
	}
}
