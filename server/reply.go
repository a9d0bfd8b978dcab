package server

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// replyBuffer is how much of a reply is gathered before it goes to the connection, and maxBatch how many requests of one
// connection a worker takes in a row before others come.
const (
	replyBuffer = 16 << 10
	maxBatch    = 64
)

// A Reply takes the answer to one request. What is written to it goes out together, before anything that is written to the
// connection meanwhile, up to Flush or the end of the function that it was given to. It must not be used after that.
type Reply struct {
	in *input
	c  *Conn

	mu       sync.Mutex
	open     bool
	buf      []byte // not yet the connection's
	err      error  // of a Flush; everything after it fails too
	order    uint64 // Concurrent: the request's place among those of its connection
	answered bool   // Concurrent: has ended, and waits for those before it
	refused  bool   // is BusyText; no worker has answered
}

// Write adds p to the reply. It waits while the connection's output is full, until Context ends; the error is then the reason of
// that. Up to 16 KB are gathered before the connection takes them. May block; not in a callback.
func (r *Reply) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return 0, fmt.Errorf("write %d bytes to a reply: %w", len(p), err)
	}
	if len(r.buf)+len(p) <= replyBuffer {
		r.buf = append(r.buf, p...)
		return len(p), nil
	}
	return r.writeLong(p)
}

// WriteString is Write of a string. May block; not in a callback.
func (r *Reply) WriteString(s string) (int, error) { return r.Write(bytesOf(s)) }

// writeLong gives the connection what is gathered, and p in pieces. Under r.mu.
func (r *Reply) writeLong(p []byte) (n int, err error) {
	if err = r.send(r.buf, true); err != nil {
		return 0, err
	}
	r.buf = r.buf[:0]
	for len(p)-n > replyBuffer {
		piece := p[n:min(n+4*replyBuffer, len(p))]
		if err = r.send(piece, true); err != nil {
			return n, err
		}
		n += len(piece)
	}
	r.buf = append(r.buf, p[n:]...)
	return len(p), nil
}

// Flush gives the connection what was written so far. What others write may come behind it, before the rest of the reply. It
// waits as Write does. May block; not in a callback.
func (r *Reply) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return fmt.Errorf("flush a reply: %w", err)
	}
	if err := r.send(r.buf, false); err != nil {
		return err
	}
	r.buf = r.buf[:0]
	return nil
}

// Conn is the connection that the request came from. Any goroutine.
func (r *Reply) Conn() *Conn { return r.c }

// Context is the connection's: it ends with it, and at the latest with Shutdown's deadline. Any goroutine.
func (r *Reply) Context() context.Context { return r.c.Context() }

func (r *Reply) usable() error {
	if !r.open {
		return ErrReplyEnded
	}
	return r.err
}

// send waits for room and appends p to the output. With hold, what others write from now on waits for the rest of the
// reply. Under r.mu, not c.mu.
func (r *Reply) send(p []byte, hold bool) error {
	c := r.c
	for {
		c.mu.Lock()
		if c.state.isDead() {
			r.err = c.refusal()
			c.mu.Unlock()
			return r.err
		}
		x := c.extra()
		if r.isFirst(x) && c.ahead() < c.loop.srv.MaxOutput {
			if r.put(p); c.state == connClosed {
				r.err = c.refusal()
				c.unlockAndTell()
				return r.err
			}
			if x.floor = nil; hold {
				x.floor = r
			} else {
				c.spliceAside()
			}
			c.unlockAndTell()
			return nil
		}
		if x.room == nil {
			x.room = make(chan struct{})
		}
		room := x.room
		c.mu.Unlock()
		select {
		case <-room: // is closed with the connection, too
		case <-c.loop.srv.cutCtx.Done(): // which the loop may not come to see
			r.err = fmt.Errorf("%w (%w)", ErrClosed, ErrServerClosed)
			return r.err
		}
	}
}

// put appends p to what goes to the kernel. When the whole server holds too much, it ends the connection instead, but for a small
// answer to a peer that has taken all before. Under c.mu; who calls tells the loop.
func (r *Reply) put(p []byte) {
	c := r.c
	s := c.loop.srv
	switch {
	case len(p) == 0 || c.state.isDead():
	case s.buffered.Load() >= s.MaxBuffered && (c.held() > 0 || len(p) > replyBuffer):
		c.state = connClosed
		c.setReason(fmt.Errorf("%w: %d bytes are buffered", ErrOverload, s.MaxBuffered))
		c.commands |= cmdLook
	default:
		c.output().Append(p)
		s.buffered.Add(int64(len(p)))
	}
}

// spliceAside lets out what was written while a reply was sent in pieces. Under mu.
func (c *Conn) spliceAside() {
	if x := c.ext; x != nil && x.aside != nil {
		c.output().Splice(x.aside)
		x.aside.Free()
		x.aside = nil
	}
}

// Run answers the requests of an input, one after the other, on a worker.
func (in *input) Run() {
	c := in.reply.c
	survives := c.loop.srv.OnPanic != nil
	normal := false
	defer func() {
		if normal {
			return
		}
		v := recover()
		if v != nil && !survives {
			panic(v)
		}
		defer func() { // OnPanic may call runtime.Goexit
			c.abort(ErrPanic)
			in.end()
		}()
		if v != nil {
			c.loop.srv.OnPanic(c, v, debug.Stack())
		}
	}()
	in.runAll(c)
	normal = true
}

func (in *input) runAll(c *Conn) {
	message, ok := in.first(c)
	for served := 1; ok; served++ {
		in.reply.open, in.reply.refused = true, false
		in.d.Serve(&in.reply, message)
		if len(in.rest()) == 0 || in.final || served == maxBatch || in.reply.order != 0 {
			break
		}
		if !in.follow(c) {
			break
		}
		pos, place := in.pos, in.place
		if message, ok = in.next(); ok && !in.reply.commit() {
			in.pos, in.place, in.final = pos, place, false // the loop goes on with it when there is room
			break
		}
	}
	in.end()
}

// first returns the request, unless the connection is gone meanwhile.
func (in *input) first(c *Conn) ([]byte, bool) {
	c.mu.Lock()
	gone := c.state == connClosed
	c.mu.Unlock()
	if gone {
		return nil, false
	}
	return in.next()
}

// follow sees whether the last request has changed the connection's handler, and reports whether the rest is still for a worker.
func (in *input) follow(c *Conn) bool {
	c.mu.Lock()
	h, open := c.handlerLocked(), c.state <= connHalf && !c.wishesPause()
	if c.isFresh() {
		in.place = 0
	}
	c.mu.Unlock()
	d, ok := h.(*Dispatcher)
	if !ok || !open || d.Concurrent > 1 {
		return false
	}
	in.d = d
	return true
}

// next takes the next message, passing over bytes that are none.
func (in *input) next() (message []byte, ok bool) {
	if in.framed {
		return in.buf, true
	}
	for in.pos < len(in.buf) {
		n, message, place, err := in.d.Framing.Next(in.rest(), in.place, in.eof)
		in.final = isFinal(err)
		if err != nil && !in.final || n == 0 && message == nil {
			in.place = place
			return nil, false // incomplete or wrong: the loop will see the same
		}
		in.pos += n
		in.place = place
		if message != nil {
			return message, true
		}
		if in.final {
			return nil, false
		}
	}
	return nil, false
}

// commit gives the reply to the connection when another request of it follows at once. It reports whether to go on.
func (r *Reply) commit() bool {
	c := r.c
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	if c.state == connClosed {
		c.mu.Unlock()
		return false
	}
	r.finishLocked()
	goOn := c.held() < c.loop.srv.HighWater
	c.unlockAndTell()
	return goOn
}

// finishLocked makes what was gathered the connection's, and lets others write behind it. Under r.mu and c.mu.
func (r *Reply) finishLocked() {
	c := r.c
	r.put(r.buf)
	r.buf = r.buf[:0]
	r.open = false
	if !r.refused {
		c.reqs++
		c.loop.traffic.requests.Add(1)
	}
	if x := c.ext; x != nil && x.floor == r {
		x.floor = nil
		c.spliceAside()
	}
}

// end gives the input back to the loop, with the last reply.
func (in *input) end() {
	r := &in.reply
	c := r.c
	if r.order != 0 {
		in.endInOrder()
		return
	}
	r.mu.Lock()
	c.mu.Lock()
	if r.open && c.state != connClosed {
		r.finishLocked()
	}
	r.open, r.buf = false, r.buf[:0]
	r.mu.Unlock() // before c.mu: from then on the input may be another connection's
	if c.state == connClosed {
		c.count(in, 0) // here, since the loop may be gone, too
	}
	tell := c.mark(cmdDone)
	c.mu.Unlock()
	c.tell(tell)
}

// refuse answers the first request with BusyText, on the loop.
func (in *input) refuse() {
	c := in.reply.c
	if _, ok := in.first(c); ok {
		in.reply.open, in.reply.refused = true, true
		in.reply.buf = append(in.reply.buf, c.loop.srv.BusyText...)
	}
	in.end()
}
