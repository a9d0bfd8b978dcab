package server_test

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// turns returns the number of turns of c's loop.
func turns(c *server.Conn) uint64 { return c.Loop().Stats().Turns }

// A turn accepts AcceptBudget connections at most.
func TestAcceptsHaveABudget(t *testing.T) {
	const budget, clients = 2, 20
	inTurn, block := map[uint64]int{}, make(chan struct{})
	p := newProbe(calls{})
	p.open = func(c *server.Conn) {
		if len(inTurn) == 0 {
			<-block
		}
		inTurn[turns(c)]++
	}
	s := start(t, rig{"tcp", false, 1}, &server.Server{AcceptBudget: budget, Handler: p})
	var all []net.Conn
	for range clients {
		all = append(all, s.dialPlain(t))
	}
	close(block) // they are all in the kernel's queue
	for range clients {
		testkit.Await(t, p.opened, "Open")
	}
	hangUp(all...)
	s.shutdown(t)
	for turn, n := range inTurn {
		if n > budget {
			t.Errorf("%d connections were accepted in turn %d, the budget is %d", n, turn, budget)
		}
	}
}

// A turn reads each connection once, even if more bytes wait in the kernel.
func TestReadsHaveABudget(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const budget = 64<<10 + 16<<10 // a read, and the record that TLS began with before it
		inTurn, all := map[uint64]int{}, 0
		p := newProbe(calls{})
		p.data = func(c *server.Conn, p []byte) (int, error) {
			inTurn[turns(c)] += len(p)
			all += len(p)
			return len(p), nil
		}
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		c.PauseRead(nil)
		onLoop(t, c, func() {})
		var sent atomic.Int64
		go func() {
			for range 512 {
				n, _ := nc.Write(make([]byte, 16<<10))
				sent.Add(int64(n))
			}
			_ = nc.(halfCloser).CloseWrite()
		}()
		testkit.Until(t, "more than the budget in the kernel", func() bool { return sent.Load() > budget })
		c.ResumeRead(nil)
		testkit.Await(t, p.closed, "Close")
		if all != 8<<20 {
			t.Errorf("%d bytes came", all)
		}
		for turn, n := range inTurn {
			if n > budget {
				t.Fatalf("%d bytes were read in turn %d", n, turn)
			}
		}
	})
}

// acceptAll accepts every byte that is written, like a very fast client.
type acceptAll struct {
	sock.Kernel
	wrote func(n int)
}

func (b *acceptAll) Write(_ int, p []byte) (int, error) { b.wrote(len(p)); return len(p), nil }

func (b *acceptAll) Writev(_ int, bufs [][]byte) (n int, err error) {
	for _, p := range bufs {
		n += len(p)
	}
	b.wrote(n)
	return n, nil
}

// A client that takes its output as fast as it is written does not occupy the loop alone.
func TestOutputHasABudgetPerTurn(t *testing.T) {
	const budget = 256 << 10
	var conn atomic.Pointer[server.Conn]
	inTurn := map[uint64]int{}
	srv := &server.Server{MaxOutput: 16 << 20, HighWater: 16 << 20}
	srv.SetCalls(&acceptAll{wrote: func(n int) {
		if c := conn.Load(); c != nil {
			inTurn[turns(c)] += n
		}
	}})
	p := newProbe(calls{})
	srv.Handler = p
	s := start(t, rig{"tcp", false, 1}, srv)
	c, _ := p.connect(t, s)
	conn.Store(c)
	done := make(chan error, 1)
	testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), func(err error) { done <- err }))
	testkit.Must(t, testkit.Await(t, done, "the outcome"))
	conn.Store(nil)
	testkit.Must(t, s.Close())
	for turn, n := range inTurn {
		if n > budget {
			t.Errorf("%d bytes were written in turn %d", n, turn)
		}
	}
}

// The outcomes are successes and failures.
func TestOutcomesComeInTheOrderOfTheWrites(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, Socket: tight()})
		c, _ := p.connect(t, s)
		var mu sync.Mutex
		var order []int
		n, bad := 0, 0
		for ; ; n++ {
			i := n
			done := func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if order = append(order, i); err != nil {
					bad++
				}
			}
			var err error
			if n%2 == 0 {
				err = c.WriteOwned(make([]byte, 5000), done)
			} else {
				err = c.WriteNotify(make([]byte, 5000), done)
			}
			if err != nil {
				testkit.CheckErr(t, "a write", err, server.ErrFull)
				if n := s.Stats().Full; n != 1 {
					t.Errorf("Full is %d, want 1", n)
				}
				break
			}
		}
		c.Abort()
		testkit.Await(t, p.closed, "Close")
		mu.Lock()
		defer mu.Unlock()
		if len(order) != n || !slices.IsSorted(order) || bad == 0 {
			t.Errorf("%d writes, %d outcomes, %d bad, in order: %v", n, len(order), bad, slices.IsSorted(order))
		}
	})
}

// recording is a framing of lines that records its cursors.
type recording struct {
	framing.Framing
	cursors chan int
}

func (f recording) Next(data []byte, cursor int, atEOF bool) (framing.Result, error) {
	if len(data) > 0 {
		offer(f.cursors, cursor)
	}
	return f.Framing.Next(data, cursor, atEOF)
}

// The cursor is kept from one read to the next, so that a long message is not scanned again after each read.
func TestAFramingsCursorIsKept(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		f := recording{framing.Lines{}, make(chan int, 100)}
		d := &server.Dispatcher{Framing: f, Serve: func(w server.Reply, p []byte) { _, _ = w.Write(append(p, '\n')) }}
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		for i, part := range []string{"0123456789", "abcdefghij", "klm\nrest", "of it"} {
			send(t, nc, part)
			if got, want := testkit.Await(t, f.cursors, "Next"), []int{0, 10, 20, 4}[i]; got != want {
				t.Errorf("part %d: Next is called with place %d, want %d", i, got, want)
			}
			if i == 2 {
				expect(t, nc, "0123456789abcdefghijklm\n")
				testkit.Until(t, "the end of the request", func() bool { return s.Stats().RunningRequests == 0 })
				for c := range s.Conns() {
					for range 3 { // turns, in which the loop finds the rest of the line
						onLoop(t, c, func() {})
					}
				}
				for len(f.cursors) > 0 {
					<-f.cursors
				}
			}
		}
	})
}
