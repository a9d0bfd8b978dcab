package server

import "fmt"

// CloseWrite ends the output of the connection while the request is still in progress. When the bytes of the reply, and the output before
// them, are flushed, the write side is closed, after close_notify if the connection uses TLS, and the peer reads the end of the stream. Input
// is still read, so that the request of a tunnel can pass the end of one direction on while the other one is open. From now on the methods of
// the reply that write return ErrClosed, and so do writes to the connection. When the request ends, the connection is closed, as by
// Conn.Close, since no other request could be answered. CloseWrite waits for room as Write does, and not until the output is flushed.
//
// Errors: ErrUnsupported for requests of Requests.Serve and of Dispatcher.Concurrent above 1; ErrClosed also after Conn.CloseWrite, Conn.Close
// and Conn.Detach; otherwise as Write. May block; not in a callback.
func (w Reply) CloseWrite() error {
	if err := w.closeWrite(); err != nil {
		return fmt.Errorf("close the write side of a reply: %w", err)
	}
	return nil
}

// closeWrite is CloseWrite without the operation in the error.
func (w Reply) closeWrite() error {
	r, err := w.lock()
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if r.order != 0 {
		return ErrUnsupported
	}
	if err := r.sendGathered(piece{}, false); err != nil {
		return err
	}
	c := w.c
	c.mu.Lock()
	if c.state != connOpen {
		err := c.refusal()
		c.mu.Unlock()
		return err
	}
	c.setState(connHalf)
	r.isFinal, r.room = true, -1
	c.unlockAndCheck()
	return nil
}

// endFinal begins the close of the connection of a reply that ends after CloseWrite, as Conn.Close does. Under mu and c.mu; the caller
// queues the connection.
func (r *replyState) endFinal() {
	if c := r.c; r.isFinal && c.state == connHalf {
		c.setState(connClosing)
		c.commands |= cmdCheck
	}
	r.isFinal = false
}

// shutsWrite reports whether the request in progress has called Reply.CloseWrite. Under mu, on the loop.
func (c *loopConn) shutsWrite() bool {
	return c.holds.has(holdWorker) && c.in.reply.isFinal && c.state == connHalf
}
