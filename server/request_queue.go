package server

import (
	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/workpool"
	"github.com/evmq/evmq/server/framing"
)

// overloads returns an error if n more bytes of input would exceed MaxBuffered.
func (s *Server) overloads(n int) error {
	if n > 0 && s.buffered.Load()+int64(n) > s.cfg.MaxBuffered {
		return s.overloaded()
	}
	return nil
}

// queueInput queues p, all input that is not consumed, for a worker. first, which f has found at its start, is consumed.
func (c *loopConn) queueInput(h RequestHandler, f framing.Framing, p []byte, first framing.Result) {
	message := first.Message
	in := c.in
	if in == nil {
		in = c.newInput()
		in.fill(c.loop, p, largeRequest)
		if at, ok := offsetIn(p, message); ok { // otherwise the framing has copied the message
			at += len(in.buf) - len(p)
			end := at + len(message)
			message = in.buf[at:end:end]
		}
	}
	in.request.placeFor(h)
	in.request.framing, in.request.first = f, message
	in.request.atEOF, in.request.final = c.peerHalf.isEndReported(), first.Final
	in.pos = len(in.buf) - len(p) + first.Advance
	in.cursor = first.Cursor
	c.count(in, in.memory())
	c.holds.add(holdWorker | holdInput)
	c.queueRequest(in)
}

// queueRequest queues a request for the end of the turn.
func (c *loopConn) queueRequest(in *input) {
	in.become(inputQueued)
	c.deadlines.stop(firstRequestDeadline)
	c.loop.turnRequests = append(c.loop.turnRequests, in)
}

// submit gives requests to the workers, after those of earlier turns. When the workers' queue is full, WhenFull applies.
func (l *loop) submit(ins []*input) {
	taken := 0
	if len(l.backlog) == 0 {
		taken = workpool.Submit(l.srv.pool, ins, l)
	}
	for _, in := range ins[taken:] {
		c := in.reply.c
		switch l.srv.cfg.WhenFull {
		case FullStopReading:
			l.backlog = append(l.backlog, in)
			l.backlogConns = append(l.backlogConns, c.loopPart())
			c.loopPart().startWaiting()
		case FullRefuse:
			l.srv.totals.busy.Add(1)
			in.refuse()
		case FullCloseConn:
			l.srv.totals.busy.Add(1)
			c.abort(ErrOverload)
			in.end()
		}
	}
}

// HasRoom implements workpool's interface: a worker calls it when the queue has room for the backlog.
func (l *loop) HasRoom() { _ = l.roomEvent.Activate(0) } // fails if the loop is closed, which has no backlog

// roomReady is the callback of roomEvent.
func (l *loop) roomReady(*event.Event, event.Flags) {
	l.assertInLoop("the backlog")
	l.submitBacklog()
}

// submitBacklog gives the requests of the backlog to the workers, as far as there is room.
func (l *loop) submitBacklog() {
	n := workpool.Submit(l.srv.pool, l.backlog, l)
	clear(l.backlog[:n])
	for _, c := range l.backlogConns[:n] {
		c.stopWaiting()
	}
	clear(l.backlogConns[:n])
	l.backlog, l.backlogConns = l.backlog[n:], l.backlogConns[n:]
	if len(l.backlog) == 0 {
		l.backlog, l.backlogConns = nil, nil
	}
}

// takeBack is the loop's part of the end of a request: the input belongs to the loop again.
func (c *loopConn) takeBack() {
	if !c.holds.has(holdWorker) {
		c.takeBackMessages()
		return
	}
	c.holds.remove(holdWorker | holdInput)
	in := c.in
	c.mergeStream(in)
	final := in.request.final
	if final {
		c.closeWith(nil)
	}
	in.request = request{}
	c.deadlines.stop(readDeadline)
	c.resumeCloseDeadline()
	if len(in.rest()) == 0 || final || c.life.isClosing() || c.peerHalf.isDiscarded() {
		c.dropInput()
		return
	}
	c.count(in, in.memory())
}

// nothingLeft reports whether the request that has ended was all of the input. Under mu.
func (c *loopConn) nothingLeft() bool {
	return c.holds.has(holdWorker) && c.in.stream == nil && !c.hasMoreTLS() && len(c.in.rest()) == 0 && !c.in.request.final
}
