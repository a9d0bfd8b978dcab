package server

import (
	"errors"
	"fmt"
	"io"
)

// connState is the state of a connection that any goroutine may request or read. The loop carries it out; see lifecycle. It only grows.
// Under mu.
type connState uint8

const (
	connOpen    connState = iota
	connHalf              // CloseWrite: no more output is accepted; input is still read
	connBroken            // the peer accepts no more output: waiting output has failed; input that has arrived is read to its end
	connClosing           // only the replies of requests in progress are accepted as output; closed when all is flushed
	connClosed            // nothing is accepted; the descriptor is closed, or about to be
)

// String returns the state's name.
func (s connState) String() string {
	return [...]string{"open", "half-closed", "broken", "closing", "closed"}[s]
}

// isDead reports whether no output can be written any more, not even that of requests in progress.
func (s connState) isDead() bool { return s == connBroken || s == connClosed }

// deadMark is set in Conn.ident while the state isDead.
const deadMark = 1 << 63

// setState changes the state, and with it deadMark. Under mu.
func (c *Conn) setState(next connState) {
	if next.isDead() != c.isDead() {
		c.ident.Store(c.ident.Load() ^ deadMark)
	}
	c.state = next
}

// isDead is state.isDead for callers without mu: workers check it for each request and each write to a Reply. Any goroutine.
func (c *Conn) isDead() bool { return c.ident.Load()&deadMark != 0 }

// refusal returns the error of a write to a connection that accepts no more output. Under mu.
func (c *Conn) refusal() error {
	if reason := c.reasonLocked(); reason != nil && c.state.isDead() {
		return fmt.Errorf("%w (%w)", ErrClosed, reason)
	}
	return ErrClosed
}

// reasonLocked returns the reason of the connection's end, or nil if there is none so far. Under mu.
func (c *Conn) reasonLocked() error {
	if c.ext != nil {
		return c.ext.reason
	}
	return nil
}

// isOrderly reports whether the reason promises that all output was flushed.
func isOrderly(reason error) bool {
	return errors.Is(reason, io.EOF) || errors.Is(reason, ErrServerClosed)
}

// setReason stores the first reason. A reason of an end in order, which promises that all was flushed, is replaced by an error that occurs
// before the flush has ended. Under mu.
func (c *Conn) setReason(reason error) {
	if reason == nil {
		return
	}
	if first := c.reasonLocked(); first == nil || isOrderly(first) {
		c.extra().reason = reason
	}
}

// isBroken reports whether the peer accepts no more output.
func (c *loopConn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == connBroken
}
