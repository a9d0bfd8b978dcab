package websocket

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/gobwas/ws"

	"github.com/evmq/evmq/server"
)

// WriteMessage sends a message, whose bytes are copied. It does not wait. Messages that several goroutines write are sent one after the
// other. Errors: ErrClosed; ErrFull; ErrInvalid for another type than Text and Binary. After an error nothing was accepted. That a Text is
// UTF-8 is up to the caller. Any goroutine.
func (c *Conn) WriteMessage(t MessageType, p []byte) error { return c.WriteNotify(t, p, nil) }

// WriteText is WriteMessage for a Text. Any goroutine.
func (c *Conn) WriteText(s string) error {
	f := bytesOf(s)
	defer f.put()
	return c.WriteNotify(Text, f.buf, nil)
}

// WriteBinary is WriteMessage for a Binary. Any goroutine.
func (c *Conn) WriteBinary(p []byte) error { return c.WriteNotify(Binary, p, nil) }

// WriteNotify is WriteMessage, and done, if not nil, is called once, on the connection's loop: with nil when all of the message was given to
// the kernel, or with the reason why it was not. When WriteNotify itself fails, done is not called. Any goroutine.
func (c *Conn) WriteNotify(t MessageType, p []byte, done func(error)) error {
	if err := checkType(t); err != nil {
		return err
	}
	f := c.message(t, p)
	defer f.put()
	return c.write(f.buf, done, false)
}

// checkType returns an error if messages of this type do not exist.
func checkType(t MessageType) error {
	if t != Text && t != Binary {
		return fmt.Errorf("write a message: %w: type %d", ErrInvalid, t)
	}
	return nil
}

// write writes a frame with a message. With owned, the frame is not copied, and must not change.
func (c *Conn) write(frame []byte, done func(error), owned bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return fmt.Errorf("write a message of %d bytes: %w", len(frame), ErrClosed)
	}
	var err error
	switch most := c.h.cfg.MaxOutput; {
	case most > 0 && c.Buffered() >= most:
		err = fmt.Errorf("%w: the limit is %d bytes", ErrFull, most)
	case owned:
		err = c.sc.WriteOwned(frame, done)
	case done != nil:
		err = c.sc.WriteNotify(frame, done)
	default:
		_, err = c.sc.Write(frame)
	}
	counts := c.entry.wheel.counts
	if err == nil {
		counts.sent.Add(1)
		c.recordMessage()
		return nil
	}
	if errors.Is(err, ErrFull) {
		counts.full.Add(1)
		if c.h.cfg.CutOffSlow {
			c.overflow(err)
		}
	}
	return fmt.Errorf("write a message: %w", err)
}

// overflow ends the connection, whose peer is slow. err matches ErrFull. Under mu.
func (c *Conn) overflow(err error) {
	if c.state == stateOpen {
		c.state = stateClosed
		c.end = &CloseError{Code: CloseAbnormal, Err: err}
	}
	c.cutOff(err)
}

// cutOffSlow is overflow without mu.
func (c *Conn) cutOffSlow(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.overflow(err)
}

// A frame is a buffer with a frame.
type frame struct{ buf []byte }

var framePool = sync.Pool{New: func() any { return new(frame) }}

// put ends the use of the frame.
func (f *frame) put() {
	if cap(f.buf) <= maxKept {
		framePool.Put(f)
	}
}

// bytesOf returns a copy of s in a buffer from the pool.
func bytesOf(s string) *frame {
	f := framePool.Get().(*frame)
	f.buf = append(f.buf[:0], s...)
	return f
}

// message returns a frame with a message, compressed if that is agreed on and makes it shorter.
func (c *Conn) message(t MessageType, p []byte) *frame {
	if !c.deflates || len(p) < c.h.cfg.DeflateMin {
		return c.frame(firstByte(ws.OpCode(t), false), p)
	}
	level := c.h.cfg.DeflateLevel
	d := takeDeflater(level)
	defer d.put(level)
	if q := d.deflate(p); len(q) < len(p) {
		return c.frame(firstByte(ws.OpCode(t), true), q)
	}
	return c.frame(firstByte(ws.OpCode(t), false), p)
}

// frame returns a frame with a payload.
func (c *Conn) frame(first byte, payload []byte) *frame {
	f := framePool.Get().(*frame)
	if !c.isClient {
		f.buf = appendHeader(f.buf[:0], first, len(payload), nil)
		f.buf = append(f.buf, payload...)
		return f
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // it does not fail
	f.buf = appendHeader(f.buf[:0], first, len(payload), &mask)
	f.buf = append(f.buf, payload...)
	ws.Cipher(f.buf[len(f.buf)-len(payload):], mask, 0)
	return f
}

// writeControl writes a control frame, to w if it is not nil.
func (c *Conn) writeControl(w *server.Reply, op ws.OpCode, payload []byte) error {
	f := c.frame(firstByte(op, false), payload)
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
