package server

import (
	"github.com/evmq/evmq/server/framing"
)

// overloads returns an error if n more bytes of input would exceed MaxBuffered.
func (s *Server) overloads(n int) error {
	if n > 0 && s.wouldExceed(n) {
		return s.overloaded()
	}
	return nil
}

// queueInput queues p, all input that is not consumed, for a worker. first, which f has found at its start, is consumed.
func (c *loopConn) queueInput(h RequestHandler, to destination, f framing.Framing, p []byte, first framing.Result) {
	message := first.Message
	in := c.in
	if in == nil {
		in = c.newInput()
		in.fill(c.loop, p, largeRequest)
		if at, ok := offsetIn(p, message); ok { // otherwise the framing has copied the message
			at += len(in.buf) - len(p)
			end := at + len(message)
			message = in.buf[at:end:end]
		}
	}
	in.request.placeFor(h)
	in.request.ex, in.request.chooser = to.ex, to.chooser
	in.request.framing, in.request.first = f, message
	in.request.direct = c.layers == 0
	in.request.endRead = in.request.cancels && c.peerHalf.isEndRead() && !c.peerHalf.isDiscarded()
	in.request.atEOF, in.request.final = c.peerHalf.isEndReported(), first.Final
	in.pos = len(in.buf) - len(p) + first.Advance
	in.cursor = first.Cursor
	c.count(in, in.memory())
	c.holds.add(holdWorker | holdInput)
	c.queueRequest(in)
}

// queueRequest queues a request for the end of the turn.
func (c *loopConn) queueRequest(in *input) {
	in.become(inputQueued)
	c.deadlines.stop(firstRequestDeadline)
	c.loop.turnRequests = append(c.loop.turnRequests, in)
}

// takeBack is the loop's part of the end of a request: the input belongs to the loop again.
func (c *loopConn) takeBack() {
	if !c.holds.has(holdWorker) {
		c.takeBackMessages()
		return
	}
	c.holds.remove(holdWorker | holdInput)
	in := c.in
	c.mergeStream(in)
	final := in.request.final
	if final {
		c.closeWith(nil)
	}
	c.deadlines.stop(readDeadline)
	c.resumeCloseDeadline()
	if len(in.rest()) == 0 || final || c.life.isClosing() || c.peerHalf.isDiscarded() {
		c.dropInput()
		return
	}
	in.request = request{}
	c.count(in, in.memory())
}

// takeBackLocked is takeBack for a request that was all of the input, under mu. The end of the loop's work on the connection subtracts the
// input from Server.buffered, together with the output.
func (c *loopConn) takeBackLocked() {
	c.loop.running.counted += c.in.counted
	c.in.counted = 0
	c.takeBack()
}

// nothingLeft reports whether the request that has ended was all of the input. Under mu.
func (c *loopConn) nothingLeft() bool {
	return c.holds.has(holdWorker) && c.in.stream == nil && !c.hasMoreTLS() && len(c.in.rest()) == 0 && !c.in.request.final
}
