// Package workpool runs jobs on a bounded number of goroutines, the workers, from a bounded queue.
//
// The main cost of passing a job to a worker is waking a goroutine, so a burst of jobs wakes two workers and not one for each job: a worker takes
// one job at a time, and while jobs are left, at most one other worker, the standby, is kept runnable. If the job returns at once, the
// worker takes the next one itself. If it blocks, the scheduler runs the standby, which takes the next job and wakes a standby
// of its own. So no job waits behind one that blocks while a worker is idle, and no timer is needed.
//
// A pool with many workers starts them when jobs wait and those that exist are busy, and ends them when they are idle.
//
// A goroutine of the pool may also lead: it runs a function that is not a job, such as an event loop with short jobs of its own. When one of these
// blocks, another goroutine leads, and the one that is blocked counts as a worker that runs a job. So whatever blocks, there is a goroutine
// to lead, and no more goroutines run jobs than there are workers and leaders. If the job should not count as a worker's, the leader is
// replaced apart: then one more goroutine may run a job until it ends.
package workpool

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors of Offer.
var (
	ErrFull   = errors.New("workpool: queue full")
	ErrClosed = errors.New("workpool: closed")
)

// A Job is run by a worker, once. A job that panics ends the program. After a job that calls runtime.Goexit the pool has as many workers as
// before.
type Job interface{ Run() }

// A Waiter has jobs for which there was no room. HasRoom is called on a worker, and must not block: see Submit.
type Waiter interface{ HasRoom() }

// Pool is a queue of jobs of type J, and its workers. Its methods may be called from any goroutine.
type Pool[J Job] struct {
	mu      sync.Mutex // guards all fields but busy
	queue   []J        // a ring; it grows up to bound
	bound   int
	head    int
	len     int
	maxLen  int
	workers int       // the largest number of workers
	apart   int       // leaders that were replaced apart and have not returned
	members int       // goroutines that do not lead and were not replaced
	running int       // number of jobs that run
	idle    []*worker // the one that slept last is woken first
	standby bool      // a worker was woken and has not taken a job yet
	waiters []Waiter
	closed  bool

	busy  atomic.Bool // running >= workers+apart; changed under mu
	alive int         // goroutines that do not lead, including those that were replaced and have not returned
	ended sync.Cond   // on mu: alive has become 0

	replaced int       // calls of Replace that rejoin has not followed yet
	counted  sync.Cond // on mu: replaced has grown
}

// Exit says why a goroutine does not lead any more.
type Exit uint8

// The ways in which leading ends.
const (
	LeadOver     Exit = iota // nothing is left to lead
	LeadReplaced             // Replace has made another goroutine lead
	LeadApart                // the same, and the job of the goroutine was counted apart
)

// The length of the first ring, and of the longest that an empty queue keeps, so that a burst of jobs does not keep memory.
const (
	firstRing = 64
	keptRing  = 1024
)

// keptWorkers is the number of workers that exist while there are no jobs. Of a larger pool, the others are started when jobs wait and all
// workers run jobs, and end when they find no job and so many are idle.
const keptWorkers = 64

// New starts a pool. bound is the length of the queue in jobs.
func New[J Job](workers, bound int) *Pool[J] {
	started := min(workers, keptWorkers)
	p := &Pool[J]{bound: bound, workers: workers, members: started, alive: started}
	p.ended.L, p.counted.L = &p.mu, &p.mu
	for range started {
		go p.work(newWorker(), false)
	}
	return p
}

// Submit adds as many of the jobs as fit and returns their number; the slice stays the caller's. If it is less than len(jobs),
// w.HasRoom is called once, when at most half of the queue is in use; w may be nil. After Close Submit adds no job and does not call w.
func (p *Pool[J]) Submit(jobs []J, w Waiter) (taken int) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return 0
	}
	for _, j := range jobs {
		if p.len == p.bound {
			break
		}
		p.push(j)
		taken++
	}
	p.maxLen = max(p.maxLen, p.len)
	if taken < len(jobs) && w != nil && !slices.Contains(p.waiters, w) {
		p.waiters = append(p.waiters, w)
	}
	next := p.nextStandby()
	p.mu.Unlock()
	p.wakeUp(next)
	return taken
}

// Offer adds a job while less than half of the queue is in use, so that a flood of such jobs leaves room for those of Submit.
// Errors: ErrFull, ErrClosed.
func (p *Pool[J]) Offer(j J) error {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return ErrClosed
	case p.len >= p.bound-p.bound/2:
		p.mu.Unlock()
		return ErrFull
	}
	p.push(j)
	p.maxLen = max(p.maxLen, p.len)
	next := p.nextStandby()
	p.mu.Unlock()
	p.wakeUp(next)
	return nil
}

// push adds a job to a queue that has room. Under mu.
func (p *Pool[J]) push(j J) {
	if p.len == len(p.queue) {
		p.grow()
	}
	at := p.head + p.len
	if at >= len(p.queue) {
		at -= len(p.queue)
	}
	p.queue[at] = j
	p.len++
}

// grow doubles the ring, up to the bound. Under mu.
func (p *Pool[J]) grow() {
	ring := make([]J, min(p.bound, max(firstRing, 2*len(p.queue))))
	n := copy(ring, p.queue[p.head:])
	copy(ring[n:], p.queue[:p.head])
	p.queue, p.head = ring, 0
}

// nextStandby chooses the worker to wake, nil if none is needed: it takes a job, or ends. If all workers run jobs, and there may be more, it is
// a new one. Under mu, after each change of what it reads.
func (p *Pool[J]) nextStandby() *worker {
	if p.standby || !p.mayTake() && !p.isOver() {
		return nil
	}
	if last := len(p.idle) - 1; last >= 0 {
		p.standby = true
		w := p.idle[last]
		p.idle = p.idle[:last]
		return w
	}
	if p.members == p.workers || !p.mayTake() {
		return nil
	}
	p.standby = true
	p.members++
	p.alive++
	w := newWorker()
	w.isNew = true
	return w
}

// mayTake reports whether a worker may take a job. It may not while as many run as there are workers: then jobs of goroutines that have led
// are among them. Under mu.
func (p *Pool[J]) mayTake() bool { return p.len > 0 && p.running < p.workers+p.apart }

// isOver reports whether workers that are idle end. Under mu.
func (p *Pool[J]) isOver() bool { return p.len == 0 && p.closed }

// work is the function of a worker's goroutine. ran reports whether a job of this worker has ended that take has not subtracted from running
// yet.
func (p *Pool[J]) work(w *worker, ran bool) {
	labelWorker()
	leads, over := false, false
	defer func() {
		switch {
		case leads: // a leader that calls runtime.Goexit provides for its successor
		case over:
			p.leave()
		default: // a job has called it
			go p.work(w, true)
		}
	}()
	woken := w.isNew
	w.isNew = false
	for {
		if lead := w.lead; lead != nil {
			w.lead, leads = nil, true
			exit := lead()
			if exit == LeadOver {
				return
			}
			if leads = false; !p.rejoin(exit) {
				over = true
				return
			}
			labelWorker()
			woken, ran = false, true
		}
		j, found := p.take(w, woken, ran)
		p.wakeUp(found.next)
		if found.hasRoom {
			p.callWaiters()
		}
		switch found.what {
		case takeEnd:
			over = true
			return
		case takeIdle:
			<-w.wake
			woken, ran = w.lead == nil, false
		default:
			j.Run()
			woken, ran = false, true
		}
	}
}

// A taking is what a worker does next, and what it has to do before.
type taking struct {
	what    takeWhat
	hasRoom bool    // callWaiters is to be called
	next    *worker // to wake
}

// takeWhat says what a worker does next.
type takeWhat uint8

const (
	takeJob  takeWhat = iota // it runs the job
	takeIdle                 // it waits until it is woken
	takeEnd                  // it ends
)

var takeWhats = [...]string{takeJob: "job", takeIdle: "idle", takeEnd: "end"}

// String returns the name.
func (w takeWhat) String() string { return takeWhats[w] }

// take returns the next job, and what w does. woken reports whether w was the standby. ran reports whether a job of w has ended, which take
// subtracts from running.
func (p *Pool[J]) take(w *worker, woken, ran bool) (J, taking) {
	p.mu.Lock()
	j, found := p.takeLocked(w, woken, ran)
	p.mu.Unlock()
	return j, found
}

// takeLocked is take under mu.
func (p *Pool[J]) takeLocked(w *worker, woken, ran bool) (j J, found taking) {
	if ran {
		p.addRunning(-1)
	}
	if woken {
		p.standby = false
	}
	switch {
	case p.isOver():
		return j, taking{what: takeEnd, next: p.nextStandby()}
	case !p.mayTake() && len(p.idle) >= keptWorkers:
		p.members--
		return j, taking{what: takeEnd}
	case !p.mayTake():
		p.idle = append(p.idle, w)
		return j, taking{what: takeIdle}
	}
	p.addRunning(1)
	var none J
	j, p.queue[p.head] = p.queue[p.head], none
	if p.head++; p.head == len(p.queue) {
		p.head = 0
	}
	if p.len--; p.len == 0 && len(p.queue) > keptRing {
		p.queue, p.head = nil, 0
	}
	return j, taking{what: takeJob, hasRoom: len(p.waiters) > 0 && p.len <= p.bound/2, next: p.nextStandby()}
}

// callWaiters calls HasRoom of the waiters, unless more than half of the queue is in use again. Then a later take calls them.
func (p *Pool[J]) callWaiters() {
	var waiters []Waiter
	p.mu.Lock()
	if p.len <= p.bound/2 {
		waiters, p.waiters = p.waiters, nil
	}
	p.mu.Unlock()
	for _, w := range waiters {
		w.HasRoom()
	}
}

// addRunning adds n to running. Under mu.
func (p *Pool[J]) addRunning(n int) {
	p.running += n
	if busy := p.running >= p.workers+p.apart; busy != p.busy.Load() {
		p.busy.Store(busy)
	}
}

// IsBusy reports whether as many jobs run as there are workers, or more. It takes no lock.
func (p *Pool[J]) IsBusy() bool { return p.busy.Load() }

// Lead starts a goroutine that leads, by calling lead. If lead returns LeadReplaced or LeadApart, another goroutine was made to lead by
// Replace, and this one becomes a worker, or ends if there are enough. If lead calls runtime.Goexit, it has to call Lead for its successor
// before, or Quit if it was replaced.
func (p *Pool[J]) Lead(lead func() Exit) {
	w := newWorker()
	w.lead = lead
	go p.work(w, false)
}

// Replace has another goroutine lead, by calling lead as Lead does: an idle worker, or a new one if all are busy. It is called when the
// goroutine that leads is blocked in a job, which counts as a job of a worker from then on. If apart is true, the job takes the place of no
// worker: until it ends the pool runs one job more, and a new goroutine leads. Then the goroutine's exit has to be LeadApart.
func (p *Pool[J]) Replace(lead func() Exit, apart bool) {
	p.mu.Lock()
	if apart {
		p.apart++
	}
	p.addRunning(1)
	p.replaced++
	p.counted.Broadcast()
	var w *worker
	if last := len(p.idle) - 1; last >= 0 && !apart {
		w = p.idle[last]
		p.idle = p.idle[:last]
		p.members--
		w.lead = lead
	} else {
		p.alive++
	}
	var next *worker
	if apart { // a rejoin that was early has lowered the limit, which may have kept a worker from taking a job
		next = p.nextStandby()
	}
	p.mu.Unlock()
	p.wakeUp(next)
	if w == nil {
		p.Lead(lead)
		return
	}
	p.wakeUp(w)
}

// Quit ends what Replace began, when the goroutine that was replaced calls runtime.Goexit: another goroutine becomes a worker. exit is what
// the goroutine would have returned.
func (p *Pool[J]) Quit(exit Exit) {
	if p.rejoin(exit) {
		go p.work(newWorker(), true)
	} else {
		p.leave()
	}
}

// leave is called when a goroutine that does not lead ends.
func (p *Pool[J]) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive--; p.alive == 0 {
		p.ended.Broadcast()
	}
}

// rejoin makes a goroutine that has led a worker. It returns false if there are enough; then its job has ended. The goroutine may learn that it
// is replaced before Replace is called; then rejoin waits for that, because there are not enough workers afterwards.
func (p *Pool[J]) rejoin(exit Exit) bool {
	p.mu.Lock()
	for p.replaced == 0 {
		p.counted.Wait()
	}
	p.replaced--
	if exit == LeadApart {
		p.apart--
		p.addRunning(0)
	}
	if p.members < p.workers {
		p.members++
		p.mu.Unlock()
		return true
	}
	p.addRunning(-1)
	next := p.nextStandby() // which running has kept from taking a job
	p.mu.Unlock()
	p.wakeUp(next)
	return false
}

// Close lets the workers end when the queue is empty: each wakes the next one. It does not wait for them.
func (p *Pool[J]) Close() {
	p.mu.Lock()
	p.closed = true
	next := p.nextStandby()
	p.mu.Unlock()
	p.wakeUp(next)
}

// Wait waits until all workers have ended, after Close. A goroutine that leads is not waited for; one that was replaced is.
func (p *Pool[J]) Wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.alive > 0 {
		p.ended.Wait()
	}
}

// Counts is the state of a pool.
type Counts struct {
	Waiting    int // jobs in the queue
	MaxWaiting int // the largest Waiting so far
	Running    int // jobs that run
}

// Counts returns the current state.
func (p *Pool[J]) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{Waiting: p.len, MaxWaiting: p.maxLen, Running: p.running}
}
