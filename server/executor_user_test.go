package server_test

import (
	"cmp"
	"os"
	"sync"
	"testing"

	"github.com/evmq/evmq/server"
)

// channelExecutor is an Executor as a user writes one, with goroutines that receive jobs from a channel.
type channelExecutor struct {
	jobs chan server.Job
	done chan struct{} // closed by stop

	mu      sync.Mutex // guards the order of jobs, and waiters
	waiters []server.RoomWaiter
	workers sync.WaitGroup
}

func newChannelExecutor(workers, queue int) *channelExecutor {
	e := &channelExecutor{jobs: make(chan server.Job, queue), done: make(chan struct{})}
	for range workers {
		e.workers.Add(1)
		go e.work()
	}
	return e
}

func (e *channelExecutor) Execute(jobs []server.Job, room server.RoomWaiter) (taken int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for taken, j := range jobs {
		select {
		case e.jobs <- j:
		default: // a worker receives one of those in the channel later, and then finds room in waiters
			e.waiters = append(e.waiters, room)
			return taken
		}
	}
	return len(jobs)
}

func (e *channelExecutor) work() {
	over := false
	defer func() {
		if over {
			e.workers.Done()
		} else { // a handler has called runtime.Goexit
			go e.work()
		}
	}()
	for {
		select {
		case j := <-e.jobs:
			e.announceRoom()
			j.Run()
		case <-e.done:
			over = len(e.jobs) == 0
			if over {
				return
			}
		}
	}
}

// announceRoom calls HasRoom of those that wait, if half of the channel is free.
func (e *channelExecutor) announceRoom() {
	e.mu.Lock()
	var waiters []server.RoomWaiter
	if len(e.jobs) <= cap(e.jobs)/2 {
		waiters, e.waiters = e.waiters, nil
	}
	e.mu.Unlock()
	for _, w := range waiters {
		w.HasRoom()
	}
}

// stop ends the workers when the jobs that wait have run.
func (e *channelExecutor) stop() {
	close(e.done)
	e.workers.Wait()
}

// perJob is an Executor with a goroutine for each job.
type perJob struct{ running sync.WaitGroup }

func (e *perJob) Execute(jobs []server.Job, _ server.RoomWaiter) (taken int) {
	for _, j := range jobs {
		e.running.Go(j.Run)
	}
	return len(jobs)
}

// hasUserExecutor reports whether EVMQ_EXECUTOR=user is set: then a channelExecutor runs all requests of Dispatchers, in all tests.
func hasUserExecutor() bool { return os.Getenv("EVMQ_EXECUTOR") == "user" }

// useExecutor makes a channelExecutor with Workers and Queue of srv run the requests of its Dispatcher, if the environment chooses that.
func useExecutor(t testing.TB, srv *server.Server) {
	d, ok := server.FindHandler[*server.Dispatcher](srv.Handler)
	if !ok || d == nil || !hasUserExecutor() || srv.Executors != nil || srv.Workers < 0 {
		return
	}
	queue := cmp.Or(srv.Queue, server.DefaultQueue)
	if queue < 0 {
		queue = 1 << 20
	}
	e := newChannelExecutor(cmp.Or(srv.Workers, server.DefaultWorkers), queue)
	t.Cleanup(func() { // after the server's end
		if !t.Failed() { // otherwise a handler may hang
			e.stop()
		}
	})
	srv.Executors = map[string]server.Executor{"user": e}
	d.Executor, d.Placement = "user", server.OnWorkers
}
