package server

import (
	"math"
	"time"

	"github.com/evmq/evmq/internal/tick"
)

// inlineQueue has the requests of earlier turns that the leader will run, the oldest first.
type inlineQueue struct {
	ins  []*input
	head int // the index of the oldest request
}

func (q *inlineQueue) len() int { return len(q.ins) - q.head }

func (q *inlineQueue) push(in *input) {
	if q.head > 0 && len(q.ins) == cap(q.ins) {
		n := copy(q.ins, q.ins[q.head:])
		clear(q.ins[n:])
		q.ins, q.head = q.ins[:n], 0
	}
	q.ins = append(q.ins, in)
}

func (q *inlineQueue) pop() *input {
	in := q.ins[q.head]
	q.ins[q.head] = nil
	if q.head++; q.head == len(q.ins) {
		q.ins, q.head = q.ins[:0], 0
	}
	return in
}

// takeAll empties the queue and returns what it had.
func (q *inlineQueue) takeAll() []*input {
	ins := q.ins[q.head:]
	*q = inlineQueue{}
	return ins
}

// distribute divides the requests of a turn between the leader, which runs its part after the turn, and the queues. On the loop.
func (l *loop) distribute(ins []*input) {
	for i, in := range ins {
		switch {
		case in == nil: // it was handed over before a RouteOf called runtime.Goexit
		case l.canLead() && !in.request.isForWorkers && l.admits(in):
			l.lead.inline.push(in)
		default:
			l.queueFor(in).add(in)
		}
		ins[i] = nil
	}
}

// maxPostponed is the number of ready descriptors up to which the leader runs a request before it reads them. With more of them, the time
// that an interruption of the turn takes is not worth while: the loop has enough to do until the client has sent its next request.
const maxPostponed = 2

// leadAtOnce makes the leader run the request that the running callback has found, if the leader may run it, before the callbacks of
// the other descriptors that are ready: the input is still in the caches of the processor, and the client can go on while they are
// read. On the loop.
func (l *loop) leadAtOnce() {
	if l.lead.wantTurn.Load() { // the turn has to end soon
		return
	}
	last := len(l.turnRequests) - 1
	in := l.turnRequests[last]
	if in.request.isForWorkers || !l.admits(in) {
		in.request.isForWorkers = true
		return
	}
	l.turnRequests[last] = nil
	l.turnRequests = l.turnRequests[:last]
	l.lead.inline.push(in)
	l.lead.suspends = true
	if isLarge(in.buf) {
		l.lead.runner.Suspend(math.MaxInt - 1)
	} else {
		l.lead.runner.Suspend(maxPostponed)
	}
}

// admits reports whether the leader may run the requests of in: the program has chosen OnLoop, or the handlers of their route are quick as
// far as is known; and a worker is free, which can run the next requests if this one blocks.
func (l *loop) admits(in *input) bool {
	req := &in.request
	if req.place == OnWorkers {
		return false
	}
	req.route = l.routeOf(in)
	if !req.ex.mayBlock() || req.place != OnLoop && !req.route.admits(l.now()) {
		req.route.workers.Add(1)
		return false
	}
	return true
}

// routeOf returns the route of a request that the loop has found.
func (l *loop) routeOf(in *input) *route {
	l.assertInLoop("the route of a request")
	req := &in.request
	if req.router == nil {
		return l.lead.routes.of(req, nil, l.now())
	}
	c := in.reply.c.loopPart()
	var key []byte
	req.isForWorkers = true // if RouteOf calls runtime.Goexit, it is not called again
	l.setCurrent(c)
	if l.srv.cfg.OnPanic == nil {
		key = req.router.RouteOf(req.first)
	} else {
		key = c.guardRouteOf(req.router, req.first)
	}
	l.clearCurrent()
	req.isForWorkers = false
	return l.lead.routes.of(req, key, l.now())
}

// guardRouteOf is guard for RouteOf. It calls it directly, since a closure would allocate.
func (c *loopConn) guardRouteOf(h RouteHandler, message []byte) (key []byte) {
	defer c.recoverPanic()
	return h.RouteOf(message)
}

// stillAdmits repeats the checks of admits when the leader takes in from its queue: an earlier request may have blocked meanwhile.
func (l *loop) stillAdmits(in *input) bool {
	return in.request.ex.mayBlock() && (in.request.place == OnLoop || in.request.route.state != routeAway)
}

// runInline runs the requests that wait for the leader, until a turn is due. It returns false if the leadership was taken from ld.
func (ld *leader) runInline() bool {
	l := ld.l
	lead := &l.lead
	if lead.inline.len() == 0 {
		return true
	}
	for left := lead.inline.len(); left > 0 && !lead.wantTurn.Load(); left-- {
		in := lead.inline.pop()
		in.request.route.isTried = false // also if no handler is called, or it does not return
		if !l.stillAdmits(in) {
			ld.giveToWorkers(in)
			continue
		}
		in.leader = ld
		in.run()
		if ld.lost {
			return false
		}
		if c := lead.finished; c != nil && !ld.answer(c) && ld.runner.Call(ld.serve) != nil { // the loop is closed, which stopLeading prevents
			c.enqueue(true)
		}
	}
	lead.run(nil)
	return true
}

// giveToWorkers hands a request from the leader's queue to the workers.
func (ld *leader) giveToWorkers(in *input) {
	in.request.route.workers.Add(1)
	q := ld.l.queueFor(in)
	submit := func() { q.add(in); q.submit() }
	if ld.runner.Call(submit) != nil { // as in runInline
		submit()
	}
}

// enqueue makes the loop serve c, a connection whose request has ended, if needed is true. The leader serves it next; a worker, or a
// goroutine that has lost the leadership, puts it into the loop's queue. ld is nil on a worker.
func (ld *leader) enqueue(c *Conn, needed bool) {
	if ld == nil || ld.lost {
		c.enqueue(needed)
	} else if needed {
		ld.l.lead.finished = c.loopPart()
	}
}

// answer takes the input of c back and writes the answer to its request, if no function of the user can be called thereby and no input is
// left: the usual case, which then needs no Call of the runner. If a function has to be called afterwards, it leaves that to serveFinished.
func (ld *leader) answer(c *loopConn) (done bool) {
	c.mu.Lock()
	if c.commands != cmdDone || c.state != connOpen || c.ext != nil || c.life != lifeOpen || !c.nothingLeft() {
		c.mu.Unlock()
		return false
	}
	c.startRunning()
	c.commands, c.sched = 0, c.sched&schedRefused|schedRunning
	c.takeBack()
	ld.l.lead.result = c.writeAndUnlock()
	if ld.l.lead.result == nil {
		ld.l.lead.finished = nil
	}
	return ld.l.lead.result == nil
}

// serveFinished serves the connection of a request that has ended, or completes what answer has begun. On the loop.
func (ld *leader) serveFinished() {
	ld.l.assertInLoop("the service of a request that has ended")
	c, r := ld.l.lead.finished, ld.l.lead.result
	ld.l.lead.finished, ld.l.lead.result = nil, nil
	if r == nil {
		ld.l.serve(c)
	} else {
		ld.l.setCurrent(c)
		c.flushed(r)
		ld.l.clearCurrent()
	}
	ld.l.endTurn()
}

// call calls the handler of in with one message, as the leader.
func (ld *leader) call(in *input, w Reply, message []byte) {
	lead := &ld.l.lead
	r := in.request.route
	lead.run(r)
	timed := r.isTimed()
	var start time.Duration
	if timed || lead.slow > 0 {
		start = time.Since(processStart)
		lead.began = start
	}
	ld.ex = in.request.ex
	ld.word = leadWord(lead.word.Load()).next()
	in.reply.room = inlineReply
	in.reply.word.Store(uint64(ld.word))
	lead.word.Store(uint64(ld.word))
	if tick.Process.Use() { // after the store: a tick before it would not see the handler, and need not be followed by another one
		ld.rests = true // a field of ld: the leadership may have been taken since
	}
	in.request.handler.ServeRequest(w, message)
	if !ld.leaveHandler(in) {
		return
	}
	if timed {
		r.sample(ld.l.now(), time.Since(processStart)-start)
	}
}

// mayGoOn reports whether the leader may answer another message of the same input.
func (ld *leader) mayGoOn(in *input) bool {
	return !ld.l.lead.wantTurn.Load() && (in.request.place == OnLoop || in.request.route.state != routeAway)
}

// run records the route of the request that is run next.
func (lead *leadership) run(r *route) {
	if lead.last != r {
		if lead.last != nil {
			lead.last.countRan()
		}
		lead.last = r
	}
	lead.running = r
}

// processStart is the origin of the times that handlers take. They are measured by the system's clock, even if the loop has another one.
var processStart = time.Now()

// leaveHandler is called when a handler has returned or panicked. It returns false if the leadership was taken meanwhile.
func (ld *leader) leaveHandler(in *input) bool {
	word := ld.word
	if word == 0 {
		return true
	}
	ld.word = 0
	if !ld.l.lead.word.CompareAndSwap(uint64(word), uint64(word.with(leadTurning))) {
		ld.lost = true
		in.leader = nil
		return false
	}
	r := ld.l.lead.running
	r.ran++
	ld.l.lead.running = nil
	ld.l.recordHandler(r, false)
	return true
}

// recordHandler records the time for which a handler of route r has had the loop, and logs it if it is longer than SlowCallback of LoopConfig.
// It is called by the leader when the handler has returned, or when the leadership was taken from it. The logger may panic or call
// runtime.Goexit.
func (l *loop) recordHandler(r *route, taken bool) {
	slow := l.lead.slow
	if slow <= 0 {
		return
	}
	took := time.Since(processStart) - l.lead.began
	r.longest.Store(max(r.longest.Load(), int64(took)))
	if took > slow {
		l.srv.loopLogger().Warn("server: slow handler on a loop", "loop", l.index, "handler", r.handler, "route", r.key, "took", took, "threshold", slow, "continues", taken)
	}
}

// Tick is called by tick.Process, one call at a time. It takes the leadership from the leader if the handler that ran at the tick before
// still runs. It also makes the leader run a turn before the next request, so that many short handlers do not delay timers and descriptors.
func (l *loop) Tick(late bool) (busy bool) {
	lead := &l.lead
	word := leadWord(lead.word.Load())
	lead.wantTurn.Store(true)
	switch {
	case word.state() != leadHandler:
		lead.seen = 0
		return false
	case late: // the process was stopped
		lead.seen = 0
	case word == lead.seen:
		if l.takeOver(word, false) {
			tick.Process.Faster()
		}
		lead.seen = 0
	default:
		lead.seen = word
	}
	return true
}

// IsBusy implements tick.Watcher.
func (l *loop) IsBusy() bool { return leadWord(l.lead.word.Load()).state() == leadHandler }

// takeOver takes the leadership from the leader whose handler began with word, unless the handler has returned, and makes another goroutine
// the leader. yielded says whether the handler has called Reply.Blocking, or waits in a method of Reply. Any goroutine.
func (l *loop) takeOver(word leadWord, yielded bool) bool {
	if !l.lead.word.CompareAndSwap(uint64(word), uint64(word.with(leadTaken))) {
		return false
	}
	l.lead.yielded = yielded
	apart := !l.lead.running.ex.isOwn()
	if apart {
		l.lead.running.ex.apart.Add(1)
	}
	l.srv.pool.Replace(l.leads, apart)
	return true
}
