package server

import (
	"runtime/debug"
	"sync/atomic"

	"github.com/evmq/evmq/event"
)

// A jobQueue is the part of a loop that hands requests to one Executor. Only the loop uses it, except for the fields that are marked Any
// goroutine.
type jobQueue struct {
	l            *loop
	ex           *executor
	batch        []Job        // of this turn, for submit
	batchConns   []*loopConn  // the connections of the jobs in batch
	backlog      []Job        // those that wait for room, the oldest first
	backlogConns []*loopConn  // the connections of the jobs in backlog. The Executor may have ended a request that has left it
	asked        atomic.Int64 // the calls of HasRoom that may follow. Any goroutine
	room         atomic.Bool  // HasRoom was called. Any goroutine
}

// maxJobs limits nothing: it is the argument of openCount.enter.
const maxJobs = int(^uint(0) >> 1)

// makeQueues makes the queues to the executors of the server.
func (l *loop) makeQueues() {
	l.queues = make([]jobQueue, len(l.srv.executors))
	for i := range l.queues {
		l.queues[i].l, l.queues[i].ex = l, l.srv.executors[i]
	}
}

// queueFor returns the queue for the requests of in.
func (l *loop) queueFor(in *input) *jobQueue { return &l.queues[in.request.ex.index] }

// add adds the requests of in to the batch.
func (q *jobQueue) add(in *input) {
	q.batch = append(q.batch, newJob(in))
	q.batchConns = append(q.batchConns, in.reply.c.loopPart())
}

// submitAll hands the batches of the queues over.
func (l *loop) submitAll() {
	for i := range l.queues {
		if q := &l.queues[i]; len(q.batch) > 0 {
			q.submit()
		}
	}
}

// submit hands the batch to the Executor, after the jobs of earlier turns. When the Executor is full, WhenFull applies.
func (q *jobQueue) submit() {
	q.dropUntaken()
	taken := 0
	if len(q.backlog) == 0 {
		taken = q.execute(q.batch)
	}
	for i := taken; i < len(q.batch); i++ {
		q.whenFull(q.batch[i], q.batchConns[i])
	}
	if q.l.waits.timeout > 0 {
		q.l.waits.add(q.batch)
	}
	q.empty()
}

// empty empties the batch.
func (q *jobQueue) empty() {
	clear(q.batch)
	clear(q.batchConns)
	q.batch, q.batchConns = q.batch[:0], q.batchConns[:0]
}

// execute calls Execute, and returns the number of jobs that it has taken.
func (q *jobQueue) execute(jobs []Job) (taken int) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		onPanic := q.l.srv.cfg.OnPanic
		if v != nil && onPanic == nil {
			panic(v)
		}
		q.abort(jobs)
		if v != nil {
			onPanic(nil, v, debug.Stack())
		}
	}()
	q.asked.Add(1) // before the call, since HasRoom may be called before it returns
	q.ex.addQueued(len(jobs))
	taken = q.ex.Executor.Execute(jobs, q)
	returned = true
	if taken < 0 || taken > len(jobs) {
		q.ex.breaks(faultTaken)
		taken = min(max(taken, 0), len(jobs))
	}
	if taken == len(jobs) {
		q.endCall()
	}
	q.ex.addQueued(taken - len(jobs))
	return taken
}

// abort is called when Execute has panicked or called runtime.Goexit with these jobs, which are those of the backlog or, if there is none,
// of the batch. It is not known which of them it has taken, so their connections are aborted. The Run of one that has not begun is a fault.
func (q *jobQueue) abort(jobs []Job) {
	for _, j := range jobs {
		if in := j.reclaim(); in != nil {
			q.ex.addQueued(-1)
			in.abandon(ErrPanic)
		}
	}
	if len(q.backlog) == 0 {
		q.empty()
	}
	for len(q.backlog) > 0 {
		q.popBacklog()
	}
}

// whenFull applies WhenFull to a job of c for which there is no room.
func (q *jobQueue) whenFull(j Job, c *loopConn) {
	s := q.l.srv
	if s.cfg.WhenFull == FullStopReading {
		q.backlog = append(q.backlog, j)
		q.backlogConns = append(q.backlogConns, c)
		q.ex.backlog.Add(1)
		c.startWaiting()
		return
	}
	in := j.reclaim()
	if in == nil {
		q.ex.ranUntaken()
		return
	}
	s.totals.busy.Add(1)
	q.ex.busy.Add(1)
	if s.cfg.WhenFull == FullRefuse {
		in.refuse()
	} else {
		in.abandon(ErrOverload)
	}
}

// HasRoom implements RoomWaiter. It wakes the loop, unless the server has left it. Any goroutine.
func (q *jobQueue) HasRoom() {
	q.endCall()
	q.room.Store(true)
	_ = q.l.roomEvent.Activate(0) // fails if the server has left the loop, which has no backlog then
}

// endCall subtracts one from asked: HasRoom was called, or must not be called for a call of Execute. Any goroutine.
func (q *jobQueue) endCall() {
	if q.asked.Add(-1) < 0 {
		q.asked.Add(1)
		q.ex.breaks(faultRoom)
	}
}

// roomReady is the callback of roomEvent.
func (l *loop) roomReady(*event.Event, event.Flags) {
	l.assertInLoop("the backlog")
	for i := range l.queues {
		if q := &l.queues[i]; q.room.Swap(false) && len(q.backlog) > 0 {
			q.submitBacklog()
		}
	}
}

// submitBacklog hands the jobs of the backlog to the Executor, as far as there is room.
func (q *jobQueue) submitBacklog() {
	if q.dropUntaken(); len(q.backlog) == 0 {
		return
	}
	for range q.execute(q.backlog) {
		q.popBacklog()
	}
}

// dropUntaken removes the oldest jobs from the backlog that the Executor has run, although it had not taken them.
func (q *jobQueue) dropUntaken() {
	for len(q.backlog) > 0 && !q.backlog[0].isWaiting() {
		q.ex.ranUntaken()
		q.popBacklog()
	}
}

// popBacklog removes the oldest job from the backlog.
func (q *jobQueue) popBacklog() {
	c := q.backlogConns[0]
	q.backlog[0], q.backlogConns[0] = Job{}, nil
	q.backlog, q.backlogConns = q.backlog[1:], q.backlogConns[1:]
	if len(q.backlog) == 0 {
		q.backlog, q.backlogConns = nil, nil
	}
	q.ex.backlog.Add(-1)
	c.stopWaiting()
}

// endAll ends the requests that wait on the loop, when it aborts its connections.
func (q *jobQueue) endAll() {
	for _, jobs := range [][]Job{q.backlog, q.batch} {
		for _, j := range jobs {
			if in := j.reclaim(); in != nil {
				in.end()
			} else {
				q.ex.ranUntaken()
			}
		}
	}
	q.ex.backlog.Add(-int64(len(q.backlog)))
	q.backlog, q.backlogConns = nil, nil
	q.empty()
}
