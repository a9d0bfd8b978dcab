package websocket

import (
	"fmt"

	"github.com/evmq/evmq/server"
)

// A Reply is what Config.Message answers with. Its messages are gathered, and sent when Message returns, with one system call if they are short: that
// costs less than to write to the Conn. Its methods wait while as many bytes wait for the peer as the server permits, and first give the
// loop up if Message runs on it. Message may also write to the Conn, and other goroutines do so; these messages may be sent before those of the Reply. A
// Reply is for the goroutine of Message, and ends when Message returns. It is a small value, which may be copied.
type Reply struct {
	w server.Reply
	c *Conn
}

// conn returns the WebSocket. It panics for the zero Reply, with a text that names the method.
func (r Reply) conn(method string) *Conn {
	if r.c == nil {
		panic("websocket: Reply." + method + " of the zero Reply")
	}
	return r.c
}

// Conn returns the WebSocket. It returns nil for the zero Reply, whose other methods panic. Any goroutine.
func (r Reply) Conn() *Conn { return r.c }

// Blocking declares that Message is about to block, or to compute for a long time. If it runs on the loop, another goroutine runs the loop from
// then on. Without it, that happens some milliseconds later. Any goroutine.
func (r Reply) Blocking() {
	r.conn("Blocking")
	r.w.Blocking()
}

// WriteMessage sends a message, whose bytes are copied. Errors: ErrClosed; server.ErrReplyEnded, which matches net.ErrClosed, after Message has
// returned; ErrInvalid for another type than Text and Binary. That a Text is UTF-8 is up to the caller. May block; not in a callback.
func (r Reply) WriteMessage(t MessageType, p []byte) error {
	c := r.conn("WriteMessage")
	if err := checkType(t); err != nil {
		return err
	}
	f := c.message(t, p)
	defer f.put()
	return r.write(f.buf)
}

// write writes a frame with a message.
func (r Reply) write(frame []byte) error {
	if !r.c.gather() {
		return fmt.Errorf("write a message of %d bytes: %w", len(frame), ErrClosed)
	}
	if _, err := r.w.Write(frame); err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	r.c.sent()
	return nil
}

// WriteText is WriteMessage for a Text. May block; not in a callback.
func (r Reply) WriteText(s string) error {
	f := bytesOf(s)
	defer f.put()
	return r.WriteMessage(Text, f.buf)
}

// WriteBinary is WriteMessage for a Binary. May block; not in a callback.
func (r Reply) WriteBinary(p []byte) error { return r.WriteMessage(Binary, p) }

// Flush sends the messages that were written so far. Errors: ErrClosed. May block; not in a callback.
func (r Reply) Flush() error {
	r.conn("Flush")
	return r.w.Flush()
}

// Notify makes the loop call done once: with nil when all messages that were written to the Reply were given to the kernel, or with the reason why
// they were not. When Notify fails, done is not called. Errors: ErrClosed; ErrInvalid if done is nil. May block; not in a callback.
func (r Reply) Notify(done func(error)) error {
	r.conn("Notify")
	return r.w.Notify(done)
}

// sent records that a message to a Reply was accepted.
func (c *Conn) sent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.entry.wheel; c.state == stateOpen && r != nil {
		r.counts.sent.Add(1)
		c.recordMessage()
	}
}

// gather records that the Reply of the message that is handled has bytes which a close frame has to follow. It reports whether messages may be
// sent.
func (c *Conn) gather() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return false
	}
	c.gathered = true
	return true
}
