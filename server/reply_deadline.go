package server

import (
	"fmt"
	"time"

	"github.com/evmq/evmq/event"
)

// errReplyDeadline is the error after the time of Reply.SetWriteDeadline.
var errReplyDeadline error = timeoutError("server: the write deadline of the reply has passed")

// A replyDeadline is the deadline that Reply.SetWriteDeadline has set. Under the connection's mu.
type replyDeadline struct {
	timer  event.ClockTimer // nil for a time in the past
	at     time.Duration    // on the clock of the loops
	passed bool             // the timer has fired
}

// SetWriteDeadline sets the time after which the methods of the reply that make bytes output of the connection fail, those that wait for room
// included, with a net.Error that matches os.ErrDeadlineExceeded. Write still gathers bytes for which there is space. A call that fails has
// accepted the bytes that its result counts, which are sent, and nothing else. After a later deadline was set, the reply can be continued. The
// end of the reply sends the gathered bytes in any case. The zero time means no deadline, as at the beginning of each reply. The time from
// now to t is measured by the clock of the server's loops. Errors: ErrReplyEnded; ErrClosed, with the reason, if the connection accepts no
// more output. Any goroutine.
func (w Reply) SetWriteDeadline(t time.Time) error {
	if err := w.setWriteDeadline(t); err != nil {
		return fmt.Errorf("set the write deadline of a reply: %w", err)
	}
	return nil
}

// setWriteDeadline is SetWriteDeadline without the operation in the error.
func (w Reply) setWriteDeadline(t time.Time) error {
	if w.in == nil {
		return ErrReplyEnded
	}
	c, r := w.c, &w.in.reply
	c.mu.Lock() // not r.mu, which a call that waits has
	defer c.mu.Unlock()
	switch {
	case r.number.Load() != w.number:
		return ErrReplyEnded
	case c.state.isDead():
		return c.refusal()
	}
	r.dropDeadline()
	if t.IsZero() {
		return nil
	}
	clock, left := c.loop.ev.Clock(), max(0, time.Until(t))
	d := &replyDeadline{at: saturatedAdd(clock.Now(), left), passed: left == 0}
	r.deadline = d
	if d.passed {
		c.retryWriters()
		return nil
	}
	d.timer = clock.AfterFunc(left, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		d.passed = true
		c.retryWriters() // those whose deadline has not passed wait again
	})
	return nil
}

// isLate reports whether the reply's deadline has passed. Under c.mu.
func (r *replyState) isLate() bool {
	return r.deadline != nil && (r.deadline.passed || r.c.loop.ev.Clock().Now() >= r.deadline.at)
}

// dropDeadline removes the deadline. Under c.mu, or when the reply has ended.
func (r *replyState) dropDeadline() {
	if r.deadline != nil && r.deadline.timer != nil {
		r.deadline.timer.Stop()
	}
	r.deadline = nil
}
