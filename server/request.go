package server

import (
	"runtime/debug"

	"github.com/evmq/evmq/server/framing"
)

// maxBatch limits the requests of one connection that a worker answers in succession, before those of other connections.
const maxBatch = 64

// run answers the requests of an input, one after the other, on a worker or as the loop's leader.
func (in *input) run() {
	in.become(inputInProgress)
	c := in.reply.c
	recovers := c.loop.srv.cfg.OnPanic != nil
	normal := false
	defer func() {
		if normal {
			return
		}
		v := recover()
		if v != nil && !recovers {
			panic(v)
		}
		defer func() { // OnPanic may block, or call runtime.Goexit, as the handler may
			if in.leader != nil {
				in.leader.leaveHandler(in)
			}
			c.abort(ErrPanic)
			in.end()
		}()
		if v != nil {
			c.loop.srv.cfg.OnPanic(c, v, debug.Stack())
		}
	}()
	in.serveAll(c)
	normal = true
}

// serveAll answers the messages and commits the replies, except for the last one, which end commits.
func (in *input) serveAll(c *Conn) {
	message := in.takeMessage(c)
	for served := 1; message != nil; served++ {
		isLast := in.request.framing == nil || len(in.rest()) == 0 // before the function may use Input
		in.call(message)
		if isLast || in.request.final || served == maxBatch || in.leader != nil && !in.leader.mayGoOn(in) || !in.commit() {
			break
		}
		message = in.next()
	}
	in.end()
}

// call calls the handler with one message.
func (in *input) call(message []byte) {
	w := in.beginReply()
	if in.leader != nil {
		in.leader.call(in, w, message)
	} else {
		in.request.handler.ServeRequest(w, message)
	}
}

// takeMessage returns the message that the loop has found, or nil if the connection is closed.
func (in *input) takeMessage(c *Conn) []byte {
	message := in.request.first
	in.request.first = nil
	if c.isDead() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state == connClosed { // and not broken
			return nil
		}
	}
	return message
}

// next returns the next message, and skips the bytes that the framing skips. It returns nil if no message is complete, the stream is
// invalid, or the message belongs to another executor. Then the loop handles the rest, for which the framing returns the same result.
func (in *input) next() (message []byte) {
	for in.pos < len(in.buf) {
		rest := in.rest()
		found, err := in.request.framing.Next(rest, in.cursor, in.request.atEOF)
		if err != nil || found.Advance < 0 || found.Advance > len(rest) || found.Message != nil && !in.request.mayServe(found.Message) {
			return nil
		}
		in.advance(found)
		if found.Message != nil || found.Final || found.Advance == 0 {
			return found.Message
		}
	}
	return nil
}

// advance consumes what the framing has found.
func (in *input) advance(found framing.Result) {
	if in.isShared {
		c := in.reply.c
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	in.pos += found.Advance
	in.cursor, in.request.final = found.Cursor, found.Final
}

// end gives the input back to the loop, with the last reply, unless the reply was deferred: then it is called again by Close, or when the
// connection has ended.
func (in *input) end() {
	r := &in.reply
	c := r.c
	ld := in.leader
	in.leader = nil
	if r.order != 0 {
		in.endInOrder()
		return
	}
	r.mu.Lock()
	c.mu.Lock()
	if in.staysOpen() {
		r.dropSpare()
		r.mu.Unlock()
		c.mu.Unlock()
		return
	}
	answers, direct := r.isOpen() && c.state != connClosed, false
	if answers {
		r.countAnswer() // before the client can have it
		direct = ld != nil && r.writeNow()
		r.commitLocked()
	}
	r.finish(replyEnded)
	in.endReading()
	r.count(0)
	r.empty()
	r.dropSpare()
	in.become(inputWithLoop)
	r.mu.Unlock() // before c.mu: from then on the input may be another connection's
	if c.state == connClosed {
		c.count(in, 0) // not on the loop, which may have ended
		in.uncountStream()
	}
	queue := c.mark(cmdDone) || direct
	c.mu.Unlock()
	ld.enqueue(c, queue)
}

// abandon closes the connection of an input that no goroutine has, with the reason, and ends its requests.
func (in *input) abandon(reason error) {
	in.reply.c.abort(reason)
	in.end()
}

// refuse answers the first request with BusyText, on the loop.
func (in *input) refuse() {
	in.become(inputInProgress)
	c := in.reply.c
	if in.takeMessage(c) != nil {
		in.beginReply()
		in.reply.refused = true
		in.reply.buf = append(in.reply.buf, c.loop.srv.cfg.BusyText...)
	}
	in.end()
}
