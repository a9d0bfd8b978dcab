package server

// concurrency is what a connection needs whose requests are handled several at a time: their order, in which the answers
// are sent, whichever is ready first. All but inflight is under the connection's lock.
type concurrency struct {
	inflight int      // requests in work. Loop only
	ended    int      // requests that have ended since the loop looked
	last     uint64   // the order of the newest request; the first is 1
	first    uint64   // the order of the oldest request that is not answered
	early    []*input // that have ended before an older one
	held     int      // bytes that early holds, overhead included
}

// overlaps reports whether h handles several requests of a connection at a time.
func overlaps(h Handler) bool {
	d, ok := find[dispatching](h)
	return ok && d.dispatcher().Concurrent > 1
}

// handOverCopy gives a worker a message of its own, and goes on reading unless as many are in work as may be.
func (c *loopConn) handOverCopy(d *Dispatcher, message []byte) {
	c.mu.Lock()
	x := c.extra()
	if x.conc == nil {
		x.conc = &concurrency{first: 1}
	}
	x.conc.last++
	order := x.conc.last
	c.mu.Unlock()

	in := inputs.Get().(*input)
	in.buf = append(in.buf[:0], message...)
	in.d, in.framed = d, true
	in.reply.c, in.reply.order = &c.Conn, order
	c.count(in, in.memory())
	x.conc.inflight++
	c.flags |= flagWorking
	c.deadlines.stop(firstRequestDeadline)
	c.setFlag(flagCrowded, x.conc.inflight >= d.Concurrent)
	c.loop.handover = append(c.loop.handover, in)
}

// takeBackCopies is takeBack for requests that had their input to themselves.
func (c *loopConn) takeBackCopies() {
	c.mu.Lock()
	var conc *concurrency
	ended := 0
	if c.ext != nil {
		if conc = c.ext.conc; conc != nil {
			ended, conc.ended = conc.ended, 0
			c.commands &^= cmdDone // it is counted here, too; later it would be taken for the end of what comes next
		}
	}
	c.mu.Unlock()
	if ended > 0 {
		conc.inflight -= ended
		c.flags &^= flagCrowded
		c.setFlag(flagWorking, conc.inflight > 0)
		c.requestEnded()
	}
}

// isFirst reports whether all requests before this one are answered. Under c.mu.
func (r *replyState) isFirst(x *ext) bool { return r.order == 0 || r.order == x.conc.first }

// endInOrder sends the reply if it is its turn, with those that have waited for it.
func (in *input) endInOrder() {
	r := &in.reply
	c := r.c
	r.mu.Lock()
	c.mu.Lock()
	conc := c.ext.conc
	r.answered = r.isOpen()
	r.end()
	r.mu.Unlock()
	before := conc.first
	conc.early = append(conc.early, in)
	ends := in.reply.order != conc.first && !c.holdEarly(in)
	for next := conc.takeFirst(); next != nil; next = conc.takeFirst() {
		conc.held -= next.early
		c.count(next, 0)
		if next.reply.answered && c.state != connClosed {
			next.reply.finishLocked()
		}
		conc.ended++
		next.recycle()
	}
	advanced := conc.first != before
	if advanced && c.ext.room != nil { // who waits to be the first may be it
		close(c.ext.room)
		c.ext.room = nil
	}
	tell := advanced && c.mark(cmdDone) || ends && c.mark(cmdLook)
	c.mu.Unlock()
	c.tell(tell)
}

// holdEarly counts a request that has ended before an older one, with its answer, as output that waits. When the whole server holds too
// much, it ends the connection, and reports false. Under c.mu; the caller tells the loop.
func (c *Conn) holdEarly(in *input) bool {
	s := c.loop.srv
	in.reply.count(0)
	in.early = in.memory() + cap(in.reply.buf)
	c.ext.conc.held += in.early
	c.count(in, in.early)
	if c.state == connClosed || s.buffered.Load() <= s.cfg.MaxBuffered {
		return true
	}
	c.state = connClosed
	c.setReason(s.overloaded())
	return false
}

// takeFirst returns the request whose turn it is, if it has ended.
func (conc *concurrency) takeFirst() *input {
	for i, in := range conc.early {
		if in.reply.order == conc.first {
			conc.first++
			last := len(conc.early) - 1
			conc.early[i], conc.early[last] = conc.early[last], nil
			conc.early = conc.early[:last]
			return in
		}
	}
	return nil
}
