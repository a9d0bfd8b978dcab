package server

import (
	"fmt"
	"time"

	"github.com/evmq/evmq/event"
)

// deferState is the state of a reply that Reply.Defer has deferred. Under the connection's mu.
type deferState uint8

const (
	deferRuns   deferState = iota // its function runs
	deferWaits                    // its function has returned; the reply is in the list of its connection
	deferClosed                   // Reply.Close was called
	deferLost                     // the connection has ended first
)

var deferStates = [...]string{deferRuns: "its function runs", deferWaits: "waits for Close", deferClosed: "closed", deferLost: "lost"}

// String returns the state's name.
func (s deferState) String() string { return deferStates[s] }

// deferNext are the states that may follow each state, as bits.
var deferNext = [...]uint8{
	deferRuns:   1<<deferWaits | 1<<deferClosed | 1<<deferLost,
	deferWaits:  1<<deferClosed | 1<<deferLost,
	deferClosed: 0,
	deferLost:   1 << deferClosed, // before end has made the phase replyLost
}

// A deferral is the part of the state of a reply that only a deferred one has.
type deferral struct {
	in         *input
	timer      ConnTimer // its deadline
	state      deferState
	prev, next *deferral // deferWaits: in the list of the connection. Under its mu
}

// deferralCost is the memory of a deferral, its timer included.
const deferralCost = 256

// become changes the state. Under the connection's mu.
func (d *deferral) become(next deferState) {
	if deferNext[d.state]&(1<<next) == 0 {
		panic("server: deferred reply: from " + d.state.String() + " to " + next.String())
	}
	d.state = next
}

// Defer keeps the reply open when its function returns, so that any goroutine can complete the answer later, with the methods of Reply, and
// end it with Close. A deferred reply holds no goroutine. Until Close the request counts as in progress: without Dispatcher.Concurrent the
// next request of the connection waits, later answers are not sent before this one, and Shutdown waits. The message is valid only until the
// function returns.
//
// If Close is not called within timeout, the connection ends with ErrReplyTimeout. 0 means Server.ReplyTimeout, and a negative value no
// deadline. A further call of Defer sets a new deadline, from now on. If the connection ends before Close, Context ends, and the methods
// that write return ErrClosed with the reason. They do so after a reset by the peer, too, but then the connection ends only after Close or at
// the deadline, since input that has arrived is still handled. With a CancelHandler the connection ends at once.
//
// The first Defer of a reply allocates about 200 bytes, which count in MaxBuffered until the reply ends. Errors: ErrReplyEnded; ErrClosed,
// with the reason, if the connection accepts no more output; event.ErrOnLoop as Write. After an error the reply is as it was before. Any
// goroutine.
func (w Reply) Defer(timeout time.Duration) error {
	r, err := w.lock()
	if err != nil {
		return fmt.Errorf("defer a reply: %w", err)
	}
	defer r.mu.Unlock()
	if timeout == 0 {
		timeout = w.c.loop.srv.cfg.ReplyTimeout
	}
	d := r.deferral
	if d == nil {
		d = &deferral{in: w.in}
		d.timer.init(w.c, d.expired)
		r.deferral, r.room = d, replyBuffer
		r.countGathered()
	}
	if timeout < 0 || timeout == event.NoTimeout {
		d.timer.Stop()
	} else {
		d.timer.Reset(timeout)
	}
	return nil
}

// Close ends a reply that Defer has deferred: the bytes that were written to it are the answer. If its function still runs, the answer is sent
// when the function has returned. Close waits for calls of other goroutines that write to the reply. To learn whether the kernel was given
// the bytes, call Notify before Close.
//
// Errors: ErrReplyEnded if Close was called before; ErrInvalid if the reply was not deferred, since it ends with its function; ErrClosed, with
// the reason, if the connection accepts no more output, in which case the reply ends, too; event.ErrOnLoop as Write. Any goroutine.
func (w Reply) Close() error {
	if err := w.closeDeferred(); err != nil {
		return fmt.Errorf("close a reply: %w", err)
	}
	return nil
}

// closeDeferred is Close without the operation in the error.
func (w Reply) closeDeferred() error {
	r, err := w.lockOpen()
	if err != nil {
		return err
	}
	d := r.deferral
	if d == nil {
		r.mu.Unlock()
		return fmt.Errorf("%w: the reply was not deferred", ErrInvalid)
	}
	if r.err == nil && w.c.isDead() {
		r.checkConn()
	}
	err = r.err
	w.c.mu.Lock()
	d.timer.stopLocked()
	r.number.Add(1) // from now on it accepts nothing
	isWaiting := d.state == deferWaits
	if isWaiting {
		d.unlink()
	}
	if r.phase == replyLost {
		r.become(replyEnded)
	} else {
		w.in.wakeStream()
		d.become(deferClosed)
	}
	r.mu.Unlock()
	w.c.mu.Unlock()
	if isWaiting {
		w.in.end()
	}
	return err
}

// expired is called when the deadline has passed. On the loop.
func (d *deferral) expired() {
	c := d.timer.c
	c.mu.Lock()
	if d.state > deferWaits || c.state == connClosed { // Close was faster
		c.mu.Unlock()
		return
	}
	c.setState(connClosed)
	c.setReason(ErrReplyTimeout)
	c.unlockAndCheck()
}

// staysOpen is called when the function of a reply has returned. If the reply was deferred, and neither Close was called nor has the
// connection ended, it leaves the input to the goroutine that calls Close, and returns true. Under r.mu and c.mu.
func (in *input) staysOpen() bool {
	d := in.reply.deferral
	if d == nil || d.state != deferRuns {
		return false
	}
	c := in.reply.c
	if c.state == connBroken && in.request.cancels {
		c.setState(connClosed) // the reason is that of the reset
	}
	if c.state == connClosed {
		d.become(deferLost)
		return false
	}
	d.become(deferWaits)
	in.become(inputDeferred)
	d.link(c.extra())
	return true
}

// link adds the reply to the list of its connection. Under mu.
func (d *deferral) link(x *ext) {
	if d.next = x.deferrals; d.next != nil {
		d.next.prev = d
	}
	x.deferrals = d
	d.timer.c.loop.srv.deferrals.Add(1)
}

// unlink removes the reply from the list of its connection. Under mu.
func (d *deferral) unlink() {
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		d.timer.c.ext.deferrals = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	}
	d.prev, d.next = nil, nil
	d.timer.c.loop.srv.deferrals.Add(-1)
}

// takeDeferrals empties the list of a connection that has ended, whose replies are lost, and returns their inputs. The caller ends them.
// Under mu, on the loop.
func (c *loopConn) takeDeferrals() (ins []*input) {
	for c.ext != nil && c.ext.deferrals != nil {
		d := c.ext.deferrals
		d.unlink()
		d.become(deferLost)
		ins = append(ins, d.in)
	}
	return ins
}

// finish ends the reply, or makes it replyLost. Under r.mu and c.mu.
func (r *replyState) finish(phase replyPhase) {
	switch d := r.deferral; {
	case d == nil:
	case d.state == deferLost:
		r.err = r.c.refusal()
		r.count(0)
		r.empty()
		r.buf = nil
		r.become(replyLost)
		return
	default:
		r.deferral = nil
	}
	r.end(phase)
}

// mayGather reports whether n more bytes of a deferred reply may be gathered. Since there may be many of them, they are not gathered
// when the whole server holds MaxBuffered; then mayGather ends the connection, except for a small answer. Under r.mu.
func (r *replyState) mayGather(n int) bool {
	c := r.c
	s := c.loop.srv
	if r.deferral == nil || !s.isFull() || len(r.buf)+n <= smallReply {
		return true
	}
	c.mu.Lock()
	if !c.state.isDead() {
		c.setState(connClosed)
		c.setReason(s.overloaded())
	}
	r.err = c.refusal()
	c.unlockAndCheck()
	return false
}
