package server

// stillAdmits repeats the checks of admits for a request that the leader takes from its queue: an earlier request may have blocked
// meanwhile.
func (l *loop) stillAdmits(in *input) bool {
	return in.request.ex.mayBlock() && (in.request.place == OnLoop || in.request.route.state != routeAway)
}

// runInline runs the requests of the leader's queue, between two turns, until a turn is due. It returns false if the leadership was taken
// from ld; then the queue belongs to the next leader.
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
		if c := lead.finished; c != nil && !ld.writeAnswer(c) && ld.runner.Call(ld.serve) != nil { // the loop is closed, which stopLeading prevents
			c.enqueue(true)
		}
	}
	lead.setRoute(nil)
	l.countTraffic()
	return true
}

// giveToWorkers hands a request from the leader's queue to its executor. The queue to the executor belongs to the loop, hence Call.
func (ld *leader) giveToWorkers(in *input) {
	in.request.route.workers.Add(1)
	q := ld.l.queueFor(in)
	submit := func() { q.add(in); q.submit() }
	if ld.runner.Call(submit) != nil { // the loop is closed, which stopLeading prevents
		submit()
	}
}

// writeAnswer does what serve would do for c, whose request has ended, in the usual case: no input is left, and writing the answer calls no
// function of the user. Then no Call of the runner is needed. It returns false if serveFinished has to do it, or the rest of it.
func (ld *leader) writeAnswer(c *loopConn) (done bool) {
	c.mu.Lock()
	if c.commands != cmdDone || c.state != connOpen || c.ext != nil || c.life != lifeOpen || !c.nothingLeft() {
		c.mu.Unlock()
		return false
	}
	c.startRunning()
	c.commands, c.sched = 0, c.sched&schedRefused|schedRunning
	c.takeBackLocked()
	ld.l.lead.result = c.writeAndUnlock()
	if ld.l.lead.result == nil {
		ld.l.lead.finished = nil
	}
	return ld.l.lead.result == nil
}

// serveFinished serves the connection of a request that has ended, or completes what writeAnswer has begun. On the loop, in a Call.
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
