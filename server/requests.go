package server

import (
	"fmt"

	"github.com/evmq/evmq/server/framing"
)

// A RequestHandler answers requests that were handed to [Requests].
type RequestHandler interface {
	// ServeRequest answers one request by writing to w, which ends when ServeRequest returns, unless Reply.Defer was called. message is
	// valid until ServeRequest returns and must not be kept. ServeRequest may block. It is called on a worker, or between two turns on the
	// goroutine of the loop; see Placement. It is never called in a callback of the loop. It must not depend on the goroutine that calls it,
	// or on requests of other connections that are in progress at the same time.
	ServeRequest(w Reply, message []byte)
}

// Requests passes the requests of one connection to functions that may block, which run on the loop or on workers, and sends the answers in
// the order of the requests. A Handler uses it in Data and LastData. [Dispatcher] is a Handler that is built on it, with exported methods
// only.
//
// There are two ways to hand over requests, which are not mixed while requests are in progress:
//
//   - ServeInput hands over all of the connection's input, from a request on. Its requests are handled one at a time. Data is not called
//     until the input is given back.
//   - Serve hands over a copy of one message. Data may hand over further messages while it is in progress, so several requests of the
//     connection are handled concurrently.
//
// An answer is sent when all older requests of the connection are answered; an answer that ends earlier is kept, and counts as output.
// An [ExecutorHandler] chooses the Executor of a request. A request waits while older ones of its connection are in another Executor. When
// the Executor is full, Server.WhenFull applies. The connection's end waits for the requests in progress.
//
// After SetHandler, the new handler is called when no request of the connection is in progress any more.
//
// All methods are loop only. They do not allocate once the connection has served requests of similar size, unless they fail.
type Requests struct{ c *loopConn }

// Requests returns the Requests of the connection. Loop only.
func (c *Conn) Requests() Requests {
	c.loop.assertInLoop("Conn.Requests")
	return Requests{c.loopPart()}
}

// Serve hands over a copy of message, for h to answer. Errors: ErrOverload if the server would hold more than MaxBuffered bytes; ErrClosed
// if the connection is closed or being closed; ErrHandler if h is nil, if input of ServeInput is in progress, or if h chooses an Executor that
// the server does not have. After an error nothing was accepted. message belongs to the caller in any case. Data should return the error,
// which closes the connection. Loop only.
func (r Requests) Serve(h RequestHandler, message []byte) error {
	r.c.loop.assertInLoop("Requests.Serve")
	c := r.c
	if c.life.isGone() || c.life.isClosing() {
		return ErrClosed
	}
	if h == nil || c.holds.has(holdWorker) {
		return fmt.Errorf("%w: Requests.Serve: RequestHandler is %T, input in progress: %v", ErrHandler, h, c.holds.has(holdWorker))
	}
	to, err := c.loop.srv.destinationOf(h, message)
	if err == nil {
		err = c.loop.srv.overloads(len(message))
	}
	if err != nil {
		return err
	}
	c.queueMessage(h, to, message)
	return nil
}

// ServeInput hands over input, which is the argument of Data or LastData or a tail of it, and must not be changed until that returns.
// first is the result of f.Next at its start: a Message, which h answers first. Then f finds the messages that follow, for h to answer
// one after the other, until no message is complete, 64 are answered, the connection's handler is changed, reading is paused, the output
// has reached HighWater, the next message belongs to another Executor, Close, Detach or StartTLS is called, or a turn of the loop that answers
// them is due. The input that is left is given to Data or LastData again. If a Result is Final, the connection is closed as by Close when the
// message is answered.
//
// The result of the call of Data or LastData in which ServeInput was successful is ignored. Errors: ErrOverload and ErrClosed as Serve;
// ErrHandler outside of Data and LastData, if h or f is nil, if requests are in progress, if first is not a result for input, or if h chooses
// an Executor that the server does not have. Loop only.
func (r Requests) ServeInput(h RequestHandler, f framing.Framing, input []byte, first framing.Result) error {
	r.c.loop.assertInLoop("Requests.ServeInput")
	c := r.c
	if c.life.isGone() || c.life.isClosing() {
		return ErrClosed
	}
	switch held := c.in; {
	case c.loop.current != c || !c.loop.inData:
		return fmt.Errorf("%w: Requests.ServeInput: not in Data or LastData of the connection", ErrHandler)
	case h == nil || f == nil || r.Pending() > 0:
		return fmt.Errorf("%w: Requests.ServeInput: RequestHandler is %T, Framing is %T, %d requests in progress", ErrHandler, h, f, r.Pending())
	case first.Message == nil || first.Advance < 0 || first.Advance > len(input) || held != nil && len(input) > len(held.rest()):
		return fmt.Errorf("%w: Requests.ServeInput: message of %d bytes, advance of %d of %d", ErrHandler, len(first.Message), first.Advance, len(input))
	}
	more := len(input)
	if c.in != nil {
		more -= c.in.counted
	}
	to, err := c.loop.srv.destinationOf(h, first.Message)
	if err == nil {
		err = c.loop.srv.overloads(more)
	}
	if err != nil {
		return err
	}
	c.queueInput(h, to, f, input, first)
	return nil
}

// Pending returns the number of requests of the connection that were handed over and have not ended, including those that wait for a
// worker. Input that ServeInput has handed over counts as one. Loop only.
func (r Requests) Pending() int {
	r.c.loop.assertInLoop("Requests.Pending")
	if r.c.holds.has(holdWorker) {
		return 1
	}
	if r.c.holds.has(holdRequests) {
		return r.c.ext.conc.pending
	}
	return 0
}

// Hold stops reading, and calls of Data and LastData, while more than limit requests of the connection are pending; a negative limit means
// 0. With 0, all requests that were handed over are answered first. If no more than limit requests are pending, Hold has no effect. Its effect
// ends when no more than limit are pending; a handler calls it again after each Serve. Loop only.
func (r Requests) Hold(limit int) {
	r.c.loop.assertInLoop("Requests.Hold")
	if r.Pending() > max(limit, 0) {
		r.c.limitRequests(max(limit, 0))
	}
}

// Cursor returns the number that SetCursor has stored with the input that Data or LastData is given, and 0 for new input and for a new
// handler. A handler uses it as the cursor of framing.Framing. Loop only.
func (r Requests) Cursor() int {
	r.c.loop.assertInLoop("Requests.Cursor")
	return r.c.loop.cursor
}

// SetCursor stores n with the input that the current call of Data or LastData does not consume. Loop only.
func (r Requests) SetCursor(n int) {
	r.c.loop.assertInLoop("Requests.SetCursor")
	r.c.loop.cursor = n
}
