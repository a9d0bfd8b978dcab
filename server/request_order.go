package server

import "math"

// concurrency is the state of a connection with several requests in progress. The answers are sent in the order of the requests, whatever
// the order in which they end. All but the first fields, which are the loop's, are guarded by the connection's lock.
type concurrency struct {
	pending    int       // requests in progress. Loop only
	holdAbove  int       // with holdLimit: the handler is given no input while more requests than that are in progress. Loop only
	waiting    int       // requests in the backlog of the loop; with holdLimit: the handler is given no input while there is one. Loop only
	held       []*input  // requests that wait until those in progress have ended, because they have another executor. Loop only
	ex         *executor // that of the requests in progress. Loop only
	cancels    bool      // the newest request is of a CancelHandler. Loop only
	newlyEnded int       // requests that have ended since the last takeBackMessages
	newest     uint64    // the order of the newest request; the first is 1
	oldest     uint64    // the order of the oldest request that is not answered
	endedEarly []*input  // requests that have ended before an older one
	earlyBytes int       // bytes that the inputs in endedEarly hold, overhead included
}

// noMessage is an empty message that is not nil.
var noMessage = []byte{}

// queueMessage queues a copy of a message for a worker.
func (c *loopConn) queueMessage(h RequestHandler, to destination, message []byte) {
	c.mu.Lock()
	x := c.extra()
	if x.conc == nil {
		x.conc = &concurrency{oldest: 1}
	}
	x.conc.newest++
	order := x.conc.newest
	c.mu.Unlock()

	in := inputs.Get().(*input)
	in.buf = append(in.buf[:0], message...)
	// Always on a worker: requests of a connection must begin in their order. Otherwise those that wait in Flush for an older one could hold
	// all workers while the older one waits for a worker.
	in.request.handler, in.request.ex, in.request.place, in.request.cancels = h, to.ex, OnWorkers, cancels(h)
	x.conc.cancels = in.request.cancels
	in.request.first = in.buf
	if in.buf == nil {
		in.request.first = noMessage
	}
	in.reply.c, in.reply.order = &c.Conn, order
	c.count(in, in.memory())
	x.conc.pending++
	c.holds.add(holdRequests)
	if x.conc.mustHold(to.ex) {
		in.become(inputQueued)
		x.conc.held = append(x.conc.held, in)
		c.limitRequests(math.MaxInt)
		return
	}
	x.conc.ex = to.ex
	c.queueRequest(in)
}

// mustHold reports whether the newest request has to wait until the older ones have ended. Requests of a connection that are in progress
// have the same executor, which begins them in their order. Otherwise two connections could block each other: in each executor, a request that
// waits in Flush for an older one would keep the older one of the other connection from beginning.
func (conc *concurrency) mustHold(ex *executor) bool {
	return len(conc.held) > 0 || conc.pending > 1 && conc.ex != ex
}

// releaseHeld queues the oldest of the held requests, and those after it that have the same executor, if no other request is in progress.
func (c *loopConn) releaseHeld() {
	conc := c.ext.conc
	if len(conc.held) == 0 || conc.pending > len(conc.held) {
		return
	}
	held := conc.held
	conc.held, conc.ex = nil, held[0].request.ex
	for i, in := range held {
		switch {
		case c.life.isGone(): // and its loop may have ended
			in.end()
		case in.request.ex != conc.ex:
			conc.held = held[i:]
			return
		default:
			in.become(inputWithLoop)
			c.queueRequest(in)
		}
	}
}

// limitRequests keeps input from the handler while more than most requests are in progress. If none is in progress, it does nothing.
func (c *loopConn) limitRequests(most int) {
	if !c.holds.has(holdRequests) {
		return
	}
	conc := c.ext.conc
	if c.holds.has(holdLimit) {
		most = min(most, conc.holdAbove)
	}
	conc.holdAbove = most
	c.holds.add(holdLimit)
}

// startWaiting records that a request of the connection was added to the backlog. Until it has left it, the connection is not read.
func (c *loopConn) startWaiting() {
	if !c.holds.has(holdRequests) {
		return // its input waits, with holdWorker
	}
	c.ext.conc.waiting++
	c.limitRequests(math.MaxInt)
}

// stopWaiting records that a request of the connection has left the backlog.
func (c *loopConn) stopWaiting() {
	if !c.holds.has(holdRequests) || c.ext.conc.waiting == 0 { // with holdWorker, a worker may make the ext now
		return
	}
	c.ext.conc.waiting--
	if c.endLimit() {
		c.requeue()
	}
}

// endLimit ends holdLimit if neither the number of requests in progress nor the workers' queue requires it any more.
func (c *loopConn) endLimit() (ended bool) {
	if !c.holds.has(holdLimit) {
		return false
	}
	if conc := c.ext.conc; conc.waiting > 0 || len(conc.held) > 0 || conc.pending > conc.holdAbove {
		return false
	}
	c.holds.remove(holdLimit)
	c.deadlines.restart(readDeadline, c.loop.now())
	return true
}

// takeBackMessages is takeBack for requests that have a copy of their message.
func (c *loopConn) takeBackMessages() {
	c.mu.Lock()
	var conc *concurrency
	ended := 0
	if c.ext != nil {
		if conc = c.ext.conc; conc != nil {
			ended, conc.newlyEnded = conc.newlyEnded, 0
			c.commands &^= cmdDone // it is counted here; later it would count as the end of a later request
		}
	}
	c.mu.Unlock()
	if ended == 0 {
		return
	}
	conc.pending -= ended
	c.releaseHeld()
	c.endLimit()
	c.holds.set(holdRequests, conc.pending > 0)
	c.resumeCloseDeadline()
}

// endInOrder ends the request. When all older requests are answered, the reply becomes output, and so do the replies that have waited for
// it.
func (in *input) endInOrder() {
	r := &in.reply
	c := r.c
	r.mu.Lock()
	c.mu.Lock()
	before := c.state
	if in.staysOpen() {
		r.mu.Unlock()
		c.mu.Unlock()
		return
	}
	ends := c.state != before
	conc := c.ext.conc
	if r.isOpen() {
		r.finish(replyWaits)
	}
	in.become(inputAnswered)
	r.mu.Unlock()
	oldest := conc.oldest
	conc.endedEarly = append(conc.endedEarly, in)
	ends = r.order != conc.oldest && !in.holdEarly() || ends
	for next := conc.takeAnswered(); next != nil; next = conc.takeAnswered() {
		conc.earlyBytes -= next.earlyBytes
		c.count(next, 0)
		if next.reply.phase == replyWaits && c.state != connClosed {
			next.reply.countAnswer()
			next.reply.commitLocked()
		}
		conc.newlyEnded++
		next.become(inputWithLoop)
		next.recycle()
	}
	advanced := conc.oldest != oldest
	if advanced { // a reply that waits may be the oldest now
		c.retryWriters()
	}
	queue := advanced && c.mark(cmdDone) || ends && c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// holdEarly counts a request that has ended before an older one, with its answer, as output that waits. When the whole server holds too
// much, and the answer is not empty, it ends the connection and returns false. Under c.mu; the caller queues the connection.
func (in *input) holdEarly() bool {
	c := in.reply.c
	s := c.loop.srv
	in.reply.count(0)
	in.earlyBytes = in.memory() + cap(in.reply.buf)
	c.ext.conc.earlyBytes += in.earlyBytes
	c.count(in, in.earlyBytes)
	if c.state == connClosed || len(in.reply.buf) == 0 || s.buffered.Load() <= s.cfg.MaxBuffered {
		return true
	}
	c.setState(connClosed)
	c.setReason(s.overloaded())
	return false
}

// takeAnswered removes and returns the request whose answer is next, if it has ended.
func (conc *concurrency) takeAnswered() *input {
	for i, in := range conc.endedEarly {
		if in.reply.order == conc.oldest {
			conc.oldest++
			last := len(conc.endedEarly) - 1
			conc.endedEarly[i], conc.endedEarly[last] = conc.endedEarly[last], nil
			conc.endedEarly = conc.endedEarly[:last]
			return in
		}
	}
	return nil
}
