package server

import (
	"context"
	"fmt"
	"os"

	"github.com/evmq/evmq/internal/outq"
)

// A Reply takes the answer to one request. What is written to it goes out together, before anything that is written to the
// connection meanwhile, up to Flush or the end of the function that it was given to. After that, every method that writes returns
// ErrReplyEnded, however long the Reply is kept and whatever the connection does. A Reply is a small value, which may be copied and
// used from several goroutines; the bytes of each Write are contiguous.
type Reply struct {
	c      *Conn
	in     *input // whose state is the reply's as long as it has the reply's number
	number uint64
}

// Write adds p to the reply. It waits while the connection's output is full, until Context ends; the error is then the reason of
// that. Up to 16 KB are gathered before the connection takes them. Errors: ErrReplyEnded; ErrClosed if the connection has ended. May
// block; not in a callback.
func (w Reply) Write(p []byte) (int, error) {
	r, err := w.lock()
	if err != nil {
		return 0, fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	defer r.mu.Unlock()
	if len(r.buf)+len(p) <= replyBuffer && !r.overfull {
		r.gather(p)
		return len(p), nil
	}
	n, err := r.writeLong(p)
	if err != nil {
		return n, fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	return n, nil
}

// WriteString is Write of a string. May block; not in a callback.
func (w Reply) WriteString(s string) (int, error) { return w.Write(bytesOf(s)) }

// WriteOwned is Write without a copy: p is the connection's from the call on, must not change, and is the caller's again when release,
// which may be nil, is called, once, on the connection's loop, with nil or why p was not given to the kernel. It waits as Write does.
// When WriteOwned itself fails, nothing of p was taken and release is not called. Errors as Write. May block; not in a callback.
func (w Reply) WriteOwned(p []byte, release func(error)) error {
	if release == nil {
		release = func(error) {}
	}
	if err := w.add(piece{owned: p, done: release}); err != nil {
		return fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	return nil
}

// SendFile adds n bytes of f from offset to the reply, behind what was written to it before. It is as SendFile of Conn, except that it
// waits where that returns ErrFull. When SendFile itself fails, done is not called. Errors: ErrInvalid, else as Write. May block; not in a
// callback.
func (w Reply) SendFile(f *os.File, offset, n int64, done func(error)) error {
	if err := checkFile(f, offset, n); err != nil {
		return err
	}
	if err := w.add(piece{file: &outq.File{F: f, Offset: offset, Remain: n, Done: done}}); err != nil {
		return fmt.Errorf("send %d bytes of %s: %w", n, f.Name(), err)
	}
	return nil
}

// Notify has done called, once, on the connection's loop, with what becomes of all that was written to the reply before: nil when it
// is given to the kernel, else why it is not. It waits as Write does, since the connection takes what was gathered first. When Notify
// itself fails, done is not called. Errors: ErrInvalid if done is nil, else as Write. May block; not in a callback.
func (w Reply) Notify(done func(error)) error {
	if done == nil {
		return fmt.Errorf("notify of a reply: %w: nil function", ErrInvalid)
	}
	if err := w.add(piece{done: done}); err != nil {
		return fmt.Errorf("notify of a reply: %w", err)
	}
	return nil
}

// Flush gives the connection what was written so far. What others write may come behind it, before the rest of the reply. It
// waits as Write does. Errors as Write. May block; not in a callback.
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

// Conn is the connection that the request came from, also when the reply has ended. Any goroutine.
func (w Reply) Conn() *Conn { return w.c }

// Context is the connection's: it ends with it, and at the latest with Shutdown's deadline. Any goroutine.
func (w Reply) Context() context.Context { return w.c.Context() }

// add gives the connection what is gathered, with p behind it.
func (w Reply) add(p piece) error {
	r, err := w.lock()
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	return r.sendGathered(p, true)
}

// lock locks the reply's state, unless that is another reply's meanwhile, or the connection has ended.
func (w Reply) lock() (*replyState, error) {
	if w.in == nil { // the zero Reply
		return nil, ErrReplyEnded
	}
	r := &w.in.reply
	if r.number.Load() != w.number { // before the lock, which another reply may hold for long
		return nil, ErrReplyEnded
	}
	r.mu.Lock()
	if r.number.Load() != w.number {
		r.mu.Unlock()
		return nil, ErrReplyEnded
	}
	if r.err == nil {
		w.c.mu.Lock()
		if w.c.state.isDead() {
			r.err = w.c.refusal()
		}
		r.overfull = r.order != 0 && w.c.held() >= w.c.loop.srv.cfg.MaxOutput && !r.isFirst(w.c.ext)
		w.c.mu.Unlock()
	}
	if r.err != nil {
		r.mu.Unlock()
		return nil, r.err
	}
	return r, nil
}
