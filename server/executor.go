package server

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// An Executor runs the requests that do not run on a loop. The server has one of its own, a [Pool] with Server.Workers and Server.Queue.
// Further ones, of any type, are the values of Server.Executors; an [ExecutorHandler] chooses between them. So the requests of a slow route
// do not take the workers of a quick one.
type Executor interface {
	// Execute takes jobs from the front of the slice, as many as there is room for, and returns their number. It makes other goroutines,
	// which may block, call Run of each of these jobs once. It must not block and must not call Run itself.
	//
	// If Execute takes fewer jobs than it is given, the Executor calls room.HasRoom once, on any goroutine, when it has room again. It should
	// do so when it has room for many jobs, since each call wakes the loop. One call is enough for several calls of Execute with the same room;
	// rooms can be compared. The jobs that were not taken belong to the server, which gives them to Execute again, or refuses them, as
	// Server.WhenFull says.
	//
	// The jobs must begin in the order in which Execute was given them, unless there is a goroutine for each: otherwise a request that waits for
	// an older one of its connection could keep it from beginning. The slice belongs to the caller, and its jobs may be copied. Each loop makes
	// one call at a time, and several loops may call at the same time. Loop only.
	Execute(jobs []Job, room RoomWaiter) (taken int)
}

// A RoomWaiter has jobs for which an Executor had no room.
type RoomWaiter interface {
	// HasRoom reports that there is room. It does not block. Any goroutine.
	HasRoom()
}

// A Job has requests of one connection, which Run answers one after the other: one message of Requests.Serve, or up to 64 of an input of
// Requests.ServeInput. It is a small value, which may be copied.
type Job struct {
	ex     *executor
	in     *input
	packet *packetJob // in place of in
	number uint64     // of the claim of in, or unclaimed
}

// Run answers the requests of the job by calling their RequestHandler. It is called once, also if the connection or the server has ended
// meanwhile; then, and if Server.QueueTimeout has passed, it returns at once. A further call, on this value or on a copy of it, does nothing
// and counts as a fault in ExecutorStats. If the handler panics and Server.OnPanic is not set, Run panics, which ends the program. If the
// handler calls runtime.Goexit, Run ends its goroutine. The zero Job does nothing. May block; not in a callback.
func (j Job) Run() {
	switch {
	case j.packet != nil:
		j.packet.run()
	case j.in == nil:
	case j.number == unclaimed:
		j.in.run()
	case !j.in.claim.change(j.number, claimWaiting, claimStarted):
		j.runLate()
	case j.ex.isOwn():
		j.in.run()
	default:
		j.ex.begin()
		defer j.ex.end()
		j.in.run()
	}
}

// runLate is Run of a job whose requests the loop has taken from it, or that has run before.
func (j Job) runLate() {
	switch {
	case j.in.claim.change(j.number, claimTaken, claimNone): // the loop, which is taking them, discards the input
		j.ex.addQueued(-1)
	case j.in.claim.change(j.number, claimEmptied, claimNone):
		j.ex.srv.addBuffered(-inputOverhead)
		j.in.become(inputWithLoop)
		j.in.recycle()
		j.ex.addQueued(-1)
	default:
		j.ex.breaks(faultRun)
	}
}

// An executor is the state of an Executor in a server.
type executor struct {
	srv      *Server
	index    int    // its place in Server.executors
	name     string // its key in Server.Executors; the one of the server has none
	Executor Executor

	queued  atomic.Int64 // jobs that it has taken and that have not begun. The server's own pool counts them itself
	running atomic.Int64 // jobs that have begun and not ended. As queued
	apart   atomic.Int64 // handlers of its requests that have lost a loop to another goroutine; they run on a goroutine of the server's pool
	backlog atomic.Int64 // requests that wait on a loop until it has room
	busy    atomic.Uint64
	expired atomic.Uint64
	faults  [numExecutorFaults]atomic.Uint64
}

// isOwn reports whether the executor is the server's pool.
func (ex *executor) isOwn() bool { return ex.index == 0 }

// mayBlock reports whether a request may run on a loop, where it may block. A request for the server's pool would take the place of a worker,
// so one has to be free. One for another Executor takes the place of no worker of the server, but no other request of the Executor may have
// blocked a loop and still run.
func (ex *executor) mayBlock() bool {
	if ex.isOwn() {
		return !ex.srv.pool.IsBusy()
	}
	return ex.apart.Load() == 0
}

// addQueued adds n to the number of jobs that have not begun.
func (ex *executor) addQueued(n int) {
	if !ex.isOwn() {
		ex.queued.Add(int64(n))
	}
}

// begin counts a job that begins.
func (ex *executor) begin() {
	ex.srv.running.enter(maxJobs)
	ex.running.Add(1)
	ex.queued.Add(-1)
}

// end counts a job that has ended.
func (ex *executor) end() {
	ex.running.Add(-1)
	ex.srv.running.leave()
}

// ranUntaken counts a job that the Executor has run although it had not taken it. Its begin has lowered queued, where it was not counted.
func (ex *executor) ranUntaken() {
	ex.addQueued(1)
	ex.breaks(faultRun)
}

// An executorFault is a way in which an Executor may break its contract.
type executorFault uint8

const (
	faultTaken executorFault = iota // Execute has returned a number that is negative or larger than that of the jobs
	faultRun                        // Run was called again, or although the job was not taken
	faultRoom                       // HasRoom was called more often than Execute has taken less than all jobs
	numExecutorFaults
)

var executorFaults = [...]string{
	faultTaken: "Execute returned a number of jobs that it was not given",
	faultRun:   "a job was run more than once, or was run although it was not taken",
	faultRoom:  "HasRoom was called more than once",
}

// String returns a text about the fault.
func (f executorFault) String() string { return executorFaults[f] }

// breaks counts a fault of the Executor, and logs the first of its kind.
func (ex *executor) breaks(f executorFault) {
	if ex.faults[f].Add(1) == 1 {
		ex.srv.cfg.Logger.Warn("server: an Executor broke its contract", "executor", ex.name, slog.String("type", fmt.Sprintf("%T", ex.Executor)), "fault", f.String())
	}
}

// makeExecutors makes the executors, of which the first is the server's pool.
func (s *Server) makeExecutors() {
	s.own = new(Pool) // its workers are started last
	s.executors = []*executor{{srv: s, Executor: s.own}}
	s.executorsByName = map[string]*executor{"": s.executors[0]}
	for _, name := range s.cfg.executorNames() {
		ex := &executor{srv: s, index: len(s.executors), name: name, Executor: s.cfg.Executors[name]}
		s.executors = append(s.executors, ex)
		s.executorsByName[name] = ex
	}
}

// newJob makes a job of an input. Loop only.
func newJob(in *input) Job {
	j := Job{ex: in.request.ex, in: in}
	if !j.ex.isOwn() || j.ex.srv.cfg.QueueTimeout > 0 {
		j.number = in.claim.begin()
	}
	return j
}
