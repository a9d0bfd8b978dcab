package server

import (
	"bufio"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/evmq/evmq/server/framing"
)

// A Dispatcher is a Handler that cuts the stream into messages and calls a function, which may block, to answer each of them. The requests
// of one connection are handled one at a time and answered in order, unless Concurrent says otherwise. It is built on [Requests].
type Dispatcher struct {
	// Framing cuts the stream. Required.
	Framing framing.Framing
	// Serve answers a message. It may block; see Placement for the goroutine that runs it. w and message belong to it until it returns; see
	// Reply.Defer for an answer that is completed later. Required.
	Serve func(w Reply, message []byte)
	// Concurrent is the number of requests of one connection that may be in progress at once. Their answers are still sent in the order of
	// the requests; an answer that is complete before an older one waits. 0 means 1; a negative value is ErrInvalid.
	Concurrent int
	// Placement says where Serve runs. 0 means Adaptive: on the loop while it is quick, and otherwise on workers.
	// With Concurrent above 1 Serve always runs on workers.
	Placement Placement
	// Route, if set, returns the key of a message's route, for Adaptive; see RouteHandler.
	Route func(message []byte) (key []byte)
	// CancelOnEOF makes Reply.Context end when the peer closes its sending half while a request is in progress and no input is unread; see
	// CancelHandler.
	CancelOnEOF bool
	// Executor is the key in Server.Executors of the Executor for requests that do not run on the loop. "" means the server's own pool. A
	// server that does not have the name refuses the Dispatcher with ErrInvalid. ExecutorFor, if set, returns the key for a message; see
	// ExecutorHandler. Then "" means Executor. It is called on loops and on workers.
	Executor    string
	ExecutorFor func(message []byte) (name string)
	// Opened and Closed, if set, are the Handler's Open and Close, on the loop.
	Opened func(c *Conn)
	Closed func(c *Conn, reason error)
	// Malformed, if set, is called on the loop when the stream is invalid for the framing, or a message is longer than MaxInput of the
	// server and the framing's limit. It may write a last answer with the protocol's own error; then the connection is closed with err.
	Malformed func(c *Conn, err error)
	// OnEOF, if set, is the EOFHandler's EOF, on the loop. Without it the connection is closed when its requests are answered.
	OnEOF func(c *Conn)
	// OnHighWater and OnLowWater, if set, are the MarkHandler's HighWater and LowWater, on the loop.
	OnHighWater, OnLowWater func(c *Conn)

	warned uint32 // 1 after the warning of warnIfHidden; atomic
}

// Dispatch makes a Handler that cuts the stream with split and calls fn, which may block, to answer each message. A message may be
// framing.DefaultMax (64 KB) long; for another limit, and for framings that need no rescan, make a Dispatcher. Any goroutine.
func Dispatch(split bufio.SplitFunc, fn func(w Reply, message []byte)) *Dispatcher {
	return &Dispatcher{Framing: framing.Split{Func: split}, Serve: fn}
}

// Check reports fields that are invalid. Errors: ErrInvalid. Any goroutine.
func (d *Dispatcher) Check() error {
	switch {
	case d == nil:
		return fmt.Errorf("%w: Handler is a nil Dispatcher", ErrInvalid)
	case d.Framing == nil:
		return fmt.Errorf("%w: Dispatcher.Framing is nil", ErrInvalid)
	case d.Serve == nil:
		return fmt.Errorf("%w: Dispatcher.Serve is nil", ErrInvalid)
	case d.Placement > OnWorkers:
		return fmt.Errorf("%w: Dispatcher.Placement is %d", ErrInvalid, d.Placement)
	case d.Concurrent < 0:
		return fmt.Errorf("%w: Dispatcher.Concurrent is %d", ErrInvalid, d.Concurrent)
	}
	if err := framing.Check(d.Framing); err != nil {
		return fmt.Errorf("%w: Dispatcher.Framing: %w", ErrInvalid, err)
	}
	return nil
}

// ServeRequest calls Serve. It makes a Dispatcher a RequestHandler. May block; not in a callback.
func (d *Dispatcher) ServeRequest(w Reply, message []byte) { d.Serve(w, message) }

// RunsOn returns Placement. Any goroutine.
func (d *Dispatcher) RunsOn() Placement { return d.Placement }

// CancelsOnEOF returns CancelOnEOF. Any goroutine.
func (d *Dispatcher) CancelsOnEOF() bool { return d.CancelOnEOF }

// RouteOf calls Route. Without Route, all messages are of one route. Loop only.
func (d *Dispatcher) RouteOf(message []byte) (key []byte) {
	if d.Route == nil {
		return nil
	}
	return d.Route(message)
}

// ExecutorOf calls ExecutorFor. If there is none, or it returns "", ExecutorOf returns Executor. Any goroutine.
func (d *Dispatcher) ExecutorOf(message []byte) (name string) {
	if d.ExecutorFor != nil {
		if name = d.ExecutorFor(message); name != "" {
			return name
		}
	}
	return d.Executor
}

// ExecutorNames returns Executor. Any goroutine.
func (d *Dispatcher) ExecutorNames() []string { return []string{d.Executor} }

// Open calls Opened. Loop only.
func (d *Dispatcher) Open(c *Conn) {
	d.warnIfHidden(c)
	if d.Opened != nil {
		d.Opened(c)
	}
}

// warnIfHidden logs a warning, once, if the connection's handler calls d and has no method Unwrap by which FindHandler finds d. Then the
// framing's limit, Malformed, LastData, OnEOF and the functions of the water marks have no effect.
func (d *Dispatcher) warnIfHidden(c *Conn) {
	if _, ok := FindHandler[RequestHandler](c.Handler()); ok || atomic.SwapUint32(&d.warned, 1) != 0 {
		return
	}
	c.loop.srv.cfg.Logger.Warn("server: a handler hides the Dispatcher that it calls; it needs a method Unwrap() server.Handler", "handler", fmt.Sprintf("%T", c.Handler()))
}

// Close calls Closed. Loop only.
func (d *Dispatcher) Close(c *Conn, reason error) {
	if d.Closed != nil {
		d.Closed(c, reason)
	}
}

// Data finds a message and hands it over, with all input that follows it unless Concurrent is more than 1. Loop only.
func (d *Dispatcher) Data(c *Conn, p []byte) (int, error) {
	n, final, err := d.dispatch(c, p, false)
	if err == nil && final {
		_ = c.Close() // fails if it is closed already
	}
	return n, err
}

// LastData is Data for the end of the stream, which may complete a message. Loop only.
func (d *Dispatcher) LastData(c *Conn, p []byte) (int, error) {
	n, _, err := d.dispatch(c, p, true)
	return n, err
}

// dispatch finds the first message of p and hands it over. It returns the results of Data, and whether the framing has ended the stream.
func (d *Dispatcher) dispatch(c *Conn, p []byte, atEOF bool) (n int, final bool, err error) {
	x := c.Requests()
	found, err := d.Framing.Next(p, x.Cursor(), atEOF)
	if err == nil && (found.Advance < 0 || found.Advance > len(p)) {
		err = fmt.Errorf("%w: Framing.Next advanced by %d of %d bytes", ErrHandler, found.Advance, len(p))
	}
	switch {
	case err != nil && x.Pending() > 0: // the earlier messages are answered first; then Next returns the error again
		x.SetCursor(0)
		x.Hold(0)
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case found.Message == nil: // incomplete, or bytes to skip
	case d.Concurrent <= 1:
		return len(p), false, x.ServeInput(d, d.Framing, p, found)
	default:
		if err := x.Serve(d, found.Message); err != nil {
			return 0, false, err
		}
		x.Hold(d.Concurrent - 1)
	}
	x.SetCursor(found.Cursor)
	if found.Final {
		return len(p), true, nil
	}
	return found.Advance, false, nil
}

// EOF calls OnEOF, or closes the connection with io.EOF. Loop only.
func (d *Dispatcher) EOF(c *Conn) {
	if d.OnEOF != nil {
		d.OnEOF(c)
		return
	}
	_ = c.CloseWithError(io.EOF) // fails if it is closed already
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

// MaxInput returns MaxLen of the framing. Any goroutine.
func (d *Dispatcher) MaxInput() int { return d.Framing.MaxLen() }
