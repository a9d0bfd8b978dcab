package server

import "fmt"

// The methods of this file close a connection or one half of it. Each of them records its request under the connection's lock, so that it
// is ordered with the writes. The loop carries it out.

// Close closes the connection in order. From now on writes are refused and input is discarded. The requests in progress are answered and
// the output is flushed; then the write side is closed, and the connection is read until the peer closes its half, since a close with
// unread input sends a reset, which may destroy output on its way. Close does not wait for any of that. CloseTimeout limits the time in
// which the peer neither takes output nor closes its half. The handler's Close is called with a nil reason.
//
// Errors: ErrClosed if the connection is closed or being closed already; callers may ignore it. Any goroutine.
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

// CloseWithError is Close with a reason, which is passed to the handler's Close. With a nil reason it is Close. Errors: as Close. Any
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

// closeAndUnlock requests the close of a connection that is open, and unlocks mu.
func (c *Conn) closeAndUnlock(reason error) {
	c.setState(connClosing)
	c.setReason(reason)
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// Abort closes the connection at once, also if it is being closed already. Where the network has resets, it sends one. Output that waits
// fails. The reason is ErrAborted; if the connection was being closed with an error, by CloseWithError for example, the reason matches
// both. Any goroutine.
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
	c.setState(connClosed)
	c.setReason(reason)
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// CloseWrite closes the write side when everything written so far is flushed; the peer reads the end of the stream, and may continue to
// send. Writes are refused with ErrClosed from now on, and the connection is closed when the peer closes its half. Errors: ErrClosed. Any
// goroutine.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.state != connOpen {
		err := c.refusal()
		c.mu.Unlock()
		return fmt.Errorf("close write: %w", err)
	}
	c.setState(connHalf)
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}

// CloseRead discards all input from now on, including input that the handler has not consumed. The connection is still read, so that the
// peer is not blocked, and the end of the peer's stream is not reported and does not close the connection. Requests in progress are still
// answered. CloseRead cannot be undone. Errors: ErrClosed. Any goroutine.
func (c *Conn) CloseRead() error {
	c.mu.Lock()
	if c.state >= connClosing {
		err := c.refusal()
		c.mu.Unlock()
		return fmt.Errorf("close read: %w", err)
	}
	queue := c.mark(cmdCloseRead)
	c.mu.Unlock()
	c.enqueue(queue)
	return nil
}
