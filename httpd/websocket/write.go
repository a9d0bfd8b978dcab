package websocket

import (
	"fmt"
	"sync"

	"github.com/gobwas/ws"

	"github.com/evmq/evmq/server"
)

// WriteMessage sends a message, whose bytes are copied. It does not wait. Messages that several goroutines write are sent one after the
// other. Errors: ErrClosed; ErrFull; ErrInvalid for another type than Text and Binary. After an error nothing was accepted. That a Text is UTF-8 is
// up to the caller. Any goroutine.
func (c *Conn) WriteMessage(t MessageType, p []byte) error { return c.WriteNotify(t, p, nil) }

// WriteText is WriteMessage for a Text. Any goroutine.
func (c *Conn) WriteText(s string) error { return c.WriteNotify(Text, []byte(s), nil) }

// WriteBinary is WriteMessage for a Binary. Any goroutine.
func (c *Conn) WriteBinary(p []byte) error { return c.WriteNotify(Binary, p, nil) }

// WriteNotify is WriteMessage, and done, if not nil, is called once, on the connection's loop: with nil when all of the message was given to
// the kernel, or with the reason why it was not. When WriteNotify itself fails, done is not called. Any goroutine.
func (c *Conn) WriteNotify(t MessageType, p []byte, done func(error)) error {
	if t != Text && t != Binary {
		return fmt.Errorf("write a message: %w: type %d", ErrInvalid, t)
	}
	f := takeFrame(ws.OpCode(t), p, c.isClient)
	defer f.put()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return fmt.Errorf("write a message of %d bytes: %w", len(p), ErrClosed)
	}
	var err error
	if done == nil {
		_, err = c.sc.Write(f.buf)
	} else {
		err = c.sc.WriteNotify(f.buf, done)
	}
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	return nil
}

// A frame is a buffer with a frame.
type frame struct{ buf []byte }

var framePool = sync.Pool{New: func() any { return new(frame) }}

// takeFrame returns a frame with this payload.
func takeFrame(op ws.OpCode, payload []byte, _ bool) *frame {
	f := framePool.Get().(*frame)
	var mask *[4]byte
	f.buf = appendHeader(f.buf[:0], firstByte(op, false), len(payload), mask)
	f.buf = append(f.buf, payload...)
	return f
}

// put ends the use of the frame.
func (f *frame) put() {
	if cap(f.buf) <= maxKept {
		framePool.Put(f)
	}
}

// writeControl writes a control frame, to w if it is not nil.
func (c *Conn) writeControl(w *server.Reply, op ws.OpCode, payload []byte) error {
	f := takeFrame(op, payload, c.isClient)
	defer f.put()
	var err error
	if w != nil {
		_, err = w.Write(f.buf)
	} else {
		_, err = c.sc.Write(f.buf)
	}
	return err
}

// pong answers a ping, unless a close frame was sent. w is the Reply of the request that runs, or nil on the loop.
func (c *Conn) pong(w *server.Reply, payload []byte) {
	if w != nil {
		if c.gather() {
			_ = c.writeControl(w, ws.OpPong, payload) // fails if the peer is gone
		}
		c.endGather(w)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateOpen {
		_ = c.writeControl(nil, ws.OpPong, payload) // fails if the peer is gone: nothing else waits for it
	}
}
