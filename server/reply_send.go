package server

import (
	"fmt"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
)

// A piece is added to the output as a whole. Its parts follow in the order of the fields; parts that are nil are left out. Bytes that are
// copied are not in it: then the argument of a Write need not be allocated.
type piece struct {
	owned []byte // done is called with its outcome
	file  *outq.File
	done  outq.Done
}

// sendGathered is send for the gathered bytes, followed by p. Under r.mu.
func (r *replyState) sendGathered(p piece, exclusive bool) error {
	if err := r.send(r.buf, p, exclusive); err != nil {
		return err
	}
	r.empty()
	return nil
}

// writeLong makes the gathered bytes and p, in pieces, output of the connection. The last piece is gathered. Under r.mu.
func (r *replyState) writeLong(p []byte) (n int, err error) {
	if err = r.sendGathered(piece{}, true); err != nil {
		return 0, err
	}
	defer r.slow.Store(r.slow.Swap(true))
	for len(p)-n > replyBuffer {
		part := p[n:min(n+4*replyBuffer, len(p))]
		if err = r.send(part, piece{}, true); err != nil {
			return n, err
		}
		n += len(part)
	}
	if !r.mayGather(len(p) - n) {
		return n, r.err
	}
	r.gather(p[n:])
	return len(p), nil
}

// send waits for room and appends a copy of copied, followed by p, to the output. If exclusive is true, later writes to the connection wait
// for the rest of the reply. Under r.mu, without c.mu.
func (r *replyState) send(copied []byte, p piece, exclusive bool) error {
	c := r.c
	var baseDone <-chan struct{} // ends the wait with the server; nil until the call is known not to be on the loop
	for {
		c.mu.Lock()
		if c.state.isDead() {
			r.err = c.refusal()
			c.mu.Unlock()
			return r.err
		}
		if r.isLate() {
			c.mu.Unlock()
			return errReplyDeadline
		}
		if r.isOldest(c.ext) && c.queuedBytes() < c.loop.srv.cfg.MaxOutput && (p.file == nil || c.hasRoomForFile()) {
			if r.putPiece(copied, p); c.state.isDead() {
				r.err = c.refusal()
				c.unlockAndQueue()
				return r.err
			}
			if exclusive {
				r.become(replyInPieces)
				c.extra().exclusive = true
			} else {
				r.become(replyOpen)
				counted := c.countedOutput()
				c.releaseDeferred()
				c.countOutput(counted)
			}
			c.unlockAndQueue()
			return nil
		}
		if baseDone == nil {
			c.mu.Unlock()
			if c.loop.ev.OnLoop() {
				return event.ErrOnLoop
			}
			defer r.slow.Store(r.slow.Swap(true))
			r.leaveLoop(c)
			baseDone = c.loop.srv.baseCtx.Done()
			continue
		}
		x := c.extra()
		if x.room == nil {
			x.room = make(chan struct{})
		}
		room := x.room
		c.mu.Unlock()
		select {
		case <-room: // closed when the connection ends, too
		case <-baseDone: // the loop may be blocked, and not close room
			r.err = fmt.Errorf("%w (%w)", ErrClosed, ErrServerClosed)
			return r.err
		}
	}
}

// hasRoomForFile reports whether one more file may wait. Files in deferred writes do not count, since they wait for the end of the reply.
// Under mu.
func (c *Conn) hasRoomForFile() bool {
	s := c.loop.srv
	return s.files.Load() < s.cfg.maxFiles || c.out == nil || c.out.Files() == 0
}

// putPiece appends copied and the parts of p to the output. A part for which admitsBytes ends the connection is not added. Under
// c.mu; the caller queues the connection.
func (r *replyState) putPiece(copied []byte, p piece) {
	c := r.c
	counted := c.countedOutput()
	counted += r.put(copied)
	c.countOutput(counted)
	if p.file == nil && p.done == nil {
		return
	}
	counted = c.countedOutput()
	switch {
	case p.file != nil && r.admitsBytes(outq.FileCost):
		c.appendFile(c.output(), p.file)
	case p.file == nil && p.done != nil && r.admitsBytes(len(p.owned)+outq.SegmentCost):
		c.output().AppendOwned(p.owned, p.done)
	}
	c.countOutput(counted)
}

// put appends p to the output. counted is the memory with which the output is counted already, because the spare queue is. Under c.mu; the
// caller counts the output and queues the connection.
func (r *replyState) put(p []byte) (counted int) {
	if len(p) > 0 && r.admitsBytes(len(p)) {
		counted = r.useSpare()
		r.c.output().Append(p)
	}
	return counted
}

// admitsBytes reports whether the output accepts n more bytes, overhead included. While the whole server holds MaxBuffered, it ends the
// connection and returns false, except for a small answer to a peer that has taken all earlier output. Under c.mu; the caller queues the
// connection.
func (r *replyState) admitsBytes(n int) bool {
	c := r.c
	s := c.loop.srv
	if !c.state.isDead() && s.isFull() && (c.outputBytes() > 0 || n > replyBuffer) {
		c.setState(connClosed)
		c.setReason(s.overloaded())
		c.commands |= cmdCheck
	}
	return !c.state.isDead()
}

// releaseDeferred appends the writes that were deferred while a reply was sent in pieces to the output. Under mu; the caller counts the output.
func (c *Conn) releaseDeferred() {
	x := c.ext
	if x == nil {
		return
	}
	x.exclusive = false
	if x.deferred != nil {
		c.output().Splice(x.deferred)
		x.deferred.Free()
		x.deferred = nil
	}
}

// commit ends the reply if the goroutine may answer another message of the input, and reports whether it may: not if no input is left in its
// buffer, if the reply was deferred, if the request has changed the connection's handler or paused reading, if the
// connection is being closed, or if the output is above HighWater. On a broken connection it may, since its input is still handled.
func (in *input) commit() bool {
	r := &in.reply
	c := r.c
	r.mu.Lock()
	c.mu.Lock()
	if len(in.rest()) == 0 || r.deferral != nil || r.isFinal || c.state >= connClosing || c.pauseRequested() || c.ext != nil && c.ext.newHandler || c.outputBytes()+len(r.buf) >= c.loop.srv.cfg.HighWater {
		c.mu.Unlock()
		r.mu.Unlock()
		return false
	}
	r.countAnswer()
	r.commitLocked()
	in.endReading()
	in.isShared = in.stream != nil || in.request.cancels
	r.mu.Unlock()
	queue := c.mark(0)
	c.mu.Unlock()
	in.leader.enqueue(c, queue)
	return true
}

// countAnswer counts the request as answered, unless the reply is BusyText. Under c.mu, and r.mu if the reply is open.
func (r *replyState) countAnswer() {
	if !r.refused {
		r.c.reqs++
		r.c.loop.traffic.requests.Add(1)
	}
}

// commitLocked makes the gathered bytes output of the connection, and ends the reply, so that deferred writes follow. Under c.mu, and r.mu if
// the reply is open.
func (r *replyState) commitLocked() {
	c := r.c
	r.count(0)
	counted := c.countedOutput()
	counted += r.put(r.buf)
	r.empty()
	c.releaseDeferred()
	c.countOutput(counted)
	r.end(replyEnded)
}
