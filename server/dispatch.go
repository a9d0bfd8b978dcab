package server

import (
	"bufio"
	"fmt"
	"io"

	"github.com/evmq/evmq/server/framing"
)

// A Dispatcher is a Handler that cuts the stream into messages and has a function answer each on a worker, where it may
// block. The requests of one connection are handled one at a time and answered in order, unless Concurrent says otherwise.
type Dispatcher struct {
	// Framing cuts the stream. Required.
	Framing framing.Framing
	// Serve answers a message. It runs on a worker; w and message are its own until it returns. Required.
	Serve func(w Reply, message []byte)
	// Concurrent is how many requests of one connection may be in work at once. Their answers are still sent in the order
	// of the requests; what is answered early waits. 0 means 1.
	Concurrent int
	// Opened and Closed, if set, are the Handler's Open and Close, on the loop.
	Opened func(c *Conn)
	Closed func(c *Conn, reason error)
	// Malformed, if set, is called on the loop when the framing does not understand the stream, or a message is longer than MaxInput
	// of the server and the framing's limit, to answer with the protocol's own error: the connection takes a last write, and is then
	// closed with err.
	Malformed func(c *Conn, err error)
	// OnEOF, if set, is the EOFHandler's EOF, on the loop. Without it the connection is closed when its requests are answered.
	OnEOF func(c *Conn)
	// OnHighWater and OnLowWater, if set, are the MarkHandler's HighWater and LowWater, on the loop.
	OnHighWater, OnLowWater func(c *Conn)
}

// Dispatch makes a Handler that cuts the stream with split and has fn answer each message on a worker. A message may be
// framing.DefaultMax (64 KB) long; for another limit, and for framings that need no rescan, make a Dispatcher. Any goroutine.
func Dispatch(split bufio.SplitFunc, fn func(w Reply, message []byte)) *Dispatcher {
	return &Dispatcher{Framing: framing.Split(split, 0), Serve: fn}
}

// Check refuses what a Dispatcher cannot work with. Errors: ErrInvalid. Any goroutine.
func (d *Dispatcher) Check() error {
	switch {
	case d == nil:
		return fmt.Errorf("%w: Handler is a nil Dispatcher", ErrInvalid)
	case d.Framing == nil:
		return fmt.Errorf("%w: Dispatcher.Framing is nil", ErrInvalid)
	case d.Serve == nil:
		return fmt.Errorf("%w: Dispatcher.Serve is nil", ErrInvalid)
	case d.Concurrent < 0:
		return fmt.Errorf("%w: Dispatcher.Concurrent is %d", ErrInvalid, d.Concurrent)
	}
	if err := framing.Check(d.Framing); err != nil {
		return fmt.Errorf("%w: Dispatcher.Framing: %w", ErrInvalid, err)
	}
	return nil
}

// Open calls Opened. Loop only.
func (d *Dispatcher) Open(c *Conn) {
	c.checkReachable(d)
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
func (d *Dispatcher) Data(conn *Conn, p []byte) (int, error) {
	c := conn.loopPart()
	l := c.loop
	n, message, place, err := d.next(p, l.place, false)
	switch final := isFinal(err); {
	case err != nil && !final && c.flags&flagWorking != 0:
		c.flags |= flagCrowded // the answers to what came before go first; then we come back
		l.place = 0
		return 0, nil
	case err != nil && !final:
		return 0, err
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

// next looks for the next message in p. Errors: the framing's, and ErrHandler if it breaks its contract.
func (d *Dispatcher) next(p []byte, place int, eof bool) (n int, message []byte, after int, err error) {
	n, message, after, err = d.Framing.Next(p, place, eof)
	if n < 0 || n > len(p) {
		return 0, nil, 0, fmt.Errorf("%w: Framing took %d of %d bytes", ErrHandler, n, len(p))
	}
	return n, message, after, err
}

// LastData looks for a last message, which the peer's end has completed. Loop only.
func (d *Dispatcher) LastData(conn *Conn, p []byte) (int, error) {
	c := conn.loopPart()
	l := c.loop
	n, message, place, err := d.next(p, l.place, true)
	switch final := isFinal(err); {
	case err != nil && !final:
		return 0, err
	case message == nil && final:
		return len(p), nil
	case message == nil:
		l.place = place
		return n, nil
	case d.Concurrent > 1:
		c.handOverCopy(d, message)
		l.place = place
		if final {
			n = len(p)
		}
		return n, nil
	}
	c.handOverAll(d, p, true)
	return len(p), nil
}

// EOF calls OnEOF, or closes the connection with io.EOF. Loop only.
func (d *Dispatcher) EOF(c *Conn) {
	if d.OnEOF != nil {
		d.OnEOF(c)
		return
	}
	c.closeWith(io.EOF)
}

// HighWater calls OnHighWater. Loop only.
func (d *Dispatcher) HighWater(c *Conn) {
	if d.OnHighWater != nil {
		d.OnHighWater(c)
	}
}

// LowWater calls OnLowWater. Loop only.
func (d *Dispatcher) LowWater(c *Conn) {
	if d.OnLowWater != nil {
		d.OnLowWater(c)
	}
}

// InputError calls Malformed. Loop only.
func (d *Dispatcher) InputError(c *Conn, err error) {
	if d.Malformed != nil {
		d.Malformed(c, err)
	}
}

// MaxInput is what the framing needs. Any goroutine.
func (d *Dispatcher) MaxInput() int { return d.Framing.MaxLen() }

// A dispatching handler is a Dispatcher, or has one's methods.
type dispatching interface{ dispatcher() *Dispatcher }

func (d *Dispatcher) dispatcher() *Dispatcher { return d }
