package server

import "math"

// distribute divides the requests of a turn between the leader, which runs its part after the turn, and the queues to the executors. On the
// loop.
func (l *loop) distribute(ins []*input) {
	lent := 0
	for i, in := range ins {
		switch {
		case in == nil: // it was handed over before a RouteOf called runtime.Goexit
		case l.isLed() && !in.request.isForWorkers && l.admits(in):
			l.lead.inline.push(in)
		default:
			lent += l.lend(in)
			l.queueFor(in).add(in)
		}
		ins[i] = nil
	}
	l.srv.addBuffered(lent)
}

// maxPostponed is the number of ready descriptors up to which the leader runs a request before it reads them. With more of them, the time
// that an interruption of the turn takes is not worth while: the loop has enough to do until the client has sent its next request.
const maxPostponed = 2

// suspendForRequest suspends the turn, so that the leader runs the request that the running callback has found, if it may, before the turn
// continues with the callbacks of the other descriptors that are ready: the input is still in the caches of the processor, and the client can
// go on while they are read. On the loop, at the end of a callback that has found requests.
func (l *loop) suspendForRequest() {
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

// admits finds the route of in, and reports whether the leader may run its requests: the program has chosen OnLoop, or the handlers of the
// route are quick as far as is known; and a worker is free, which can run the next requests if this one blocks. Otherwise it counts them as
// requests for workers. It is called once for each in. On the loop.
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

// endTurn is called at the end of each turn, and hands the requests of the turn to the leader and the workers. If a callback has ended the
// turn early by runtime.Goexit, endTurn is called before the next turn.
func (l *loop) endTurn() {
	l.assertInLoop("the end of a turn")
	if l.current != nil {
		l.abortCurrent()
	}
	if len(l.turnRequests) > 0 {
		l.distribute(l.turnRequests)
		clear(l.turnRequests)
		l.turnRequests = l.turnRequests[:0]
	}
	l.submitAll()
	l.countTraffic()
}
