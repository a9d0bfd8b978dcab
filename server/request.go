package server

import "runtime/debug"

// maxBatch is how many requests of one connection a worker takes in a row before others come.
const maxBatch = 64

// Run answers the requests of an input, one after the other, on a worker.
func (in *input) Run() {
	c := in.reply.c
	survives := c.loop.srv.cfg.OnPanic != nil
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
		in.d.Serve(in.beginReply(), message)
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

// follow reports whether the rest is still for a worker: not if the last request has changed the connection's handler.
func (in *input) follow(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state <= connHalf && !c.wishesPause() && (c.ext == nil || !c.ext.fresh)
}

// next takes the next message, passing over bytes that are none.
func (in *input) next() (message []byte, ok bool) {
	if in.framed {
		return in.buf, true
	}
	for in.pos < len(in.buf) {
		n, message, place, err := in.d.next(in.rest(), in.place, in.eof)
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
	if r.isOpen() && c.state != connClosed {
		r.finishLocked()
	}
	r.end()
	r.count(0)
	r.buf = r.buf[:0]
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
		in.beginReply()
		in.reply.refused = true
		in.reply.buf = append(in.reply.buf, c.loop.srv.cfg.BusyText...)
	}
	in.end()
}
