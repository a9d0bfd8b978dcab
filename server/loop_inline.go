package server

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
