package server

// directWrite is the number of bytes above which a write of a handler on the loop goes to the kernel at once, if no output waits: copying
// them costs more than the system call that is saved when other writes follow.
const directWrite = 16 << 10

// writeNow gives p to the kernel, if no output waits and nothing else is to be done with it before, and returns the number of bytes that the
// kernel has accepted. The caller adds the rest to the output. If the write fails, the number is 0, and the flush at the end of the loop's
// work returns the error. Under mu, which is held during the system call, during the loop's work on the connection.
func (c *loopConn) writeNow(p []byte) int {
	l := c.loop
	if c.out != nil || c.ext != nil || c.state != connOpen || c.sched&schedRunning == 0 || l.running.err != nil || l.srv.isFull() {
		return 0
	}
	n, err := l.srv.calls.Write(c.ev.FD(), p)
	if err != nil {
		if !wouldBlock(err) {
			l.running.err = err
		}
		return 0
	}
	l.running.wrote = true
	c.countWritten(n)
	return n
}

// writeLarge is Write of more than directWrite bytes. Under mu, which it unlocks.
func (c *Conn) writeLarge(p []byte) error {
	n := c.loopPart().writeNow(p)
	q, counted := c.out, 0
	if n == 0 { // nothing was accepted yet, so the write may be refused
		var err error
		if q, counted, err = c.admit(); err != nil {
			c.mu.Unlock()
			return err
		}
	} else if n < len(p) {
		counted = c.countedOutput()
		q = c.output()
	}
	if n < len(p) {
		q.Append(p[n:])
		c.countOutput(counted)
	}
	c.unlockAndQueue()
	return nil
}

// writeNow gives the gathered bytes to the kernel, without their becoming output, as far as it accepts them. It begins the loop's work on the
// connection, which the leader continues with answer, and returns false if it does nothing. Under mu and c.mu, on the leader.
func (r *replyState) writeNow() bool {
	c := r.c.loopPart()
	if len(r.buf) == 0 || c.out != nil || c.ext != nil || c.state != connOpen || c.sched&(schedRunning|schedQueued) != 0 {
		return false
	}
	c.startRunning()
	n := c.writeNow(r.buf)
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	return true
}
