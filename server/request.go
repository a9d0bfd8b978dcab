package server

import (
	"runtime/debug"
)

// maxBatch is how many requests of one connection a worker takes in a row before it takes another connection's.
const maxBatch = 64

// Run answers the requests of an input, one after the other, on a worker.
func (in *input) Run() {
	in.become(inputInWork)
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
	in.serveAll(c)
	normal = true
}

// serveAll has the messages answered, the replies committed and the last one left to end.
func (in *input) serveAll(c *Conn) {
	message := in.takeFirst(c)
	for served := 1; message != nil; served++ {
		in.request.handler.ServeRequest(in.beginReply(), message)
		if in.request.framing == nil || len(in.rest()) == 0 || in.request.final || served == maxBatch || !in.mayGoOn(c) {
			break
		}
		if message = in.next(); message != nil && !in.reply.commit() {
			break
		}
	}
	in.end()
}

// takeFirst returns the request that the loop has found, nil if the connection is gone meanwhile.
func (in *input) takeFirst(c *Conn) []byte {
	c.mu.Lock()
	gone := c.state == connClosed
	c.mu.Unlock()
	message := in.request.first
	in.request.first = nil
	if gone {
		return nil
	}
	return message
}

// mayGoOn reports whether the worker takes another message of the rest: not if the last request has changed the connection's handler or
// paused it, or when its output is above HighWater.
func (in *input) mayGoOn(c *Conn) bool {
	r := &in.reply
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state <= connHalf && !c.pauseRequested() && (c.ext == nil || !c.ext.fresh) && c.held()+len(r.buf) < c.loop.srv.cfg.HighWater
}

// next takes the next message, skipping bytes that are none. It returns nil if the rest is for the loop: no message is complete, or
// the framing does not understand it. The framing gives the loop the same result.
func (in *input) next() (message []byte) {
	for in.pos < len(in.buf) {
		rest := in.rest()
		found, err := in.request.framing.Next(rest, in.cursor, in.request.atEOF)
		if err != nil || found.Advance < 0 || found.Advance > len(rest) {
			return nil
		}
		in.pos += found.Advance
		in.cursor, in.request.final = found.Cursor, found.Final
		if found.Message != nil || found.Final || found.Advance == 0 {
			return found.Message
		}
	}
	return nil
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
		r.commitLocked()
	}
	r.end(replyEnded)
	r.count(0)
	r.buf = r.buf[:0]
	in.become(inputWithLoop)
	r.mu.Unlock() // before c.mu: from then on the input may be another connection's
	if c.state == connClosed {
		c.count(in, 0) // here, since the loop may be gone, too
	}
	queue := c.mark(cmdDone)
	c.mu.Unlock()
	c.enqueue(queue)
}

// refuse answers the first request with BusyText, on the loop.
func (in *input) refuse() {
	in.become(inputInWork)
	c := in.reply.c
	if in.takeFirst(c) != nil {
		in.beginReply()
		in.reply.refused = true
		in.reply.buf = append(in.reply.buf, c.loop.srv.cfg.BusyText...)
	}
	in.end()
}
