package server

import "sync"

// pool runs requests on a bounded number of goroutines.
//
// Waking a goroutine is what handing over costs, so a burst of requests wakes two workers and not one for each: a worker
// takes one request at a time, and while requests are left at most one other, the standby, is kept runnable. When the
// worker's handler returns at once, it takes the next request itself. When the handler blocks, the scheduler runs the
// standby, which takes the next request and wakes a standby of its own. So no request waits behind a handler that blocks while a
// worker is idle, and no timer is needed.
type pool struct {
	mu      sync.Mutex
	queue   []job // a ring of requests; it grows up to bound
	bound   int
	head    int
	len     int
	running int       // handlers that run
	idle    []*worker // the one that slept last is woken first
	standby bool      // a worker has been woken and has not taken a request yet
	hungry  []*loop   // loops that have requests for which there was no room
	closed  bool
	maxLen  int

	workers sync.WaitGroup
}

type worker struct{ wake chan struct{} }

// job is what a worker runs: an *input, which holds the requests of a connection, or a *packetJob.
type job interface{ run() }

// The ring's length to begin with, and what it keeps when it is empty: a burst of requests leaves no memory behind.
const (
	firstRing = 64
	keptRing  = DefaultQueue
)

func newPool(workers, bound int) *pool {
	p := &pool{bound: bound}
	p.workers.Add(workers)
	for range workers {
		go p.work(&worker{make(chan struct{}, 1)}, false)
	}
	return p
}

// submit takes as many of ins as there is room for, and returns how many. If that is not all of them, l is fed when there is room.
func (p *pool) submit(l *loop, ins []*input) (taken int) {
	p.mu.Lock()
	for _, in := range ins {
		if p.len == p.bound {
			break
		}
		p.push(in)
		taken++
	}
	p.maxLen = max(p.maxLen, p.len)
	if taken < len(ins) {
		p.awaitRoom(l)
	}
	w := p.nextStandby()
	p.mu.Unlock()
	w.rouse()
	return taken
}

// submitPacket takes a datagram while less than half of the queue is used, so that a flood leaves room for connections: those that wait for
// room are fed when half of it is free. Errors: ErrFull, ErrClosed.
func (p *pool) submitPacket(j *packetJob) error {
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
	w := p.nextStandby()
	p.mu.Unlock()
	w.rouse()
	return nil
}

// push adds to a queue that has room. Under mu.
func (p *pool) push(j job) {
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
func (p *pool) grow() {
	ring := make([]job, min(p.bound, max(firstRing, 2*len(p.queue))))
	n := copy(ring, p.queue[p.head:])
	copy(ring[n:], p.queue[:p.head])
	p.queue, p.head = ring, 0
}

// awaitRoom has l fed once half of the queue is free, so that it is not woken for each place. Under mu.
func (p *pool) awaitRoom(l *loop) {
	for _, h := range p.hungry {
		if h == l {
			return
		}
	}
	p.hungry = append(p.hungry, l)
}

// nextStandby chooses the worker to wake, nil if none is needed. Under mu.
func (p *pool) nextStandby() *worker {
	if p.standby || p.len == 0 || len(p.idle) == 0 {
		return nil
	}
	p.standby = true
	w := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return w
}

func (w *worker) rouse() {
	if w != nil {
		w.wake <- struct{}{}
	}
}

// work is a worker's life. ran says that it has run a request before.
func (p *pool) work(w *worker, ran bool) {
	over := false
	defer func() {
		if !over { // a handler has called runtime.Goexit
			go p.work(w, true)
			return
		}
		p.workers.Done()
	}()
	woken := false
	for {
		j, fed, next := p.take(w, woken, ran)
		next.rouse()
		for _, l := range fed {
			l.feedSoon()
		}
		switch {
		case j == nil && p.isClosed():
			over = true
			return
		case j == nil:
			<-w.wake
			woken, ran = true, false
		default:
			j.run()
			woken, ran = false, true
		}
	}
}

// take returns the next request, or enters w among the idle ones. It also says which loops are to be fed and whom to wake.
func (p *pool) take(w *worker, woken, ran bool) (j job, fed []*loop, next *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ran {
		p.running--
	}
	if woken {
		p.standby = false
	}
	if p.len == 0 {
		if !p.closed {
			p.idle = append(p.idle, w)
		}
		return nil, nil, nil
	}
	p.running++
	j = p.queue[p.head]
	p.queue[p.head] = nil
	if p.head++; p.head == len(p.queue) {
		p.head = 0
	}
	if p.len--; p.len == 0 && len(p.queue) > keptRing {
		p.queue, p.head = nil, 0
	}
	if len(p.hungry) > 0 && p.len <= p.bound/2 {
		fed, p.hungry = p.hungry, nil
	}
	return j, fed, p.nextStandby()
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// close lets the workers end when the queue is empty. It does not wait for them.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, w := range idle {
		w.rouse()
	}
}

// counts is how many requests wait, the most that ever did, and how many handlers run.
func (p *pool) counts() (waiting, longest, running int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.len, p.maxLen, p.running
}
