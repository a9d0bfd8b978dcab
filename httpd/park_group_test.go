package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// join opens connections whose requests are parked, and adds the responses to g.
func join(t *testing.T, g *Group, addr string, parked chan *Parked, inputs ...string) (clients []*client, members []*Parked) {
	t.Helper()
	for _, input := range inputs {
		c := dial(t, addr)
		c.send(input)
		p := testkit.Await(t, parked, "the request")
		testkit.Must(t, g.Add(p))
		clients, members = append(clients, c), append(members, p)
	}
	return clients, members
}

// Each member of a group gets each broadcast in the form of its response, in the order of the broadcasts, and the outcome is told for each.
func TestABroadcastReachesEachMember(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/begun":
				w.(http.Flusher).Flush()
			case "/length":
				w.Header().Set("Content-Length", "1024")
			}
			handler(w, req)
		})
		g := NewGroup(nil)
		clients, members := join(t, g, addr, parked, get("/"), get("/begun"), get("/length"), "GET /begun HTTP/1.0\r\n\r\n",
			strings.Replace(get("/"), "GET", "HEAD", 1))
		testkit.WantEqual(t, "members", g.Len(), len(members))
		want := []string{"hello ", strings.Repeat("x", 1018)}
		for _, text := range want {
			outcomes := make(chan *Parked, len(members))
			if refused := g.Broadcast([]byte(text), func(p *Parked, err error) {
				testkit.Must(t, err)
				outcomes <- p
			}); refused != nil {
				t.Errorf("refused: %v", refused)
			}
			told := map[*Parked]bool{}
			for range members {
				told[testkit.Await(t, outcomes, "the outcome")] = true
			}
			if len(told) != len(members) {
				t.Errorf("%d members have an outcome", len(told))
			}
		}
		testkit.Must(t, g.Add(members[0])) // it is a member
		testkit.WantErr(t, NewGroup(nil).Add(members[0]), ErrInvalid)
		if refused := g.Broadcast(nil, nil); refused != nil {
			t.Errorf("an empty broadcast: %v", refused)
		}
		for i, p := range members {
			testkit.Must(t, p.Close())
			if i == len(members)-1 {
				clients[i].head()
				continue
			}
			if a := clients[i].response(); a.body != strings.Join(want, "") {
				t.Errorf("member %d got %d bytes: %.20q", i, len(a.body), a.body)
			}
		}
		testkit.WantEqual(t, "members", g.Len(), 0)
		testkit.WantErr(t, g.Add(members[0]), ErrEnded)
	})
}

// Members leave when they end, when their clients go away, and when Shutdown begins, each once and with the reason. The group closes those
// that are still open. Remove is no leaving.
func TestMembersLeaveTheirGroup(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, &ParkConfig{Timeout: -1})
		s.Handler = handler
		addr, served := run(t, s)
		type leaving struct {
			p      *Parked
			reason error
		}
		left := make(chan leaving, 20)
		g := NewGroup(&GroupConfig{OnLeave: func(p *Parked, reason error) { left <- leaving{p, reason} }})
		clients, members := join(t, g, addr, parked, get("/"), get("/"), get("/"), get("/"), get("/"), get("/"))
		wantLeft := func(p *Parked, reason error) {
			t.Helper()
			got := testkit.Await(t, left, "OnLeave")
			if got.p != p || reason != nil && !errors.Is(got.reason, reason) || got.reason == nil {
				t.Errorf("member %p leaves with %v, want %p, %v", got.p, got.reason, p, reason)
			}
		}
		testkit.Must(t, members[0].Close())
		wantLeft(members[0], context.Canceled)
		members[1].Abort()
		wantLeft(members[1], context.Canceled)
		clients[2].closeWrite()
		wantLeft(members[2], server.ErrPeerClosed)
		if text := clients[2].rest(); !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n") { // the response is complete
			t.Errorf("the client has read %q", text)
		}
		clients[3].reset()
		wantLeft(members[3], nil)
		if !g.Remove(members[4]) || g.Remove(members[4]) {
			t.Error("Remove does not tell whether it was a member")
		}
		testkit.Must(t, members[4].Close())
		clients[4].response()
		_ = clients[0].Close() // so that the server's close ends
		_ = clients[2].Close() // as above
		_ = clients[4].Close() // as above
		ctx, cancel := testkit.Soon()
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(ctx) }()
		wantLeft(members[5], http.ErrServerClosed)
		clients[5].response()
		_ = clients[5].Close() // so that the server's close ends
		testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
		if n := len(left); n > 0 || g.Len() > 0 {
			t.Errorf("%d members more have left, %d are left", n, g.Len())
		}
	})
}

// A request whose client has gone is not added to a group, and can be closed.
func TestAddRefusesAParkedWithoutClient(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		gone := make(chan struct{})
		handler, parked := parking(t, &ParkConfig{OnGone: func(*Parked, error) { close(gone) }})
		addr := serve(t, s, handler)
		c := dial(t, addr)
		c.send(get("/"))
		c.closeWrite()
		p := testkit.Await(t, parked, "the request")
		testkit.Await(t, gone, "OnGone")
		testkit.WantErr(t, NewGroup(nil).Add(p), server.ErrPeerClosed)
		testkit.Must(t, p.Close())
		c.rest()
	})
}

// A member whose client does not read is cut off when MaxPending is reached, or misses the broadcast with KeepSlow. The others get all.
func TestASlowMemberIsCutOffOrTold(t *testing.T) {
	for _, keep := range []bool{false, true} {
		s := &Server{Socket: server.SocketOptions{WriteBuffer: 64 << 10}}
		handler, parked := parking(t, &ParkConfig{MaxPending: 50_000})
		addr := serve(t, s, handler)
		var left atomic.Int32
		g := NewGroup(&GroupConfig{KeepSlow: keep, OnLeave: func(_ *Parked, reason error) {
			if refusal := new(BroadcastError); errors.As(reason, refusal) && errors.Is(reason, server.ErrFull) {
				left.Add(1)
			}
		}})
		clients, members := join(t, g, addr, parked, get("/slow"), get("/"))
		slow, quick := clients[0], clients[1]
		g.Broadcast([]byte("begin\n"), nil)
		quick.head()
		quick.line()
		quick.line()
		quick.line()
		var refused []BroadcastError
		for refused == nil {
			refused = g.Broadcast([]byte(piece), nil)
			var got strings.Builder
			for got.Len() < len(piece) {
				line := quick.line()
				if line != "2710\r\n" && line != "\r\n" { // the length of piece
					got.WriteString(strings.TrimRight(line, "\r\n"))
				}
			}
		}
		if len(refused) != 1 || refused[0].Parked != members[0] || !errors.Is(refused[0], server.ErrFull) {
			t.Fatalf("refused: %v", refused)
		}
		if keep {
			testkit.WantEqual(t, "members", g.Len(), 2)
			testkit.Must(t, members[0].Close())
			if a := slow.response(); len(a.body)%len(piece) != len("begin\n") {
				t.Errorf("the slow client got %d bytes", len(a.body))
			}
		} else {
			testkit.WantEqual(t, "members", g.Len(), 1)
			testkit.WantEqual(t, "members that have left", left.Load(), 1)
			if text := slow.rest(); strings.HasSuffix(text, "0\r\n\r\n") {
				t.Error("the response to the slow client is complete")
			}
		}
	}
}

// line reads a line.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %.40q: %v", line, err)
	}
	return line
}

// Complete ends the responses of all members of a group, as long polls, and the connections serve their next requests.
func TestCompleteAnswersAllMembers(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, handler)
		var left atomic.Int32
		g := NewGroup(&GroupConfig{OnLeave: func(*Parked, error) { left.Add(1) }})
		clients, members := join(t, g, addr, parked, get("/"), get("/"), "GET / HTTP/1.0\r\n\r\n")
		testkit.Must(t, members[1].FlushError())
		for range 2 {
			outcomes := make(chan error, 10)
			if refused := g.Complete([]byte("news"), func(_ *Parked, err error) { outcomes <- err }); refused != nil {
				t.Errorf("refused: %v", refused)
			}
			for i, c := range clients {
				testkit.Must(t, testkit.Await(t, outcomes, "the outcome"))
				if a := c.response(); a.body != "news" || a.closes != (i == 2) {
					t.Errorf("the response is %v", a)
				}
			}
			testkit.WantEqual(t, "members that have left", left.Swap(0), int32(len(clients)))
			clients = clients[:2]
			for _, c := range clients {
				c.send(get("/"))
				testkit.Must(t, g.Add(testkit.Await(t, parked, "the next request")))
			}
		}
	})
}

// Goroutines broadcast, write, close and abort, and clients come and go, all at the same time: each client gets a prefix of the
// broadcasts since it was added, in their order.
func TestGroupsMayBeUsedByManyGoroutines(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		var parked [8]chan *Parked // of each client
		for i := range parked {
			parked[i] = make(chan *Parked, 1)
		}
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			p, err := Park(w, req, nil)
			testkit.Must(t, err)
			parked[req.URL.Path[1]-'0'] <- p
		})
		g := NewGroup(nil)
		stop := broadcastAlways(g)
		var clients sync.WaitGroup
		for i := range parked {
			clients.Go(func() {
				for range 5 {
					c := dial(t, addr)
					c.send(get(fmt.Sprint("/", i)))
					p := testkit.Await(t, parked[i], "the request")
					if err := g.Add(p); err != nil {
						t.Error(err)
						return
					}
					if err := c.consecutive(20); err != nil && !errors.Is(err, syscall.ECONNRESET) { // it is cut off if it is slow
						t.Error(err)
					}
					switch i % 4 {
					case 0:
						c.reset()
					case 1:
						p.Abort()
					case 2:
						_ = p.Close() // it may have been cut off
					default:
						_ = c.Close() // by intention
					}
				}
			})
		}
		clients.Wait()
		stop()
		g.Complete(nil, nil)
		testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 && g.Len() == 0 })
	})
}

// broadcastAlways broadcasts consecutive numbers from several goroutines until stop is called.
func broadcastAlways(g *Group) (stop func()) {
	ending := make(chan struct{})
	var casters sync.WaitGroup
	var number int
	var mu sync.Mutex // orders numbers and broadcasts
	for range 3 {
		casters.Go(func() {
			for {
				select {
				case <-ending:
					return
				default:
				}
				mu.Lock()
				number++
				g.Broadcast(fmt.Appendf(nil, "%08d", number), func(*Parked, error) {})
				mu.Unlock()
			}
		})
	}
	return func() {
		close(ending)
		casters.Wait()
	}
}

// consecutive reads a head and up to n chunks, whose texts must be consecutive numbers.
func (c *client) consecutive(n int) error {
	read := func() (line string, err error) {
		line, err = c.r.ReadString('\n')
		return strings.TrimSuffix(line, "\r\n"), err
	}
	for line := "head"; line != ""; {
		var err error
		if line, err = read(); err != nil {
			return err
		}
	}
	last := 0
	for range n {
		length, err := read()
		if length == "0" || err != nil { // the response was completed
			return err
		}
		text, err := read()
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(text)
		if err != nil || last > 0 && number != last+1 {
			return fmt.Errorf("%q follows %d", text, last)
		}
		last = number
	}
	return nil
}

// A broadcast to streams allocates nothing for each member.
func TestABroadcastAllocatesNothingForAMember(t *testing.T) {
	s := &Server{}
	handler, parked := parking(t, nil)
	addr := serve(t, s, handler)
	g := NewGroup(nil)
	var inputs []string
	for range 200 {
		inputs = append(inputs, get("/"))
	}
	clients, _ := join(t, g, addr, parked, inputs...)
	var read sync.WaitGroup
	for _, c := range clients {
		read.Go(func() {
			for buf := make([]byte, 4096); ; {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		})
	}
	for _, n := range []int{100, 2000} {
		text := []byte(strings.Repeat("x", n))
		outcomes := make(chan struct{}, len(clients))
		done := func(*Parked, error) { outcomes <- struct{}{} }
		allocs := testing.AllocsPerRun(50, func() {
			if refused := g.Broadcast(text, done); refused != nil {
				t.Fatal(refused)
			}
			for range clients {
				<-outcomes
			}
		})
		if allocs > float64(len(clients))/10 && !leaktest.Raced() { // in race builds a sync.Pool loses objects
			t.Errorf("a broadcast of %d bytes to %d members allocates %v times", n, len(clients), allocs)
		}
	}
	g.Complete(nil, nil)
	for _, c := range clients {
		_ = c.Close() // ends its reader
	}
	read.Wait()
}
