package server

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// flush writes what waits, within the turn's budget, and leaves: who has output or a wish from then on tells the loop. It is
// called with c.mu held and c.place visited, and returns without the lock; what was accepted and is written now is reported to who asked.
func (c *loopConn) flush() {
	l := c.loop
	var err error
	dropped := false
	switch {
	case c.state == connBroken:
		dropped = c.failOutput()
	case c.writing != writeIdle || c.life == lifeDialing:
	case c.layers.has(layerTLS):
		err = c.writeTLS()
	case c.out != nil && c.life != lifeHandshake:
		err = c.writeOut()
	}
	again := c.leave()
	c.mu.Unlock()
	if len(l.dones) > 0 {
		var outcome error
		if dropped {
			outcome = c.failure()
		}
		l.report(c, outcome)
	}
	switch {
	case err == nil:
	case isPeerGone(err):
		c.tell(again)
		c.breakOff(err)
		return
	default:
		c.tell(again)
		c.fail(err)
		return
	}
	c.settle(again)
}

// leave ends the loop's visit, and notes what settle is to know. Under mu.
func (c *loopConn) leave() (again bool) {
	l := c.loop
	l.held, l.drained, l.state = 0, true, c.state
	if c.writing != writeBlocked {
		c.deadlines.stop(writeDeadline)
		if c.state <= connHalf {
			c.deadlines.stop(closeDeadline)
		}
	}
	if c.ext != nil && c.ext.detach != nil && l.state == connHalf {
		l.state = connOpen // it takes no output, but nothing is to be closed
	}
	if c.out != nil || c.layers.has(layerTLS) || c.holds.has(holdRequests) {
		l.held = c.held()
		l.drained = c.out == nil && !c.cipherWaits()
	}
	if c.isPaused() {
		c.holds.add(holdPause) // before the wish is obeyed, or reading would go on until then
	}
	again = c.commands != 0 || c.out != nil && c.writing == writeIdle && !c.life.isConnecting() && !c.isFetching()
	l.refused = c.place&refused != 0
	c.place &^= visited | refused
	if again = again && c.place == 0; again {
		c.place = entered
	}
	return again
}

// writeOut gives the kernel as much as it takes. Under mu, which is released while the kernel works.
func (c *loopConn) writeOut() error {
	for budget := writeBudget; c.out != nil && budget > 0; {
		n, full, err := c.writeSome(budget)
		if n > 0 {
			budget -= n
			c.deadlines.sent(c.loop.now())
		}
		if err != nil {
			return err
		}
		c.freeOutput()
		if full {
			if c.writing != writeThrottled && !c.isFetching() {
				return c.waitForRoom()
			}
			return nil
		}
	}
	return nil
}

// writeSome makes one system call, to which at most sock.MaxRaw of what there is may be given. full says that the kernel took less.
// Under mu, released meanwhile.
func (c *loopConn) writeSome(limit int) (n int, full bool, err error) {
	l := c.loop
	if c.ext != nil {
		if limit = c.writeAllowance(limit); limit == 0 {
			return 0, true, nil
		}
	}
	if f := c.out.File(); f != nil {
		return c.sendFile(f, limit)
	}
	bufs := c.out.Peek(l.iov[:0], limit)
	offered := 0
	for _, p := range bufs {
		offered += len(p)
	}
	if offered > 0 {
		c.mu.Unlock()
		if len(bufs) == 1 {
			n, err = l.srv.calls.Write(c.ev.FD(), bufs[0])
			bufs[0] = nil // or it would keep what was written alive
		} else {
			n, err = l.srv.calls.Writev(c.ev.FD(), bufs)
			clear(bufs)
		}
		c.mu.Lock()
		if err != nil {
			if wouldBlock(err) {
				return 0, true, nil
			}
			return 0, false, err
		}
	}
	c.wroteOut(n)
	if c.ext != nil {
		c.spend(n)
	}
	return n, n < min(offered, sock.MaxRaw), nil
}

// wroteOut counts n bytes as given to the kernel, of the file at the head of the output if there is one. Under mu.
func (c *Conn) wroteOut(n int) {
	l := c.loop
	before := c.outputMemory()
	if c.out.File() != nil {
		l.dones = c.out.AdvanceFile(int64(n), l.dones)
	} else {
		l.dones = c.out.Advance(n, l.dones)
	}
	c.countWritten(n)
	c.countOutput(before)
	if c.ext != nil {
		c.makeRoom()
	}
}

// countWritten counts n bytes that the kernel has taken. Under mu.
func (c *Conn) countWritten(n int) {
	c.wrote += uint64(n)
	c.loop.traffic.written.Add(uint64(n))
}

// makeRoom lets those go on who wait for room in the output. Under mu.
func (c *Conn) makeRoom() {
	if c.ext.room != nil && c.ahead() < c.loop.srv.cfg.MaxOutput {
		close(c.ext.room)
		c.ext.room = nil
	}
}

// waitForRoom has the kernel tell when its buffer has room. Under mu.
func (c *loopConn) waitForRoom() error {
	now := c.loop.now()
	c.writing = c.writing.to(writeBlocked)
	c.deadlines.startOnce(writeDeadline, now)
	if c.draining.isDraining() {
		c.deadlines.startOnce(closeDeadline, now)
	}
	return c.watch()
}

// onWritable writes on. Only when the kernel tells of room again and nothing has waited for it is it asked to stop: most output
// that meets a full buffer meets it again.
func (c *loopConn) onWritable() {
	if c.writing != writeBlocked {
		if err := c.watch(); err != nil {
			c.fail(err)
		}
		return
	}
	c.writing = writeIdle
	c.mu.Lock()
	c.place |= visited
	c.flush()
}

// isReading reports whether the event waits for Read.
func (c *loopConn) isReading() bool { return c.ev.Conditions()&event.Read != 0 }

// watch makes the event wait for what the states say, and for input if it does already.
func (c *loopConn) watch() error { return c.watchRead(c.isReading()) }

// watchRead is watch that begins to wait for input, or ends it.
func (c *loopConn) watchRead(read bool) error {
	var want event.Flags
	if read {
		want |= event.Read
	}
	if c.writing == writeBlocked {
		want |= event.Write // which reports an error and a hang-up, too
	}
	if w := c.peerHalf.watched(c.loop.ev.Features()); !read && (want == 0 || w == event.Closed) {
		want |= w
	}
	return c.ev.SetConditions(want)
}

// wouldBlock says that a call is to be made again when the descriptor is ready.
func wouldBlock(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }
