package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Connections are opened and closed quickly, so that their descriptors are used again, while goroutines write to, pause, close and abort
// closed connections. No client reads a byte of another, and no open connection is closed by the handle of another.
func TestAConnThatHasEndedNeverReachesAnotherClient(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var handles stale
		p := newProbe(calls{
			open: func(c *server.Conn) { c.SetValue(fmt.Sprintf("<%v>", c.ID())) },
			data: func(c *server.Conn, p []byte) (int, error) {
				handles.add(c)
				for range p { // each byte is a request for the client's name
					if _, err := c.WriteString(c.Value().(string)); err != nil {
						return 0, err
					}
				}
				return len(p), nil
			},
		})
		s := start(t, r, &server.Server{Handler: p})
		stop := make(chan struct{})
		var pests sync.WaitGroup
		for range 4 {
			pests.Go(func() { handles.useAll(t, s, stop) })
		}
		var clients sync.WaitGroup
		for range 6 {
			clients.Go(func() {
				for end := time.Now().Add(150 * time.Millisecond); time.Now().Before(end); {
					nc := s.dial(t)
					askName(t, nc)
					_ = nc.Close()
				}
			})
		}
		clients.Wait()
		testkit.Until(t, "the use of a handle after its connection's end", func() bool { return handles.dead.Load() > 0 })
		close(stop)
		pests.Wait()
		s.shutdown(t)
		s.drained(t)
	})
}

// askName sends a few requests, and checks that all answers are the same.
func askName(t testing.TB, nc net.Conn) {
	const questions = 5
	if _, err := io.WriteString(nc, "?"); err != nil {
		t.Error(err)
		return
	}
	answer := make([]byte, 1)
	for answer[len(answer)-1] != '>' {
		b := make([]byte, 1)
		if _, err := io.ReadFull(nc, b); err != nil {
			t.Errorf("the connection was ended by another handle: %v", err)
			return
		}
		answer = append(answer, b[0])
	}
	me := string(answer[1:])
	if _, err := io.WriteString(nc, strings.Repeat("?", questions)); err != nil {
		t.Error(err)
		return
	}
	_ = nc.(halfCloser).CloseWrite()
	rest, err := io.ReadAll(nc)
	if err != nil || string(rest) != strings.Repeat(me, questions) {
		t.Errorf("%s received %q, %v", me, rest, err)
	}
}

// stale has handles of connections, most of which have ended.
type stale struct {
	mu   sync.Mutex
	all  []*server.Conn
	dead atomic.Int64 // uses after the end
}

func (h *stale) add(c *server.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) < 200 {
		h.all = append(h.all, c)
	} else {
		h.all[rand.IntN(len(h.all))] = c
	}
}

// useAll calls all methods of handles whose connection has ended.
func (h *stale) useAll(t testing.TB, s *running, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		h.mu.Lock()
		var c *server.Conn
		if len(h.all) > 0 {
			c = h.all[rand.IntN(len(h.all))]
		}
		h.mu.Unlock()
		if c == nil || c.Context().Err() == nil { // still open: not used
			time.Sleep(10 * time.Microsecond)
			continue
		}
		h.dead.Add(1)
		for what, err := range map[string]error{
			"Write": second(c.WriteString("<a stranger's " + strconv.Itoa(rand.Int()) + ">")), "CloseWrite": c.CloseWrite(), "CloseRead": c.CloseRead(),
			"WriteOwned": c.WriteOwned([]byte("<a stranger's>"), func(error) { t.Error("what was refused had an outcome") }),
		} {
			if err == nil {
				t.Errorf("%s of a connection that has ended was accepted", what)
			}
		}
		c.PauseRead(nil)
		c.Abort()
		c.Close()
		c.SetTimeouts(server.Timeouts{Idle: time.Nanosecond})
		if found := s.Conn(c.ID()); found != nil && found != c { // its loop may not have handled the close yet
			t.Errorf("the ID of a connection that has ended finds %v", found.ID())
		}
		if a := c.LocalAddr(); a != nil {
			t.Errorf("a connection that has ended has the address %v", a)
		}
	}
}

// Another connection may get the descriptor at that time.
func TestAWriteThatRacesWithTheEndReachesItsOwnPeerOrNone(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		rounds := 100
		if r.tls && !testkit.Full() {
			rounds = 30 // handshakes are expensive
		}
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		for i := range rounds {
			c, nc := p.connect(t, s)
			mine := fmt.Sprintf("<%d>", i)
			var racing sync.WaitGroup
			for range 2 {
				racing.Go(func() {
					for {
						if _, err := c.WriteString(mine); err != nil {
							return
						}
					}
				})
			}
			racing.Go(c.Abort)
			next, onc := p.connect(t, s)
			racing.Wait()
			got, _ := io.ReadAll(nc) // ends with a reset, most likely
			if rest := strings.ReplaceAll(string(got), mine, ""); !strings.HasPrefix(mine, rest) {
				t.Fatalf("connection %d read %q besides its own", i, rest)
			}
			next.Close()
			expectEOF(t, onc)
			_ = nc.Close()
			_ = onc.Close()
		}
	})
}

func TestAnIDFindsItsConnectionAndNoOther(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		seen := map[server.ConnID]bool{{}: true}
		if s.Conn(server.ConnID{}) != nil {
			t.Error("the zero ID finds a connection")
		}
		for range 50 {
			c, nc := p.connect(t, s)
			id := c.ID()
			if seen[id] {
				t.Fatalf("the ID %v was used before", id)
			}
			seen[id] = true
			if s.Conn(id) != c {
				t.Errorf("the ID %v does not find its connection", id)
			}
			testkit.Must(t, nc.Close())
			testkit.Await(t, p.closed, "Close")
			for old := range seen {
				if s.Conn(old) != nil {
					t.Errorf("the ID %v finds a connection", old)
				}
			}
		}
	})
}
