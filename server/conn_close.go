package server

import "fmt"

// Requests of any goroutine to close a connection or a half of it. Each request is recorded under the connection's lock, in one order with
// its writes, and carried out by the loop.

// Close closes the connection in order: it takes no more output from now on, finishes the requests that workers have and sends their
// replies, flushes, closes our half, and reads until the peer has closed its half, so that the output arrives. Input is discarded
// meanwhile. Close does not wait for any of that. CloseTimeout limits the time in which the peer neither takes output nor closes its half.
// The handler's Close is called with a nil reason. Errors: ErrClosed if the connection is closed or being closed already, which needs no
// handling. Any goroutine.
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

// CloseWrite closes our half when everything written so far is flushed; the peer reads the end of the stream, and may go on
// sending. Writes are refused with ErrClosed from now on, and the connection is closed when the peer closes its half. Errors:
// ErrClosed. Any goroutine.
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

// CloseRead discards all further input until the peer closes its half, which is then not reported to the handler and does not close the
// connection. It cannot be undone. Errors: ErrClosed. Any goroutine.
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
