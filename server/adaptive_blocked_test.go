package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// waysToBlock are the ways in which a handler does not return for a time.
var waysToBlock = map[string]func(t *testing.T) func(w server.Reply, release <-chan struct{}){
	"receives": func(*testing.T) func(server.Reply, <-chan struct{}) {
		return func(_ server.Reply, release <-chan struct{}) { <-release }
	},
	"sleeps": func(*testing.T) func(server.Reply, <-chan struct{}) {
		return func(_ server.Reply, release <-chan struct{}) {
			for {
				select {
				case <-release:
					return
				default:
					time.Sleep(5 * time.Millisecond)
				}
			}
		}
	},
	"reads": func(t *testing.T) func(server.Reply, <-chan struct{}) {
		return func(_ server.Reply, release <-chan struct{}) {
			near, far := net.Pipe()
			go func() { <-release; far.Close() }()
			_, _ = near.Read(make([]byte, 1)) // until far is closed
			near.Close()
		}
	},
	"computes": func(*testing.T) func(server.Reply, <-chan struct{}) {
		return func(_ server.Reply, release <-chan struct{}) {
			var released atomic.Bool
			go func() { <-release; released.Store(true) }()
			for n := 0; !released.Load(); n++ {
				computed = n
			}
		}
	},
}

var computed int // keeps the compiler from removing a loop

// While the handler blocks, the loop serves its other connections, new ones, timers, posts, signals and handlers that are no RequestHandlers.
// The answer of the handler is sent afterwards, in its order.
func TestALoopContinuesWhileAHandlerOnItBlocks(t *testing.T) {
	needsLeaders(t)
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint("procs-", procs), func(t *testing.T) {
			before := runtime.GOMAXPROCS(procs)
			defer runtime.GOMAXPROCS(before)
			for name, way := range waysToBlock {
				t.Run(name, func(t *testing.T) {
					eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
						h := newHolder(p)
						h.wait = way(t)
						testBlockedLoop(t, start(t, r, &server.Server{NumLoops: 1, Handler: h.Dispatcher}), h)
					})
				})
			}
		})
	}
}

func testBlockedLoop(t *testing.T, s *running, h *holder) {
	direct := listenAlso(t, s, server.HandlerFunc(echo))
	old := s.dial(t)
	testkit.Must(t, pipelined(old, "old", 3))
	nc := s.dial(t)
	send(t, nc, "before\nhold\nafter\n")
	onLoop := testkit.Await(t, h.begun, "the handler")
	if onLoop != (h.Placement == server.OnLoop) && h.Placement != server.Adaptive {
		t.Errorf("a handler that is placed %v runs on the loop: %v", h.Placement, onLoop)
	}
	checkLoop(t, s.Loops()[0])
	testkit.Must(t, pipelined(old, "old", 20))
	for _, s := range []*running{s, direct} {
		fresh := s.dial(t)
		testkit.Must(t, pipelined(fresh, "new", 20))
		hangUp(fresh)
	}
	// A worker is counted until it has looked for another request, which may be after the answer.
	testkit.Until(t, "one handler by the counters", func() bool { return s.Stats().RunningRequests == 1 })
	// On a busy machine a quick handler may be interrupted for two ticks, too.
	if st := s.routes(); onLoop && (st.TakenOver < 1 || st.Stalls < 1) {
		t.Errorf("a handler has held the loop: %v", st)
	}
	send(t, nc, "last\n")
	close(h.release)
	expect(t, nc, "before\nhold\nafter\nlast\n")
	testkit.Until(t, "the handler's end", func() bool { return s.Stats().RunningRequests == 0 })
	hangUp(nc, old)
	s.shutdown(t)
	s.drained(t)
}

// checkLoop ends the test unless the loop calls functions that are posted, timers and signals.
func checkLoop(t *testing.T, l *event.Loop) {
	t.Helper()
	posted, fired, signalled := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	testkit.Must(t, l.Post(func() { posted <- struct{}{} }))
	testkit.Must(t, second(l.AfterFunc(time.Millisecond, func() { fired <- struct{}{} })))
	e, err := l.NewSignal(syscall.SIGWINCH, func(*event.Event, event.Flags) { offer(signalled, struct{}{}) })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, syscall.Kill(os.Getpid(), syscall.SIGWINCH))
	testkit.Await(t, posted, "a post")
	testkit.Await(t, fired, "a timer")
	testkit.Await(t, signalled, "a signal")
	testkit.Must(t, e.Del())
}

// Handlers block, one after the other, until all workers are busy and the queue is full. WhenFull applies to further requests. The loop
// continues with input, output, accepts, timers and deadlines.
func TestALoopContinuesWhenAllWorkersAreBlocked(t *testing.T) {
	needsLeaders(t)
	for policy, name := range map[server.FullPolicy]string{server.FullStopReading: "stop reading", server.FullRefuse: "refuse", server.FullCloseConn: "close"} {
		t.Run(name, func(t *testing.T) {
			eachPlacement(t, func(t *testing.T, r rig, p server.Placement) { testAllBlocked(t, r, p, policy) })
		})
	}
}

func testAllBlocked(t *testing.T, r rig, p server.Placement, policy server.FullPolicy) {
	const workers = 3
	h := newHolder(p)
	reasons := make(chan error, 100)
	h.Closed = func(_ *server.Conn, reason error) { reasons <- reason }
	srv := &server.Server{NumLoops: 1, Workers: workers, Queue: 1, WhenFull: policy, Handler: h.Dispatcher}
	if policy == server.FullRefuse {
		srv.BusyText = "busy\n"
	}
	s := start(t, r, srv)
	var all []net.Conn
	for i := range workers + 1 {
		nc := s.dial(t)
		send(t, nc, "hold\n")
		all = append(all, nc)
		testkit.Until(t, "the handlers", func() bool {
			st := s.Stats()
			return st.RunningRequests == min(i+1, workers) && st.QueuedRequests == max(0, i+1-workers)
		})
	}
	nc := s.dial(t)
	send(t, nc, "full\n")
	switch policy {
	case server.FullRefuse:
		expect(t, nc, "busy\n")
	case server.FullCloseConn:
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "the end of the connection"), server.ErrOverload)
	}
	checkLoop(t, s.Loops()[0])
	testkit.Must(t, pipelined(listenAlso(t, s, server.HandlerFunc(echo)).dial(t), "echo", 10))
	idle := newProbe(calls{open: func(c *server.Conn) { c.SetTimeouts(server.Timeouts{Idle: time.Millisecond}) }})
	listenAlso(t, s, idle).dialPlain(t)
	if !r.tls { // with TLS the handshake has a deadline of its own
		testkit.CheckErr(t, "a deadline", testkit.Await(t, idle.closed, "a deadline"), server.ErrIdle)
	}
	if st := s.Stats(); st.RunningRequests != workers {
		t.Errorf("%d handlers run, want %d", st.RunningRequests, workers)
	}
	close(h.release)
	for _, nc := range all {
		expect(t, nc, "hold\n")
	}
	if policy != server.FullCloseConn {
		if policy == server.FullStopReading {
			expect(t, nc, "full\n")
		}
		send(t, nc, "again\n")
		expect(t, nc, "again\n")
	}
	hangUp(append(all, nc)...)
	testkit.Must(t, s.Close())
	s.drained(t)
}

// The ticks are stopped, so that only the handler's call can make another goroutine run the loop. A call on a worker, a second one, and one
// after the end of the reply do nothing.
func TestAfterBlockingAnotherGoroutineRunsTheLoopAtOnce(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		h := newHolder(server.OnLoop)
		said := make(chan struct{}, 100)
		replies := make(chan server.Reply, 100)
		h.wait = func(w server.Reply, release <-chan struct{}) {
			replies <- w
			w.Blocking()
			w.Blocking()
			said <- struct{}{}
			<-release
			w.Blocking()
		}
		s := start(t, r, &server.Server{NumLoops: 1, Workers: 2, Handler: h.Dispatcher})
		server.StopTicks(s.Server)
		other := s.dial(t)
		var held []net.Conn
		for i := range 2 { // then all workers are busy
			testkit.Must(t, pipelined(other, "other", 10))
			nc := s.dial(t)
			held = append(held, nc)
			send(t, nc, "hold\nbehind\n")
			if !testkit.Await(t, h.begun, "the handler") {
				t.Errorf("handler %d has not begun on the loop", i)
			}
			testkit.Await(t, said, "Blocking")
			checkLoop(t, s.Loops()[0])
			if st := s.routes(); st.TakenOver != uint64(i+1) || st.Stalls != 0 {
				t.Errorf("after %d handlers: %v", i+1, st)
			}
		}
		held = append(held, s.dial(t))
		send(t, held[2], "hold\n")
		testkit.Until(t, "a request in the queue", func() bool { return s.Stats().QueuedRequests == 1 })
		close(h.release)
		if testkit.Await(t, h.begun, "the last handler") {
			t.Error("a handler began on the loop while all workers were busy")
		}
		expect(t, held[0], "hold\nbehind\n")
		expect(t, held[1], "hold\nbehind\n")
		expect(t, held[2], "hold\n")
		for range 3 {
			testkit.Await(t, replies, "a reply").Blocking()
		}
		testkit.Must(t, pipelined(other, "other", 10))
		if st := s.routes(); st.TakenOver != 2 {
			t.Errorf("calls on workers and after the end count: %v", st)
		}
		hangUp(append(held, other)...)
		s.shutdown(t)
	})
}

// The handler waits for the goroutine that calls Blocking.
func TestBlockingMayBeCalledOnAnotherGoroutine(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		h := newHolder(server.OnLoop)
		h.wait = func(w server.Reply, release <-chan struct{}) {
			go w.Blocking()
			<-release
		}
		s := start(t, r, &server.Server{NumLoops: 1, Handler: h.Dispatcher})
		server.StopTicks(s.Server)
		other, nc := s.dial(t), s.dial(t)
		testkit.Must(t, pipelined(other, "other", 1))
		send(t, nc, "hold\n")
		testkit.Await(t, h.begun, "the handler")
		testkit.Must(t, pipelined(other, "other", 10))
		close(h.release)
		expect(t, nc, "hold\n")
		hangUp(nc, other)
		s.shutdown(t)
	})
}

// A method of Reply that waits for room makes another goroutine run the loop, and does not fail with event.ErrOnLoop, also when another call
// has the reply's lock.
func TestAReplyThatWaitsForRoomDoesNotBlockTheLoop(t *testing.T) {
	needsLeaders(t)
	const size = 4 << 20
	big := make([]byte, size)
	file, err := os.Open(os.Args[0]) // longer than size
	testkit.Must(t, err)
	defer file.Close()
	for name, write := range map[string]func(w server.Reply) error{
		"Write":      func(w server.Reply) error { return second(w.Write(big)) },
		"WriteOwned": func(w server.Reply) error { return w.WriteOwned(big[:size-1], nil) },
		"SendFile": func(w server.Reply) error {
			return errors.Join(w.WriteOwned(big[:size-1001], nil), w.SendFile(file, 0, 1000, func(error) {}))
		},
		"Notify": func(w server.Reply) error {
			return errors.Join(w.WriteOwned(big[:size-1], nil), w.Notify(func(error) {}))
		},
		"Flush": func(w server.Reply) error { return second(w.Write(big[:size-1])) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				errs := make(chan error, 10)
				s := start(t, r, &server.Server{NumLoops: 1, Socket: tight(), MaxOutput: 64 << 10, Handler: placed(server.OnLoop, func(w server.Reply, line string) string {
					if line == "big" {
						errs <- write(w)
						if name != "Write" {
							errs <- second(w.Write([]byte("."))) // waits for room
							errs <- w.Flush()
						}
					}
					return line
				})})
				server.StopTicks(s.Server)
				other, nc := s.dial(t), s.dial(t)
				testkit.Must(t, pipelined(other, "other", 1))
				send(t, nc, "big\nnext\n")
				testkit.Until(t, "a reply without room", func() bool { return s.routes().TakenOver == 1 })
				testkit.Must(t, pipelined(other, "other", 10))
				if n, err := io.CopyN(io.Discard, nc, size); err != nil {
					t.Fatalf("%d bytes of the answer: %v", n, err)
				}
				expect(t, nc, "big\nnext\n")
				for len(errs) > 0 {
					testkit.Must(t, <-errs)
				}
				hangUp(nc, other)
				s.shutdown(t)
				s.drained(t)
			})
		})
	}
}

// A late tick follows a pause of the whole process, and the handler keeps the loop; so it does at a single tick, and at a tick that finds
// another handler than the tick before.
func TestAHandlerLosesTheLoopIfItRunsAtTwoTicks(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		h := newHolder(server.OnLoop)
		next := make(chan struct{})
		h.wait = func(_ server.Reply, release <-chan struct{}) {
			select {
			case <-release:
			case <-next:
			}
		}
		s := start(t, r, &server.Server{NumLoops: 1, Handler: h.Dispatcher})
		server.StopTicks(s.Server)
		nc := s.dial(t)
		tick := func(late, busy bool) {
			t.Helper()
			if got := server.Tick(s.Server, late); got != busy {
				t.Errorf("a tick (late: %v) says that a handler runs: %v", late, got)
			}
		}
		tick(false, false)
		send(t, nc, "hold\nhold\nhold\n")
		for range 2 { // each handler meets one tick, or two of which one is late
			testkit.Await(t, h.begun, "a handler")
			tick(false, true)
			tick(true, true)
			tick(false, true)
			tick(true, true)
			tick(true, true)
			tick(false, true)
			next <- struct{}{}
		}
		testkit.Await(t, h.begun, "a handler")
		tick(false, true)
		if st := s.routes(); st.TakenOver != 0 {
			t.Errorf("the loop was taken early: %v", st)
		}
		tick(false, true)
		testkit.Until(t, "another leader", func() bool { return s.routes().Stalls == 1 })
		tick(false, false)
		close(h.release)
		expect(t, nc, "hold\nhold\nhold\n")
		if n := s.routes().TakenOver; n != 1 {
			t.Errorf("%d handlers have lost the loop, want 1", n)
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

// The handler is counted whether another goroutine leads the loop already or not. When the handler returns, nothing of the server is left.
func TestAShutdownErrorCountsAHandlerThatBlocksALoop(t *testing.T) {
	needsLeaders(t)
	t.Parallel()
	ends := map[string]func(s *running) error{
		"Close": func(s *running) error { return s.Close() },
		"Shutdown": func(s *running) error {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			defer cancel()
			return s.Shutdown(ctx)
		},
		"Shutdown at once": func(s *running) error { return s.Shutdown(testkit.Canceled()) },
	}
	for name, end := range ends {
		for _, taken := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, taken %v", name, taken), func(t *testing.T) {
				t.Parallel()
				eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
					h := newHolder(p)
					s := start(t, r, &server.Server{Workers: 2, Handler: h.Dispatcher})
					nc := s.dial(t)
					send(t, nc, "hold\n")
					testkit.Await(t, h.begun, "the handler")
					if taken {
						testkit.Until(t, "another leader", func() bool { return s.Stats().RunningRequests == 1 })
					}
					var late *server.ShutdownError
					var err error
					testkit.Within(t, name, func() { err = end(s) })
					if !asError(err, &late) || late.Handlers != 1 || late.Loops != 0 {
						t.Errorf("%s: %v; want 1 handler and no loop", name, err)
					}
					close(h.release)
					testkit.Until(t, "the handler's end", func() bool { return s.Stats().RunningRequests == 0 && s.Stats().BufferedBytes == 0 })
					s.drained(t)
				})
			})
		}
	}
}
