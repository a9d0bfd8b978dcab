package websocket

import (
	"fmt"
	"sync"

	"github.com/gobwas/ws"
)

// A Prepared is a message that is encoded, and compressed, once for all WebSockets that it is sent to. It does not change, and any goroutine
// may use it, any number of times.
type Prepared struct {
	t     MessageType
	plain []byte // a frame without compression
	head  int    // the length of its header

	once     sync.Once
	deflated []byte // a compressed frame; nil if it would be longer
}

// Prepare makes a message. p is copied. Errors: ErrInvalid for another type than Text and Binary. That a Text is UTF-8 is up to the caller. Any
// goroutine.
func Prepare(t MessageType, p []byte) (*Prepared, error) {
	if err := checkType(t); err != nil {
		return nil, err
	}
	plain := appendHeader(make([]byte, 0, maxHeader+len(p)), firstByte(ws.OpCode(t), false), len(p), nil)
	return &Prepared{t: t, head: len(plain), plain: append(plain, p...)}, nil
}

// payload returns the message itself.
func (m *Prepared) payload() []byte { return m.plain[m.head:] }

// frameFor returns the frame for a Conn that does not mask its frames. The first WebSocket with compression decides on the level.
func (m *Prepared) frameFor(c *Conn) []byte {
	if !c.deflates || len(m.payload()) < c.h.cfg.DeflateMin {
		return m.plain
	}
	m.once.Do(func() {
		level := c.h.cfg.DeflateLevel
		d := takeDeflater(level)
		defer d.put(level)
		if q := d.deflate(m.payload()); len(q) < len(m.payload()) {
			m.deflated = appendHeader(make([]byte, 0, maxHeader+len(q)), firstByte(ws.OpCode(m.t), true), len(q), nil)
			m.deflated = append(m.deflated, q...)
		}
	})
	if m.deflated == nil {
		return m.plain
	}
	return m.deflated
}

// minOwned is the length from which on a frame is sent without a copy: the copy of a shorter one costs less than the record of a slice.
const minOwned = 512

// check returns an error if Prepare has not made m.
func (m *Prepared) check() error {
	switch {
	case m == nil:
		return fmt.Errorf("write a message: %w: Prepared is nil", ErrInvalid)
	case m.plain == nil:
		return fmt.Errorf("write a message: %w: Prepare has not made the Prepared", ErrInvalid)
	}
	return nil
}

// WritePrepared is WriteNotify for a message that is encoded already. It does not copy the message, unless it is short or c is a client, whose frames are
// masked. Errors: ErrClosed; ErrFull; ErrInvalid if m is nil or Prepare has not made it. Any goroutine.
func (c *Conn) WritePrepared(m *Prepared, done func(error)) error {
	if err := m.check(); err != nil {
		return err
	}
	if c.isClient {
		return c.WriteNotify(m.t, m.payload(), done)
	}
	f := m.frameFor(c)
	return c.write(f, done, len(f) >= minOwned)
}

// WritePrepared is WriteMessage for a message that is encoded already. Errors: those of WriteMessage. May block; not in a callback.
func (r Reply) WritePrepared(m *Prepared) error {
	r.conn("WritePrepared")
	if err := m.check(); err != nil {
		return err
	}
	if r.c.isClient {
		return r.WriteMessage(m.t, m.payload())
	}
	return r.write(m.frameFor(r.c))
}

// A BroadcastError says that a WebSocket did not accept a broadcast, and why.
type BroadcastError struct {
	Conn *Conn // nil if the element of conns was nil
	Err  error // the reason: one of the errors of Conn.WritePrepared; ErrInvalid for a nil Conn
}

// Error returns a text with the operation, the address of the peer and the reason. Any goroutine.
func (e BroadcastError) Error() string {
	if e.Conn == nil {
		return fmt.Sprintf("websocket: broadcast: %v", e.Err)
	}
	return fmt.Sprintf("websocket: broadcast to %v: %v", e.Conn.RemoteAddr(), e.Err)
}

// Unwrap returns the reason. Any goroutine.
func (e BroadcastError) Unwrap() error { return e.Err }

// Broadcast sends m to each of conns, and does not wait: a peer that does not read costs the others no time, and at most Config.MaxOutput bytes. The
// result has an error for each WebSocket that has refused m, and is nil if there is none: the errors of Conn.WritePrepared.
//
// done, if not nil, is called once for each of the other WebSockets, on its loop: with nil when m was given to the kernel, or with the reason why it
// was not. It must not block. On each WebSocket the order of the writes and broadcasts of one goroutine is kept. Broadcast allocates nothing
// for a WebSocket that accepts m. Any goroutine.
func Broadcast(conns []*Conn, m *Prepared, done func(c *Conn, err error)) (refused []BroadcastError) {
	for _, c := range conns {
		if c == nil {
			refused = append(refused, BroadcastError{nil, fmt.Errorf("%w: Conn is nil", ErrInvalid)})
		} else if err := c.broadcast(m, done); err != nil {
			refused = append(refused, BroadcastError{c, err})
		}
	}
	return refused
}

// broadcast is WritePrepared for one of many.
func (c *Conn) broadcast(m *Prepared, done func(c *Conn, err error)) error {
	if done == nil {
		return c.WritePrepared(m, nil)
	}
	o, ok := outcomes.Get().(*outcome)
	if !ok {
		o = new(outcome)
		o.call = o.tell
	}
	o.c, o.done = c, done
	err := c.WritePrepared(m, o.call)
	if err != nil {
		o.put()
	}
	return err
}

// An outcome passes what has become of a broadcast to a WebSocket on to done. It is used again, so that a broadcast need not allocate a function for each.
type outcome struct {
	c    *Conn
	done func(c *Conn, err error)
	call func(error) // tell
}

var outcomes sync.Pool

// tell calls done.
func (o *outcome) tell(err error) {
	c, done := o.c, o.done
	o.put()
	done(c, err)
}

// put ends the use of o.
func (o *outcome) put() {
	o.c, o.done = nil, nil
	outcomes.Put(o)
}
