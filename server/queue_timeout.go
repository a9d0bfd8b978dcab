package server

import (
	"time"

	"github.com/evmq/evmq/event"
)

// A waitQueue has the jobs of a loop that wait in an Executor, or in the backlog, with QueueTimeout. Since the timeout is the same for all,
// they are in the order of their deadlines. A job that has begun stays in the queue until it is the oldest, or until the queue would grow:
// so nothing has to be done when a job begins, which is on another goroutine.
type waitQueue struct {
	l       *loop
	timeout time.Duration // 0: the queue is not used
	entries []waitEntry   // from head on
	head    int
	timer   *event.Event // set for the deadline of the oldest entry at that time
	isSet   bool
}

// waitEntry is a job and the time at which it is refused.
type waitEntry struct {
	job Job
	at  time.Duration
}

// expiryBudget limits the jobs that are refused in one turn.
const expiryBudget = 256

// init prepares the queue.
func (w *waitQueue) init(l *loop, timeout time.Duration) (err error) {
	w.l, w.timeout = l, timeout
	if timeout > 0 {
		w.timer, err = l.ev.NewEvent(-1, 0, w.expired)
	}
	return err
}

// stop releases the timer when the loop ends.
func (w *waitQueue) stop() {
	if w.timer != nil {
		_ = w.timer.Del() // the loop may be closed
	}
	w.entries, w.head = nil, 0
}

// add adds the jobs that were handed over and have not begun.
func (w *waitQueue) add(jobs []Job) {
	w.dropBegun()
	at := saturatedAdd(w.l.ev.Clock().Now(), w.timeout) // the loop's time is that of the turn's begin, which may be much earlier
	for _, j := range jobs {
		if !j.isWaiting() {
			continue
		}
		if len(w.entries) == cap(w.entries) {
			w.compact()
		}
		w.entries = append(w.entries, waitEntry{j, at})
	}
	w.set()
}

// dropBegun removes the oldest entries whose jobs do not wait any more.
func (w *waitQueue) dropBegun() {
	for w.head < len(w.entries) && !w.entries[w.head].job.isWaiting() {
		w.pop()
	}
}

// pop removes the oldest entry.
func (w *waitQueue) pop() {
	w.entries[w.head] = waitEntry{}
	if w.head++; w.head == len(w.entries) {
		w.entries, w.head = w.entries[:0], 0
		if cap(w.entries) > keptEntries {
			w.entries = nil
		}
	}
}

// keptEntries is the capacity that an empty queue keeps.
const keptEntries = 1024

// compact removes all entries whose jobs do not wait any more. If that leaves little room, the queue doubles.
func (w *waitQueue) compact() {
	kept := w.entries[:0]
	for _, e := range w.entries[w.head:] {
		if e.job.isWaiting() {
			kept = append(kept, e)
		}
	}
	clear(w.entries[len(kept):])
	w.entries, w.head = kept, 0
	if len(kept) > cap(kept)/2 {
		w.entries = append(make([]waitEntry, 0, 2*cap(kept)), kept...)
	}
}

// set sets the timer for the oldest entry, unless it is set already.
func (w *waitQueue) set() {
	if w.isSet || w.head == len(w.entries) {
		return
	}
	left := max(0, w.entries[w.head].at-w.l.ev.Clock().Now())
	w.isSet = w.timer.Add(left) == nil // fails if the loop is closed, which ends its connections
}

// expired is the callback of the timer. It refuses the jobs that have waited for too long.
func (w *waitQueue) expired(*event.Event, event.Flags) {
	w.l.assertInLoop("the deadline of the queues")
	w.isSet = false
	now := w.l.now()
	for range expiryBudget {
		w.dropBegun()
		if w.head == len(w.entries) || w.entries[w.head].at > now {
			break
		}
		j := w.entries[w.head].job
		w.pop()
		w.l.queues[j.ex.index].expire(j)
	}
	w.set()
}

// expire refuses a job that has waited for too long, unless it begins at this time.
func (q *jobQueue) expire(j Job) {
	q.dropUntaken()
	var in *input
	if len(q.backlog) > 0 && q.backlog[0] == j { // it is the oldest one, too
		if in = j.reclaim(); in == nil {
			q.ex.ranUntaken()
		}
		q.popBacklog()
	} else {
		in = j.withdraw()
	}
	if in == nil {
		return
	}
	q.ex.expired.Add(1)
	if q.l.srv.cfg.BusyText != "" {
		in.refuse()
	} else {
		in.abandon(ErrQueueTimeout)
	}
}
