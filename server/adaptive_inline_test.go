package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Each line of a pipeline runs on the loop, and not only the first.
func TestQuickHandlersRunOnTheLoop(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		var inline atomic.Int32
		s := start(t, r, &server.Server{Handler: placed(server.Adaptive, func(w server.Reply, line string) string {
			if server.BeganOnLoop(w) {
				inline.Add(1)
			}
			return line
		})})
		nc := s.dial(t)
		requests := uint64(0)
		testkit.Until(t, "a hundred requests on the loop", func() bool {
			testkit.Must(t, pipelined(nc, "one", 1))
			requests++
			return s.routes().Inline >= 100
		})
		testkit.Until(t, "the count of the last request", func() bool { // it follows the answer
			st := s.routes()
			return st.Inline+st.OnWorkers == requests && uint64(inline.Load()) == st.Inline
		})
		testkit.Until(t, "a pipeline on the loop", func() bool {
			before := inline.Load()
			testkit.Must(t, pipelined(nc, "many", 50))
			return inline.Load()-before == 50
		})
		hangUp(nc)
		s.shutdown(t)
	})
}

// OnLoop and OnWorkers are kept. Only requests that may run on a loop have a route.
func TestAPlacementIsKept(t *testing.T) {
	needsLeaders(t)
	for _, p := range []server.Placement{server.OnLoop, server.OnWorkers} {
		t.Run(p.String(), func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				s := start(t, r, &server.Server{Handler: placed(p, func(w server.Reply, line string) string {
					time.Sleep(100 * time.Microsecond)
					return fmt.Sprint(server.BeganOnLoop(w))
				})})
				server.StopTicks(s.Server) // a sleep may take two of them
				nc := s.dial(t)
				for range 20 {
					send(t, nc, "x\nx\n")
					want := fmt.Sprintln(p == server.OnLoop)
					expect(t, nc, want+want)
				}
				hangUp(nc)
				s.shutdown(t)
				st := s.RouteStats()
				if p == server.OnLoop && (len(st) != 1 || st[0].Inline != 40 || st[0].OnWorkers != 0) || p == server.OnWorkers && len(st) != 0 {
					t.Errorf("the routes are %v", st)
				}
			})
		})
	}
}

// No other goroutine can run such a loop while a handler on it blocks.
func TestLoopsWithoutALeaderUseWorkers(t *testing.T) {
	for _, p := range placements {
		newServers := map[string]func() *server.Server{
			"thread": func() *server.Server {
				return &server.Server{LoopConfig: &event.Config{Driver: event.DriverThread}}
			},
			"UseLoops": func() *server.Server {
				return &server.Server{UseLoops: programLoops(t, 2, event.DriverDefault)}
			},
		}
		for name, newServer := range newServers {
			t.Run(fmt.Sprint(name, " ", p), func(t *testing.T) {
				srv := newServer()
				srv.Handler = placed(p, func(w server.Reply, line string) string { return fmt.Sprint(server.BeganOnLoop(w)) })
				s := start(t, rig{"tcp", false, 0}, srv)
				nc := s.dial(t)
				for range 30 {
					send(t, nc, "x\n")
					expect(t, nc, "false\n")
				}
				if st := s.RouteStats(); len(st) != 0 {
					t.Errorf("the routes are %v", st)
				}
				hangUp(nc)
				s.shutdown(t)
			})
		}
	}
}

// A handler that always blocks for a millisecond never runs at two ticks, but its trials take too long. The loop has a clock of the test,
// which determines for how long workers run the handler.
func TestAHandlerThatBlocksBetweenTicksIsFoundByItsTime(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		clock := testkit.NewClock()
		s := start(t, r, &server.Server{NumLoops: 1, LoopConfig: &event.Config{Clock: clock}, Handler: placed(server.Adaptive, func(_ server.Reply, line string) string {
			time.Sleep(time.Millisecond)
			return line
		})})
		server.StopTicks(s.Server)
		nc := s.dial(t)
		for trials := uint64(1); trials <= 3; trials++ {
			for range 30 {
				testkit.Must(t, pipelined(nc, "x", 1))
			}
			if st := s.routes(); st.Inline != 2*trials || st.OnWorkers != 28*trials || st.TakenOver != 0 {
				t.Errorf("after trial %d: %v; want 2 on the loop and 28 on workers for each", trials, st)
			}
			clock.Advance(400 * time.Millisecond)
		}
		hangUp(nc)
		testkit.Must(t, s.Close())
	})
}

// A slow route of a handler is given to the workers, and the others remain on the loop.
func TestEachRouteOfAHandlerIsMeasuredSeparately(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		d := placed(server.Adaptive, func(_ server.Reply, line string) string {
			if strings.HasPrefix(line, "slow") {
				time.Sleep(time.Millisecond)
			}
			return line
		})
		d.Route = func(message []byte) []byte { return message[:5] }
		s := start(t, r, &server.Server{NumLoops: 1, Handler: d})
		slow, quick := s.dial(t), s.dial(t)
		byKey := func(key string) server.RouteStats {
			for _, st := range s.RouteStats() {
				if st.Key == key {
					return st
				}
			}
			return server.RouteStats{}
		}
		testkit.Until(t, "hundred quick requests on the loop, and slow ones on workers", func() bool {
			testkit.Must(t, pipelined(slow, "slow.", 1))
			testkit.Must(t, pipelined(quick, "quick", 5))
			return byKey("quick").Inline >= 100 && byKey("slow.").OnWorkers >= 20
		})
		if st := byKey("slow."); st.Inline >= st.OnWorkers {
			t.Errorf("most slow requests ran on the loop: %v", st)
		}
		hangUp(slow, quick)
		s.shutdown(t)
	})
}

// The allocations of the client count, too.
func TestARequestOnTheLoopAllocatesNothing(t *testing.T) {
	needsLeaders(t)
	answer := []byte("an answer that is always the same")
	release := func(error) {}
	for how, serve := range map[string]func(w server.Reply) error{
		"Write":      func(w server.Reply) error { return second(w.Write(answer)) },
		"WriteOwned": func(w server.Reply) error { return w.WriteOwned(answer, release) },
		"Notify":     func(w server.Reply) error { return errors.Join(second(w.Write(answer)), w.Notify(release)) },
	} {
		for _, routed := range []bool{false, true} {
			var elsewhere atomic.Int32
			d := echoLines()
			d.Placement = server.OnLoop
			if routed {
				d.Placement, d.Route = server.Adaptive, func(message []byte) []byte { return message }
			}
			d.Serve = func(w server.Reply, _ []byte) {
				if !server.BeganOnLoop(w) {
					elsewhere.Add(1)
				}
				if err := serve(w); err != nil {
					t.Error(err)
				}
			}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
			nc := s.dial(t)
			request, buf := []byte("request\n"), make([]byte, len(answer))
			round := func() {
				if _, err := nc.Write(request); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(nc, buf); err != nil {
					t.Fatal(err)
				}
			}
			if n := allocations(0, round); n > 0 {
				t.Errorf("%s, routed %v: %.1f allocations for each request", how, routed, n)
			}
			if n := elsewhere.Load(); n > 0 && !routed {
				t.Errorf("%s: %d requests ran on workers", how, n)
			}
		}
	}
}

// A tick makes the leader run a turn before the next request, of another connection or of the same: many short handlers do not delay
// posts and timers. Here a handler calls the tick.
func TestATurnIsRunBetweenShortHandlers(t *testing.T) {
	needsLeaders(t)
	const clients, lines, ticked = 40, 5, 10
	for _, p := range []server.Placement{server.OnLoop, server.Adaptive} {
		t.Run(p.String(), func(t *testing.T) {
			var s *running
			var requests atomic.Int32
			hold, held := make(chan struct{}), make(chan struct{})
			calledAt := make(chan int32, 2)
			s = start(t, rig{"tcp", false, 1}, &server.Server{Handler: placed(p, func(w server.Reply, line string) string {
				if line == "hold" {
					close(held)
					<-hold
					requests.Store(0)
					return line
				}
				if n := requests.Add(1); n == ticked && line == "count" {
					note := func() { calledAt <- requests.Load() }
					testkit.Must(t, w.Conn().Loop().Post(note))
					testkit.Must(t, second(w.Conn().Loop().AfterFunc(0, note)))
					server.Tick(s.Server, false)
				}
				return line
			})})
			server.StopTicks(s.Server)
			var all []net.Conn
			for range clients {
				nc := s.dial(t)
				all = append(all, nc)
				testkit.Until(t, "a quick route", func() bool { // a trial may take too long on a busy machine
					before := s.routes().Inline
					testkit.Must(t, pipelined(nc, "quick", 10))
					return s.routes().Inline-before == 10
				})
			}
			first := s.dial(t)
			send(t, first, "hold\n")
			testkit.Await(t, held, "the first handler")
			for _, nc := range all { // all arrive in one turn
				send(t, nc, strings.Repeat("count\n", lines))
			}
			close(hold)
			for range 2 {
				if n := testkit.Await(t, calledAt, "a post and a timer"); n != ticked {
					t.Errorf("the loop made a turn after %d of %d requests, the tick was at %d", n, clients*lines, ticked)
				}
			}
			for _, nc := range all {
				expect(t, nc, strings.Repeat("count\n", lines))
			}
			expect(t, first, "hold\n")
			hangUp(append(all, first)...)
			s.shutdown(t)
		})
	}
}
