package server

import (
	"bufio"
	"errors"

	"github.com/evmq/evmq/internal/workpool"
)

// overloads says that n more bytes of input are too many for the server.
func (s *Server) overloads(n int) error {
	if n > 0 && s.buffered.Load()+int64(n) > s.cfg.MaxBuffered {
		return s.overloaded()
	}
	return nil
}

// handOverAll gives a worker p, which is all that is not consumed and begins with a whole message.
func (c *loopConn) handOverAll(d *Dispatcher, p []byte, eof bool) {
	in := c.in
	if in == nil {
		in = c.newInput()
		in.buf = append(in.buf[:0], p...)
	}
	in.pos = len(in.buf) - len(p)
	in.place, in.eof, in.d = c.loop.place, eof, d
	c.count(in, in.memory())
	c.flags |= flagBusy
	c.deadlines.stop(firstRequestDeadline)
	c.loop.handover = append(c.loop.handover, in)
}

// handOver gives requests to the workers, those that came first before the others.
func (l *loop) handOver(ins []*input) {
	taken := 0
	if len(l.backlog) == 0 {
		taken = workpool.Submit(l.srv.pool, ins, l)
	}
	for _, in := range ins[taken:] {
		c := in.reply.c
		switch l.srv.cfg.WhenFull {
		case FullStopReading:
			l.backlog = append(l.backlog, in)
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

// HasRoom is called by a worker when there is room for the backlog.
func (l *loop) HasRoom() { _ = l.fed.Activate(0) } // a loop that is closed needs nothing

// feed hands over what waited for room.
func (l *loop) feed() {
	n := workpool.Submit(l.srv.pool, l.backlog, l)
	clear(l.backlog[:n])
	if l.backlog = l.backlog[n:]; len(l.backlog) == 0 {
		l.backlog = nil
	}
}

// takeBack is the loop's part of the end of a request: the input is the loop's again.
func (c *loopConn) takeBack() {
	if c.flags&flagBusy == 0 {
		c.takeBackCopies()
		return
	}
	c.flags &^= flagBusy
	in := c.in
	if in.final {
		c.closeWith(nil)
	}
	in.d = nil
	c.deadlines.stop(readDeadline)
	c.requestEnded()
	if len(in.rest()) == 0 || in.final || c.flags&(flagClosing|flagDeaf) != 0 {
		c.dropInput()
		return
	}
	c.count(in, in.memory())
}

// nothingLeft reports whether the request that has come back was all of the input. Under mu.
func (c *loopConn) nothingLeft() bool {
	return c.flags&(flagBusy|flagMore) == flagBusy && len(c.in.rest()) == 0 && !c.in.final
}

// isFinal reports whether err says that the message it came with is the last one.
func isFinal(err error) bool { return errors.Is(err, bufio.ErrFinalToken) }
