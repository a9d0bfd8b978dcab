package server

import (
	"context"
	"fmt"
	"os"

	"github.com/evmq/evmq/internal/outq"
)

// A Reply receives the answer to one request. The bytes that are written to it up to Flush, or up to the end of the function that it was
// passed to, are sent without other bytes in between: bytes that are written to the connection meanwhile are sent before or after them.
// When the function has returned, every method that writes returns ErrReplyEnded, also while a later request of the connection is in
// progress. After Defer, all this applies to the call of Close in place of the return of the function. A Reply is a small value, which may
// be copied and used from several goroutines; the bytes of each Write are contiguous. The zero Reply has ended.
type Reply struct {
	c      *Conn
	in     *input // its replyState is this reply's as long as it has the same number
	number uint64
}

// Write copies p to the reply. Up to 16 KB, or 64 KB while the function runs on the loop, are gathered before they become output of
// the connection. For more, Write waits while the connection holds MaxOutput bytes or more, and, with concurrent requests, while older ones
// are not answered. It returns the number of bytes that were copied.
//
// Errors: ErrReplyEnded; ErrClosed, with the reason, if the connection accepts no more output, also if that happens during a wait. After one
// of these errors, all methods that write return it. After the time of SetWriteDeadline, an error that matches os.ErrDeadlineExceeded. In a
// callback of the connection's loop, a call that would have to wait for the loop, or for a write of another goroutine that waits or is long,
// returns event.ErrOnLoop. May block; not in a callback.
func (w Reply) Write(p []byte) (int, error) {
	if w.in != nil && w.in.reply.number.Load() == w.number && w.in.reply.mu.TryLock() { // the usual case
		r := &w.in.reply
		if r.number.Load() == w.number && r.err == nil && r.order == 0 && r.deferral == nil && !w.c.isDead() && len(r.buf)+len(p) <= r.room {
			r.gather(p)
			r.mu.Unlock()
			return len(p), nil
		}
		r.mu.Unlock()
	}
	return w.writeSlowly(p)
}

// writeSlowly is Write for the cases in which it has to wait or to make the gathered bytes output.
func (w Reply) writeSlowly(p []byte) (int, error) {
	r, err := w.lock()
	if err != nil {
		return 0, fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	n := 0
	switch {
	case len(r.buf)+len(p) > r.room || r.overfull:
		n, err = r.writeLong(p)
	case r.mayGather(len(p)):
		r.gather(p)
		n = len(p)
	default:
		err = r.err
	}
	r.mu.Unlock()
	if err != nil {
		return n, fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	return n, nil
}

// WriteString is Write of a string. May block; not in a callback.
func (w Reply) WriteString(s string) (int, error) { return w.Write(bytesOf(s)) }

// WriteOwned is Write without a copy: p belongs to the connection from the call on, and must not be changed. release, if not nil, is called
// once, on the connection's loop, with nil or the reason why p was not given to the kernel; then p belongs to the caller again. WriteOwned
// waits as Write does. When it fails, nothing of p was accepted and release is not called. Errors: as Write. May block; not in a callback.
func (w Reply) WriteOwned(p []byte, release func(error)) error {
	if release == nil {
		release = func(error) {}
	}
	if err := w.add(piece{owned: p, done: release}); err != nil {
		return fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	return nil
}

// SendFile adds n bytes of f from offset to the reply, after the bytes that were written to it before. It is like Conn.SendFile, except
// that it waits where Conn.SendFile returns ErrFull. When SendFile fails, done is not called. Errors: ErrInvalid; otherwise as Write. May
// block; not in a callback.
func (w Reply) SendFile(f *os.File, offset, n int64, done func(error)) error {
	if err := checkFile(f, offset, n); err != nil {
		return err
	}
	if err := w.add(piece{file: &outq.File{F: f, Offset: offset, Remain: n, Done: done}}); err != nil {
		return fmt.Errorf("send %d bytes of %s: %w", n, f.Name(), err)
	}
	return nil
}

// Notify makes the loop call done once: with nil when all earlier bytes of the reply were given to the kernel, or with the reason why they
// were not. It waits as Write does, since the gathered bytes become output first. When Notify fails, done is not called. Errors: ErrInvalid
// if done is nil; otherwise as Write. May block; not in a callback.
func (w Reply) Notify(done func(error)) error {
	if done == nil {
		return fmt.Errorf("notify of a reply: %w: function is nil", ErrInvalid)
	}
	if err := w.add(piece{done: done}); err != nil {
		return fmt.Errorf("notify of a reply: %w", err)
	}
	return nil
}

// Flush makes the bytes that were written so far output of the connection. Later writes to the connection may be sent before the rest of
// the reply. It waits as Write does. Errors: as Write. May block; not in a callback.
func (w Reply) Flush() error {
	r, err := w.lock()
	if err == nil {
		defer r.mu.Unlock()
		err = r.sendGathered(piece{}, false)
	}
	if err != nil {
		return fmt.Errorf("flush a reply: %w", err)
	}
	return nil
}

// Blocking declares that the function of the reply is about to block, or to compute for a long time. If the function runs on the
// connection's loop, another goroutine runs the loop from then on, without the delay of some milliseconds that Adaptive describes.
// Otherwise, and when the reply has ended, Blocking does nothing. The methods of Reply that wait call it. Any goroutine.
func (w Reply) Blocking() {
	if w.in != nil && w.number == w.in.reply.number.Load() {
		w.in.reply.leaveLoop(w.c)
	}
}

// Conn returns the connection that the request came from, also when the reply has ended. It returns nil for the zero Reply. Any goroutine.
func (w Reply) Conn() *Conn { return w.c }

// Context returns Conn.Context of the connection, which takes up memory until the connection ends. OnCancel needs none after the end of the
// reply. Context panics for the zero Reply. Any goroutine.
func (w Reply) Context() context.Context { return w.c.Context() }

// add makes the gathered bytes, followed by p, output of the connection.
func (w Reply) add(p piece) error {
	r, err := w.lock()
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	return r.sendGathered(p, true)
}
