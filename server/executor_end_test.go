package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// heldExecutor takes all jobs, and runs them when the test says so.
type heldExecutor struct {
	mu   sync.Mutex // guards jobs
	jobs []server.Job
}

func (e *heldExecutor) Execute(jobs []server.Job, _ server.RoomWaiter) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.jobs = append(e.jobs, jobs...)
	return len(jobs)
}

// len returns the number of jobs. ExecutorStats.Queued has those that are being handed over, too.
func (e *heldExecutor) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.jobs)
}

// runAll runs the jobs, one after the other.
func (e *heldExecutor) runAll() {
	e.mu.Lock()
	jobs := e.jobs
	e.jobs = nil
	e.mu.Unlock()
	for _, j := range jobs {
		j.Run()
	}
}

// startHeld starts a server with a heldExecutor, sends a request on each of some connections, and waits until it has the jobs.
func startHeld(t *testing.T, r rig, concurrent, clients int, serve func(w server.Reply, line string)) (*running, *heldExecutor, []net.Conn) {
	t.Helper()
	e := new(heldExecutor)
	s := start(t, r, &server.Server{Executors: map[string]server.Executor{"held": e}, Handler: byWord(server.OnWorkers, concurrent, serve)})
	var all []net.Conn
	for range clients {
		nc := s.dial(t)
		send(t, nc, "held 1\n")
		all = append(all, nc)
	}
	testkit.Until(t, "the jobs", func() bool { return e.len() == clients && s.executorStats(t, "held").Queued == clients })
	return s, e, all
}

// A Shutdown waits for jobs that wait in an Executor of the program, and for those that run.
func TestShutdownWaitsForTheJobsOfAnExecutor(t *testing.T) {
	for _, concurrent := range []int{1, 4} {
		each(t, func(t *testing.T, r rig) {
			release, begun := make(chan struct{}), make(chan struct{}, 10)
			s, e, all := startHeld(t, r, concurrent, 2, func(server.Reply, string) { begun <- struct{}{}; <-release })
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(context.Background()) }()
			testkit.Until(t, "the shutdown's begin", func() bool { return errors.Is(s.Start(), server.ErrServerClosed) })
			var ran sync.WaitGroup
			ran.Go(e.runAll)
			testkit.Await(t, begun, "a request")
			if st := s.Stats(); st.RunningRequests != 1 || st.QueuedRequests != 1 || len(ended) > 0 {
				t.Errorf("%d requests run, %d wait; want 1, 1", st.RunningRequests, st.QueuedRequests)
			}
			close(release)
			for _, nc := range all {
				expect(t, nc, "held 1\n")
				expectEOF(t, nc)
			}
			hangUp(all...)
			testkit.Must(t, testkit.Await(t, ended, "Shutdown's end"))
			s.drained(t)
			ran.Wait()
		})
	}
}

// When the context of a Shutdown ends, it waits neither for jobs that an Executor does not run nor for a handler that hangs, which it
// counts. When the jobs are run afterwards, they do nothing.
func TestShutdownDoesNotWaitForAnExecutorThatRunsNothing(t *testing.T) {
	t.Parallel()
	for _, concurrent := range []int{1, 4} {
		each(t, func(t *testing.T, r rig) {
			release, begun := make(chan struct{}), make(chan struct{}, 10)
			s, e, all := startHeld(t, r, concurrent, 3, func(server.Reply, string) { begun <- struct{}{}; <-release })
			var ran sync.WaitGroup
			ran.Go(e.runAll)
			testkit.Await(t, begun, "a request")
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			var late *server.ShutdownError
			if err := s.Shutdown(ctx); !errors.As(err, &late) || late.Handlers != 1 || late.Conns != 3 {
				t.Errorf("Shutdown: %v; want 1 handler and 3 connections", err)
			}
			close(release)
			ran.Wait()
			if len(begun) > 0 {
				t.Errorf("%d requests have begun after the server's end", len(begun))
			}
			hangUp(all...)
			testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
			s.drained(t)
		})
	}
}

// faultyExecutor breaks the contract of Executor in one way.
type faultyExecutor func(jobs []server.Job, room server.RoomWaiter) (taken int)

func (f faultyExecutor) Execute(jobs []server.Job, room server.RoomWaiter) int { return f(jobs, room) }

// faultyExecutors returns Executors that break their contract, by the way in which they do. good is used by them.
func faultyExecutors(good *perJob) map[string]faultyExecutor {
	short := func(jobs []server.Job, room server.RoomWaiter) int { // takes all but one, and always has room
		if len(jobs) > 1 {
			jobs = jobs[:len(jobs)-1]
			good.Execute(jobs, room)
			room.HasRoom()
			return len(jobs)
		}
		return good.Execute(jobs, room)
	}
	return map[string]faultyExecutor{
		"returns too many": func(jobs []server.Job, room server.RoomWaiter) int { return good.Execute(jobs, room) + 1 },
		"returns a negative number": func(jobs []server.Job, room server.RoomWaiter) int {
			good.Execute(jobs, room)
			room.HasRoom()
			return -1
		},
		"runs jobs that it has not taken": func(jobs []server.Job, room server.RoomWaiter) int {
			for _, j := range jobs {
				good.running.Go(func() { j.Run(); room.HasRoom() })
			}
			return 0
		},
		"announces room although it has taken all": func(jobs []server.Job, room server.RoomWaiter) int {
			room.HasRoom()
			return good.Execute(jobs, room)
		},
		"runs jobs twice": func(jobs []server.Job, room server.RoomWaiter) int {
			return good.Execute(jobs, room) + 0*good.Execute(jobs, room)
		},
		"runs jobs again later": func(jobs []server.Job, room server.RoomWaiter) int {
			for _, j := range jobs {
				good.running.Go(func() {
					j.Run()
					runtime.Gosched()
					j.Run()
				})
			}
			return len(jobs)
		},
		"announces room twice": func(jobs []server.Job, room server.RoomWaiter) int {
			n := short(jobs, room)
			room.HasRoom()
			return n
		},
	}
}

// An Executor that breaks its contract is logged and counted. The answers to requests that it runs are right, and so are the gauges.
func TestAnExecutorThatBreaksItsContractIsReported(t *testing.T) {
	good := new(perJob)
	for name, execute := range faultyExecutors(good) {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := start(t, rig{"tcp", false, 2}, &server.Server{Executors: map[string]server.Executor{"bad": execute},
				Handler: byWord(server.OnWorkers, 1, func(server.Reply, string) {}), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			var all sync.WaitGroup
			for range 8 {
				nc := s.dial(t)
				all.Go(func() {
					defer nc.Close()
					for range 20 { // so that inputs are used again by other connections
						if err := pipelined(nc, "bad", 10); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			s.shutdown(t)
			good.running.Wait()
			s.drained(t)
			if st := s.executorStats(t, "bad"); st.Faults == 0 || st.Queued != 0 || st.Running != 0 || st.Backlog != 0 {
				t.Errorf("%+v; want faults, and 0 in each gauge", st)
			}
			if n := strings.Count(log.String(), "an Executor broke its contract"); n == 0 || n > 3 {
				t.Errorf("faults were logged %d times; want once for each kind:\n%s", n, log.String())
			}
		})
	}
}

// The connections of an Execute that panics, with OnPanic, or calls runtime.Goexit end with ErrPanic. The loop and the server's own pool
// continue, and no request is counted any more.
func TestAnExecuteThatDoesNotReturnEndsItsConnections(t *testing.T) {
	for name, stop := range map[string]func(){"panic": func() { panic("of the test") }, "Goexit": runtime.Goexit} {
		for _, concurrent := range []int{1, 4} {
			t.Run(name, func(t *testing.T) {
				each(t, func(t *testing.T, r rig) {
					reasons, closed := closings()
					d := byWord(server.OnWorkers, concurrent, func(server.Reply, string) {})
					d.Closed = closed
					panics := make(chan any, 100)
					s := start(t, r, &server.Server{Handler: d, OnPanic: func(_ *server.Conn, v any, _ []byte) { panics <- v },
						Executors: map[string]server.Executor{"bad": faultyExecutor(func([]server.Job, server.RoomWaiter) int { stop(); return 0 })}})
					other := s.dial(t)
					testkit.Must(t, pipelined(other, "own", 10))
					for range 3 {
						nc := s.dial(t)
						send(t, nc, "bad\n")
						testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrPanic)
						testkit.Must(t, pipelined(other, "own", 10))
						hangUp(nc)
					}
					if name == "panic" && testkit.Await(t, panics, "OnPanic") != "of the test" {
						t.Error("OnPanic was given another value")
					}
					testkit.WantEqual(t, "requests in the Executor", s.executorStats(t, "bad").Queued, 0)
					hangUp(other)
					s.shutdown(t)
					s.drained(t)
				})
			})
		}
	}
}

// An Executor may call HasRoom after the end of the server. The program, which still runs the loop, does not notice it.
func TestRoomAfterTheEndOfAServerDoesNotReachItsLoops(t *testing.T) {
	loops := programLoops(t, 1, event.DriverDefault)
	rooms := make(chan server.RoomWaiter, 100)
	s := start(t, rig{"tcp", false, 0}, &server.Server{UseLoops: loops, Handler: byWord(server.OnWorkers, 1, func(server.Reply, string) {}),
		Executors: map[string]server.Executor{"full": faultyExecutor(func(_ []server.Job, room server.RoomWaiter) int { rooms <- room; return 0 })}})
	nc := s.dial(t)
	send(t, nc, "full\n")
	room := testkit.Await(t, rooms, "a request without room")
	testkit.Must(t, s.Close())
	hangUp(nc)
	checkUsable(t, loops[0])
	before := loops[0].Stats().Callbacks
	for range 3 {
		room.HasRoom()
		checkUsable(t, loops[0])
	}
	testkit.WantEqual(t, "callbacks", loops[0].Stats().Callbacks, before)
}

// A Pool of several servers runs the requests of all. It ends after them.
func TestServersMayShareAPool(t *testing.T) {
	pool := newPool(t, 2, 1)
	executors := map[string]server.Executor{"shared": pool}
	var all sync.WaitGroup
	for _, r := range rigs() {
		s := start(t, r, &server.Server{Executors: executors, Handler: byWord(server.OnWorkers, 1, func(server.Reply, string) { runtime.Gosched() })})
		for range 4 {
			nc := s.dial(t)
			all.Go(func() {
				defer nc.Close()
				if err := pipelined(nc, "shared", 200); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if st := pool.Stats(); st.Workers != 2 || st.MaxQueued != 1 || st.Queued != 0 {
		t.Errorf("%+v", st)
	}
}

// A Pool refuses invalid numbers. Shutdown waits until its requests have run, or until the context ends.
func TestAPoolEndsWhenItsRequestsHaveRun(t *testing.T) {
	for _, cfg := range []server.PoolConfig{{Workers: -1}, {Workers: 1 << 21}} {
		_, err := server.NewPool(&cfg)
		testkit.CheckErr(t, "NewPool", err, server.ErrInvalid)
	}
	pool, err := server.NewPool(nil)
	testkit.Must(t, err)
	if n := pool.Workers(); n != server.DefaultWorkers {
		t.Errorf("%d workers, want %d", n, server.DefaultWorkers)
	}
	release, begun := make(chan struct{}), make(chan struct{}, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Executors: map[string]server.Executor{"pool": pool},
		Handler: byWord(server.OnWorkers, 1, func(server.Reply, string) { begun <- struct{}{}; <-release })})
	nc := s.dial(t)
	send(t, nc, "pool\n")
	testkit.Await(t, begun, "the request")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	testkit.CheckErr(t, "Shutdown", pool.Shutdown(ctx), context.Canceled)
	testkit.CheckErr(t, "Shutdown", pool.Shutdown(nil), server.ErrInvalid) //nolint:staticcheck // on purpose
	close(release)
	testkit.Must(t, pool.Shutdown(context.Background()))
	expect(t, nc, "pool\n")
	testkit.Must(t, pool.Close())
}
