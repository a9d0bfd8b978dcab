package server_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// newPool starts a Pool, which ends after the server that is started next.
func newPool(t *testing.T, workers, queue int) *server.Pool {
	t.Helper()
	pool, err := server.NewPool(&server.PoolConfig{Workers: workers, Queue: queue})
	testkit.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		testkit.Must(t, pool.Shutdown(ctx))
	})
	return pool
}

// byWord is a Dispatcher of lines whose first word, up to a space, is the name of the executor; "own" is the server's pool.
func byWord(p server.Placement, concurrent int, serve func(w server.Reply, line string)) *server.Dispatcher {
	word := func(line []byte) string {
		name, _, _ := strings.Cut(string(line), " ")
		if name == "own" {
			return ""
		}
		return name
	}
	return &server.Dispatcher{Framing: framing.Lines{}, Placement: p, Concurrent: concurrent, ExecutorFor: word,
		Serve: func(w server.Reply, line []byte) {
			serve(w, string(line))
			_, _ = w.Write(append(line, '\n')) // fails only if the client has disconnected
		}}
}

// executorStats returns the statistics of the executor with this name.
func (s *running) executorStats(t *testing.T, name string) server.ExecutorStats {
	t.Helper()
	for _, st := range s.Stats().Executors {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("no statistics of the executor %q", name)
	return server.ExecutorStats{}
}

// countingExecutor counts the jobs that another Executor is given.
type countingExecutor struct {
	server.Executor
	jobs atomic.Int64
}

func (e *countingExecutor) Execute(jobs []server.Job, room server.RoomWaiter) (taken int) {
	taken = e.Executor.Execute(jobs, room)
	e.jobs.Add(int64(taken))
	return taken
}

// All workers of the slow route are held, its queue is full, and requests wait for room. The quick route is not delayed, with one worker,
// and also on a connection that the same loop serves.
func TestASlowRouteDoesNotTakeTheWorkersOfAQuickOne(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		release := make(chan struct{})
		s := start(t, r, &server.Server{Workers: 1, Queue: 1, Executors: map[string]server.Executor{"slow": newPool(t, 2, 1)},
			Handler: byWord(p, 1, func(_ server.Reply, line string) {
				if strings.HasPrefix(line, "slow") {
					<-release
				}
			})})
		const clients = 10
		var slow []net.Conn
		for range clients {
			nc := s.dial(t)
			send(t, nc, "slow 1\nown 2\nslow 3\n")
			slow = append(slow, nc)
		}
		testkit.Until(t, "all slow requests", func() bool {
			st := s.executorStats(t, "slow")
			return s.Stats().RunningRequests+st.Queued+st.Backlog == clients && st.Running == 2 && st.Queued == 1 && st.Backlog > 0
		})
		if st := s.executorStats(t, "slow"); st.Workers != 2 {
			t.Errorf("%+v: want 2 workers", st)
		}
		quick := s.dial(t)
		for range 3 {
			testkit.Must(t, pipelined(quick, "own", 200))
		}
		close(release)
		for _, nc := range slow {
			expect(t, nc, "slow 1\nown 2\nslow 3\n")
		}
		hangUp(append(slow, quick)...)
		s.shutdown(t)
		s.drained(t)
		if st := s.executorStats(t, "slow"); st != (server.ExecutorStats{Name: "slow", Workers: 2}) {
			t.Errorf("%+v", st)
		}
	})
}

// A handler of another executor that blocks the loop takes no worker of the server. While it does, no other of its executor runs on a loop.
func TestABlockedLoopTakesNoWorkerForAnotherExecutor(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		release := make(chan struct{})
		begun := make(chan bool, 10)
		s := start(t, r, &server.Server{Workers: 1, Executors: map[string]server.Executor{"slow": newPool(t, 1, 10)},
			Handler: byWord(server.OnLoop, 1, func(w server.Reply, _ string) {
				begun <- server.BeganOnLoop(w)
				<-release
			})})
		other := listenAlso(t, s, byWord(server.OnWorkers, 1, func(server.Reply, string) {}))
		var all []net.Conn
		for i := range 3 {
			nc := s.dial(t)
			send(t, nc, "slow\n")
			if i < 2 {
				if onLoop := testkit.Await(t, begun, "a slow request"); onLoop != (i == 0) {
					t.Errorf("slow request %d began on a loop: %v", i, onLoop)
				}
				testkit.Until(t, "a loop", func() bool { return s.Stats().RunningRequests == i+1 }) // the first has lost its loop
			}
			all = append(all, nc)
		}
		testkit.Must(t, pipelined(other.dial(t), "own", 100))
		close(release)
		for _, nc := range all {
			expect(t, nc, "slow\n")
		}
		hangUp(all...)
		s.shutdown(t)
		if n := s.routes().TakenOver; n != 1 {
			t.Errorf("%d requests have lost a loop, want 1", n)
		}
	})
}

// Answers come in the order of the requests, whichever executor has a message, and each executor runs the messages that belong to it.
func TestAnswersKeepTheOrderAcrossExecutors(t *testing.T) {
	for _, concurrent := range []int{1, 8} {
		t.Run(fmt.Sprint("concurrent=", concurrent), func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				const lines, clients = 300, 4
				two := &countingExecutor{Executor: newPool(t, 2, 3)}
				each := &countingExecutor{Executor: new(perJob)}
				s := start(t, r, &server.Server{Workers: 2, Queue: 3, Executors: map[string]server.Executor{"two": two, "each": each},
					Handler: byWord(server.OnWorkers, concurrent, func(w server.Reply, line string) {
						if strings.HasSuffix(line, "7") {
							_ = w.Flush()
						}
					})})
				var all sync.WaitGroup
				for range clients {
					nc := s.dial(t)
					all.Go(func() {
						defer nc.Close()
						var b strings.Builder
						for i := range lines {
							fmt.Fprintf(&b, "%s %d\n", []string{"own", "two", "each"}[i%3], i)
						}
						sent := make(chan error, 1)
						go func() { _, err := nc.Write([]byte(b.String())); sent <- err }()
						expect(t, nc, b.String())
						testkit.Must(t, <-sent)
					})
				}
				all.Wait()
				s.shutdown(t)
				s.drained(t)
				if two.jobs.Load() != clients*lines/3 || each.jobs.Load() != clients*lines/3 {
					t.Errorf("the executors were given %d and %d jobs, want %d", two.jobs.Load(), each.jobs.Load(), clients*lines/3)
				}
			})
		})
	}
}

// lateExecutor is an Executor whose first call of Execute waits for the end of the second, on another loop.
type lateExecutor struct {
	server.Executor
	calls  atomic.Int32
	second chan struct{}
}

func (e *lateExecutor) Execute(jobs []server.Job, room server.RoomWaiter) (taken int) {
	switch e.calls.Add(1) {
	case 1:
		<-e.second
	case 2:
		defer close(e.second)
	}
	return e.Executor.Execute(jobs, room)
}

// The loops of two connections hand over requests at the same time, so that in each of two executors with one goroutine the newer request of
// one connection is before the older one of the other. If the newer ones ran, each would wait in Flush for an older one that does not begin.
func TestConcurrentRequestsForTwoExecutorsDoNotBlockEachOther(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		late := &lateExecutor{Executor: newPool(t, 1, 100), second: make(chan struct{})}
		s := start(t, rig{network, false, 2}, &server.Server{Executors: map[string]server.Executor{"a": newPool(t, 1, 100), "b": late},
			Handler: byWord(server.OnWorkers, 16, func(w server.Reply, _ string) { _, _ = w.WriteString("x"); _ = w.Flush() })})
		one, two := s.dial(t), s.dial(t)
		send(t, one, "b\na\n")
		testkit.Until(t, "the first requests", func() bool { return late.calls.Load() == 1 })
		send(t, two, "a\nb\n")
		expect(t, two, "xa\nxb\n")
		expect(t, one, "xb\nxa\n")
		hangUp(one, two)
		s.shutdown(t)
	}
}

// Each request of a message that waits for another executor ends with its connection.
func TestRequestsThatWaitForAnotherExecutorEndWithTheirConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		release := make(chan struct{})
		reasons, closed := closings()
		d := byWord(server.OnWorkers, 16, func(server.Reply, string) { <-release })
		d.Closed = closed
		s := start(t, r, &server.Server{Executors: map[string]server.Executor{"a": newPool(t, 1, 10)}, Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nown\nown\na\n")
		testkit.Until(t, "the first request", func() bool { return s.Stats().RunningRequests == 1 && s.Stats().BytesRead == 12 })
		for c := range s.Conns() {
			c.Abort()
		}
		close(release)
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrAborted)
		s.shutdown(t)
		s.drained(t)
	})
}

// The calls that are given the handler return ErrInvalid. A name that is known only from the message ends its connection with ErrHandler,
// after the answers to the requests before.
func TestAnUnknownExecutorIsRefused(t *testing.T) {
	unknown := byWord(server.Adaptive, 1, func(server.Reply, string) {})
	unknown.Executor = "none"
	bad := &server.Server{Handler: unknown}
	testkit.CheckErr(t, "Start", bad.Start(), server.ErrInvalid)
	for name, srv := range map[string]*server.Server{
		`Executors[""]`:  {Executors: map[string]server.Executor{"": newPool(t, 1, 1)}},
		`Executors["x"]`: {Executors: map[string]server.Executor{"x": nil}},
		`Executors["y"]`: {Executors: map[string]server.Executor{"y": (*server.Pool)(nil)}},
		`Executors["z"]`: {Executors: map[string]server.Executor{"z": new(server.Pool)}},
	} {
		srv.Handler = server.HandlerFunc(echo)
		err := srv.Start()
		if testkit.CheckErr(t, "Start", err, server.ErrInvalid); err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	for _, concurrent := range []int{1, 4} {
		eachDispatcher(t, func(t *testing.T, handler func(d *server.Dispatcher) server.Handler) {
			reasons, closed := closings()
			d := byWord(server.Adaptive, concurrent, func(server.Reply, string) {})
			d.Closed = closed
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: handler(d), Executors: map[string]server.Executor{"known": newPool(t, 1, 1)}})
			nc := s.dial(t)
			send(t, nc, "own\nknown\nother\nown\n")
			expect(t, nc, "own\nknown\n")
			expectEOF(t, nc)
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrHandler)
			_, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: handler(unknown)})
			testkit.CheckErr(t, "Listen", err, server.ErrInvalid)
			nc = s.dial(t)
			send(t, nc, "own\n")
			expect(t, nc, "own\n")
			for c := range s.Conns() {
				testkit.CheckErr(t, "SetHandler", c.SetHandler(handler(unknown)), server.ErrInvalid)
			}
		})
	}
}
