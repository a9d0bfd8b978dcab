package server

import "fmt"

// Requests of any goroutine to close a connection or a half of it. Each request is recorded under the connection's lock, in one order with
// its writes, and carried out by the loop.

// Close closes the connection in order. From now on writes are refused and input is discarded. The requests in progress are answered and
// the output is flushed; then the write side is closed, and the connection is read until the peer closes its side, since a close with
// unread input may destroy output on its way. Close does not wait for any of that. CloseTimeout limits the time in which the peer neither
// takes output nor closes its side. The handler's Close is called with a nil reason.
//
// Errors: ErrClosed if the connection is closed or being closed already, which needs no handling. Any goroutine.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.state >= connClosing {
		err := c.refusal()
		c.mu.Unlock()
		return fmt.Errorf("close: %w", err)
	}
	c.closeAndUnlock(nil)
	return nil
}

// CloseWithError is Close with a reason, with which the handler's Close is called. With a nil reason it is Close. Errors: as Close. Any
// goroutine.
func (c *Conn) CloseWithError(reason error) error {
	c.mu.Lock()
	if c.state >= connClosing {
		err := c.refusal()
		c.mu.Unlock()
		return fmt.Errorf("close: %w", err)
	}
	c.closeAndUnlock(reason)
	return nil
}

// closeWith is Close with a reason. It does nothing if the connection is closed or being closed.
func (c *Conn) closeWith(reason error) {
	c.mu.Lock()
	if c.state >= connClosing {
		c.mu.Unlock()
		return
	}
	c.closeAndUnlock(reason)
}

func (c *Conn) closeAndUnlock(reason error) {
	c.state = connClosing
	c.setReason(reason)
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// Abort closes the connection at once, with a reset where the system has one, also while it is being closed. Output that waits fails. The
// reason is ErrAborted; if the connection was being closed with an error, by CloseWithError for example, the reason matches both. Any
// goroutine.
func (c *Conn) Abort() {
	c.mu.Lock()
	if first := c.reasonLocked(); c.state == connClosing && first != nil && !isOrderly(first) {
		c.ext.reason = fmt.Errorf("%w (%w)", ErrAborted, first)
	}
	c.mu.Unlock()
	c.abort(ErrAborted)
}

// abort makes the loop close c with reason.
func (c *Conn) abort(reason error) {
	c.mu.Lock()
	if c.state == connClosed {
		c.mu.Unlock()
		return
	}
	c.state = connClosed
	c.setReason(reason)
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// CloseWrite closes the write side when everything written so far is flushed; the peer reads the end of the stream, and may continue to
// send. Writes are refused with ErrClosed from now on, and the connection is closed when the peer closes its side. Errors: ErrClosed. Any
// goroutine.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.state != connOpen {
		err := c.refusal()
		c.mu.Unlock()
		return fmt.Errorf("close write: %w", err)
	}
	c.state = connHalf
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// CloseRead discards all input from now on, including input that the handler has not consumed. The connection is still read, so that the
// peer is not blocked, and the end of the peer's stream is not reported and does not close the connection. Requests that workers have are
// still answered. It cannot be undone. Errors: ErrClosed. Any goroutine.
func (c *Conn) CloseRead() error {
	c.mu.Lock()
	if c.state >= connClosing {
		err := c.refusal()
		c.mu.Unlock()
		return fmt.Errorf("close read: %w", err)
	}
	queue := c.mark(cmdShutRead)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}
