package server

import (
	"sync"
)

var inputs = sync.Pool{New: func() any { return new(input) }}

// A loop keeps up to maxKeptInputs unused inputs, with buffers of up to maxKeptInput bytes each, outside the pool, because it gets them
// faster there.
const (
	maxKeptInputs = 64
	maxKeptInput  = 2 << 10
)

// maxKept limits the buffer that an input in the pool keeps.
const maxKept = 16 << 10

// newInput makes an unused input the connection's.
func (c *loopConn) newInput() *input {
	var in *input
	if kept := c.loop.inputs; len(kept) > 0 {
		last := len(kept) - 1
		in, kept[last] = kept[last], nil
		c.loop.inputs = kept[:last]
	} else {
		in = inputs.Get().(*input)
	}
	in.reply.c = &c.Conn
	c.in = in
	return in
}

// dropInput discards the input that is not consumed.
func (c *loopConn) dropInput() {
	in := c.in
	if in == nil {
		return
	}
	c.in = nil
	c.deadlines.stop(readDeadline)
	c.count(in, 0)
	if in.isLost() {
		in.uncountStream()
		in.drop()
		return
	}
	c.freeStream(in)
	in.reset()
	if l := c.loop; len(l.inputs) < maxKeptInputs && cap(in.buf)+cap(in.reply.buf) <= maxKeptInput {
		l.inputs = append(l.inputs, in)
	} else {
		inputs.Put(in)
	}
}

// drop leaves an input to the garbage collector, except for its reply, which the program may still use.
func (in *input) drop() { in.buf, in.stream, in.request = nil, nil, request{} }

// recycle puts the input into the pool.
func (in *input) recycle() {
	if in.isLost() {
		in.drop()
		return
	}
	in.reset()
	inputs.Put(in)
}

// reset prepares the input for another connection.
func (in *input) reset() {
	in.shrink()
	in.pos, in.cursor, in.earlyBytes, in.usesInput = 0, 0, 0, false
	in.request = request{}
	in.reply.reset()
}

// count sets the number of bytes that the input is counted with in Server.buffered.
func (c *Conn) count(in *input, n int) {
	if n != in.counted {
		c.loop.srv.addBuffered(n - in.counted)
		in.counted = n
	}
}

// isLost reports whether the input has a deferred reply whose connection has ended first. The goroutine that completes the answer may still
// use the reply, so the input is not used for another connection. It is called when the input is with the loop.
func (in *input) isLost() bool { return in.reply.deferral != nil }
