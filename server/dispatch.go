package server

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/evmq/evmq/internal/workpool"
	"github.com/evmq/evmq/server/framing"
)

// A Dispatcher is a Handler that cuts the stream into messages and has a function answer each on a worker, where it may
// block. The requests of one connection are handled one at a time and answered in order, unless Concurrent says otherwise.
type Dispatcher struct {
	// Framing cuts the stream. Required.
	Framing framing.Framing
	// Serve answers a message. It runs on a worker; w and message are its own until it returns. Required.
	Serve func(w *Reply, message []byte)
	// Concurrent is how many requests of one connection may be in work at once. Their answers are still sent in the order
	// of the requests; what is answered early waits. 0 means 1.
	Concurrent int
	// Opened and Closed, if set, are the Handler's Open and Close, on the loop.
	Opened func(c *Conn)
	Closed func(c *Conn, reason error)
	// Malformed, if set, is called on the loop when the framing does not understand the stream, to answer with the protocol's
	// own error: the connection takes a last write, and is then closed with err.
	Malformed func(c *Conn, err error)
}

// Dispatch makes a Handler that cuts the stream with split and has fn answer each message on a worker. A message may be
// framing.DefaultMax (64 KB) long; for another limit, and for framings that need no rescan, make a Dispatcher. Any goroutine.
func Dispatch(split bufio.SplitFunc, fn func(w *Reply, message []byte)) *Dispatcher {
	return &Dispatcher{Framing: framing.Split(split, 0), Serve: fn}
}

func (d *Dispatcher) check() error {
	switch {
	case d.Framing == nil:
		return fmt.Errorf("%w: Dispatcher.Framing is nil", ErrConfig)
	case d.Serve == nil:
		return fmt.Errorf("%w: Dispatcher.Serve is nil", ErrConfig)
	case d.Concurrent < 0:
		return fmt.Errorf("%w: Dispatcher.Concurrent is %d", ErrConfig, d.Concurrent)
	}
	if err := framing.Check(d.Framing); err != nil {
		return fmt.Errorf("%w: Dispatcher.Framing: %w", ErrConfig, err)
	}
	return nil
}

// checkHandler says what is wrong with a handler.
func checkHandler(h Handler) error {
	if d, ok := h.(*Dispatcher); ok {
		if d == nil {
			return fmt.Errorf("%w: Handler is a nil Dispatcher", ErrConfig)
		}
		return d.check()
	}
	if f, ok := h.(HandlerFunc); ok && f == nil {
		return fmt.Errorf("%w: Handler is a nil HandlerFunc", ErrConfig)
	}
	return nil
}

// Open calls Opened. Loop only.
func (d *Dispatcher) Open(c *Conn) {
	if d.Opened != nil {
		d.Opened(c)
	}
}

// Close calls Closed. Loop only.
func (d *Dispatcher) Close(c *Conn, reason error) {
	if d.Closed != nil {
		d.Closed(c, reason)
	}
}

// Data looks for a message and hands it, with all that follows it, to the workers. Loop only.
func (d *Dispatcher) Data(c *Conn, p []byte) (int, error) {
	l := c.loop
	n, message, place, err := d.Framing.Next(p, l.place, false)
	switch final := isFinal(err); {
	case err != nil && !final && c.flags&flagWorking != 0:
		c.flags |= flagCrowded // the answers to what came before go first; then we come back
		l.place = 0
		return 0, nil
	case err != nil && !final:
		return 0, d.malformed(c, err)
	case message == nil && final:
		c.closeWith(nil)
		return len(p), nil
	case message == nil: // incomplete, or bytes to skip
		l.place = place
		return n, nil
	case d.Concurrent > 1:
		if err := l.srv.overloads(len(message)); err != nil {
			return 0, err
		}
		c.handOverCopy(d, message)
		l.place = place
		if final {
			c.closeWith(nil)
		}
		return n, nil
	}
	n = len(p)
	if c.in != nil {
		n -= c.in.counted
	}
	if err := l.srv.overloads(n); err != nil {
		return 0, err
	}
	c.handOverAll(d, p, false)
	return len(p), nil
}

// overloads says that n more bytes of input are too many for the server.
func (s *Server) overloads(n int) error {
	if n > 0 && s.buffered.Load()+int64(n) > s.MaxBuffered {
		return fmt.Errorf("%w: %d bytes are buffered", ErrOverload, s.MaxBuffered)
	}
	return nil
}

func (d *Dispatcher) malformed(c *Conn, err error) error {
	if d.Malformed != nil {
		d.Malformed(c, err)
	}
	return err
}

// atEOF looks at what is left when the peer has closed, and reports whether it made a last message.
func (d *Dispatcher) atEOF(c *Conn) bool {
	in := c.in
	if in == nil || c.flags&holdsInput != 0 {
		return false
	}
	n, message, place, err := d.Framing.Next(in.rest(), in.place, true)
	switch {
	case err != nil && !isFinal(err):
		err = d.malformed(c, err)
		c.dropInput()
		c.closeWith(err)
		return false
	case message == nil:
		return false
	case d.Concurrent > 1:
		c.handOverCopy(d, message)
		in.pos += n
		in.place = place
		return true
	}
	c.loop.place = in.place
	c.handOverAll(d, in.rest(), true)
	return true
}

// handOverAll gives a worker p, which is all that is not consumed and begins with a whole message.
func (c *Conn) handOverAll(d *Dispatcher, p []byte, eof bool) {
	in := c.in
	if in == nil {
		in = c.newInput()
		in.buf = append(in.buf[:0], p...)
	}
	in.pos = len(in.buf) - len(p)
	in.place, in.eof, in.d = c.loop.place, eof, d
	c.count(in, len(p))
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
		switch l.srv.WhenFull {
		case StopReading:
			l.backlog = append(l.backlog, in)
		case Refuse:
			l.srv.totals.busy.Add(1)
			in.refuse()
		case CloseConn:
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
func (c *Conn) takeBack() {
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
	c.count(in, len(in.rest()))
}

// nothingLeft reports whether the request that has come back was all of the input. Under mu.
func (c *Conn) nothingLeft() bool {
	return c.flags&(flagBusy|flagMore) == flagBusy && len(c.in.rest()) == 0 && !c.in.final
}

// isFinal reports whether err says that the message it came with is the last one.
func isFinal(err error) bool { return errors.Is(err, bufio.ErrFinalToken) }
