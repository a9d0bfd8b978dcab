package server

import (
	"fmt"
	"io"
	"time"
)

// receivedForRequest is received for a connection with a request of ServeInput in progress: p follows the request, which may read it by
// Reply.Input. p is not longer than roomOfRequest has permitted.
func (c *loopConn) receivedForRequest(p []byte) {
	l := c.loop
	c.mu.Lock()
	in := c.in
	s := in.stream
	s.loopReads = false
	s.add(l, p)
	if grown := s.count(&c.Conn); grown > 0 && l.srv.wouldExceed(0) { // what the request has not taken is dropped, as other input is
		s.dropAhead()
		s.count(&c.Conn)
		c.mu.Unlock()
		c.closeWith(l.srv.overloaded())
		return
	}
	c.countRead(len(p))
	if s.need > 0 && in.unread() >= s.need {
		s.wake()
		s.endWait(l.now())
	}
	c.holdAtLimit(in)
	c.mu.Unlock()
}

// holdAtLimit stops reading if the request has no room for more, or so little that many short reads would follow, and does not wait for more.
// Under mu.
func (c *loopConn) holdAtLimit(in *input) {
	s := in.stream
	if room := in.room(); room == 0 || room < s.limit/8 && in.unread() >= s.need {
		s.full = true
		c.holds.add(holdInput)
	}
}

// roomOfRequest returns how many of n bytes the loop may read. If a request of ServeInput is in progress, the bytes are for this request, and
// there may be less room. If there is none, roomOfRequest stops the reading and returns 0.
func (c *loopConn) roomOfRequest(n int) int {
	if !c.holds.has(holdWorker) {
		return n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in.stream == nil {
		c.mu.Unlock()
		limit := c.maxInput()
		c.mu.Lock()
		c.in.streamOf(limit)
	}
	s := c.in.stream
	if n = min(n, c.in.room()); n == 0 || !s.asked && !c.in.request.cancels || c.leavesToRequest(c.in) {
		s.full = true
		c.holds.add(holdInput)
		return 0
	}
	s.loopReads = c.in.request.direct
	return n
}

// readNothing ends a read for a request that has returned no bytes.
func (c *loopConn) readNothing() {
	if c.holds.has(holdWorker) {
		c.mu.Lock()
		c.in.stream.loopReads = false
		c.mu.Unlock()
	}
}

// readForRequest carries out cmdInput: the request in progress waits for input, or has consumed so much that the loop reads on.
func (c *loopConn) readForRequest() {
	if !c.holds.has(holdWorker) {
		return
	}
	if err := c.takeFailure(); err != nil {
		c.readFailed(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.in.stream
	if s == nil || !s.asked {
		return
	}
	c.holds.remove(holdInput)
	c.draining = c.draining.unread()
	if c.peerHalf.isEndRead() || c.peerHalf.isDiscarded() {
		s.ended = true
		s.wake()
	}
}

// takeFailure returns the error of a read of the request in progress, once; nil if there was none. The kernel reports a reset once: a read of the
// loop after that of the request returns EOF.
func (c *loopConn) takeFailure() (err error) {
	if !c.holds.has(holdWorker) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.in.stream; s != nil {
		err, s.failed = s.failed, nil
	}
	return err
}

// endInput is called when no more input will be read. It tells the request in progress.
func (c *loopConn) endInput() {
	if !c.holds.has(holdWorker) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.in.stream; s != nil {
		s.ended = true
		s.wake()
	}
}

// wakeRequest makes a request that waits for input look at the state of the connection. Under mu.
func (c *loopConn) wakeRequest() {
	if c.holds.has(holdWorker) {
		c.in.wakeStream()
	}
}

// noMore returns an error if no input will arrive for the request in progress, apart from what is there. Under the connection's mu. Any
// goroutine.
func (in *input) noMore() error {
	c, s := in.reply.c, in.stream
	switch {
	case c.state >= connClosing && c.reasonLocked() != nil:
		return fmt.Errorf("%w (%w)", ErrClosed, c.reasonLocked())
	case c.state >= connClosing, c.leavesServing():
		return ErrClosed
	case in.request.atEOF || s != nil && s.ended:
		if c.state == connBroken {
			return c.refusal()
		}
		return io.EOF
	case s != nil && s.expired:
		return errInputDeadline
	}
	return nil
}

// setDeadline carries out Input.SetReadDeadline for a request of c. Under mu. Any goroutine.
func (s *stream) setDeadline(c *Conn, t time.Time) {
	clock := c.loop.ev.Clock()
	s.deadline, s.expired, s.ownLimit = 0, false, true
	left := time.Until(t)
	switch {
	case t.IsZero():
		if s.timer != nil {
			s.timer.Stop()
		}
		return
	case left <= 0:
		s.expired = true
		s.wake()
		return
	}
	s.deadline = saturatedAdd(clock.Now(), left)
	if s.timer == nil {
		s.timer = clock.AfterFunc(left, func() { s.expire(c) })
	} else {
		s.timer.Reset(left)
	}
}

// expire is the function of the stream's timer.
func (s *stream) expire(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.deadline != 0 && c.loop.ev.Clock().Now() >= s.deadline {
		s.expired = true
		s.wake()
	}
}

// inputDeadline is the deadline of a request that waits for input: it has waited for limit in total. It returns noDeadline and the time of the
// next check if it does not wait for the peer now.
func (c *loopConn) inputDeadline(now, limit time.Duration) (at time.Duration, which deadline) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.in.stream
	left := max(0, limit-s.waited)
	if s.need == 0 || !c.mayRead() {
		return saturatedAdd(now, max(left, limit/16)), noDeadline
	}
	return saturatedAdd(s.waitBegan, left), readDeadline
}

// asksForInput reports whether the request in progress has waited for input, without a deadline of its own.
func (c *loopConn) asksForInput() bool {
	if !c.holds.has(holdWorker) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.stream != nil && c.in.stream.asked && !c.in.stream.ownLimit
}

// restartReadDeadline makes ReadTimeout count from now: the server did not read meanwhile.
func (c *loopConn) restartReadDeadline() {
	now := c.loop.now()
	c.deadlines.restart(readDeadline, now)
	if !c.holds.has(holdWorker) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.in.stream; s != nil && s.need > 0 {
		s.waitBegan = now
	}
}
