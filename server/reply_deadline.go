package server

import (
	"fmt"
	"time"

	"github.com/evmq/evmq/event"
)

// errReplyDeadline is the error after the time of Reply.SetWriteDeadline.
var errReplyDeadline error = timeoutError("server: the write deadline of the reply has passed")

// A writeLimit is the deadline of Reply.SetWriteDeadline. Under the connection's mu.
type writeLimit struct {
	timer  event.ClockTimer // nil for a time in the past
	at     time.Duration    // on the clock of the loops
	passed bool             // the timer has fired
}

// SetWriteDeadline sets the time after which the methods of the reply that make bytes output of the connection fail, those that wait for room
// included, with an error that matches os.ErrDeadlineExceeded. Write still gathers bytes for which there is space. A call that fails has accepted what its results
// say, which is sent, and nothing else; with a later deadline the reply can be continued. The end of the reply sends the gathered bytes
// in any case. The zero time means none, which is the state at the beginning of each reply. The time that is left until t passes on the clock
// of the server's loops. Errors: ErrReplyEnded; ErrClosed, with the reason, if the connection accepts no more output. Any goroutine.
func (w Reply) SetWriteDeadline(t time.Time) error {
	if err := w.setWriteDeadline(t); err != nil {
		return fmt.Errorf("set the write deadline of a reply: %w", err)
	}
	return nil
}

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
	r.dropLimit()
	if t.IsZero() {
		return nil
	}
	clock, left := c.loop.ev.Clock(), max(0, time.Until(t))
	limit := &writeLimit{at: saturatedAdd(clock.Now(), left), passed: left == 0}
	r.limit = limit
	if limit.passed {
		c.retryWriters()
		return nil
	}
	limit.timer = clock.AfterFunc(left, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		limit.passed = true
		c.retryWriters() // those whose deadline has not passed wait again
	})
	return nil
}

// isLate reports whether the reply's deadline has passed. Under c.mu.
func (r *replyState) isLate() bool {
	return r.limit != nil && (r.limit.passed || r.c.loop.ev.Clock().Now() >= r.limit.at)
}

// dropLimit removes the deadline. Under c.mu, or when the reply has ended.
func (r *replyState) dropLimit() {
	if r.limit != nil && r.limit.timer != nil {
		r.limit.timer.Stop()
	}
	r.limit = nil
}
