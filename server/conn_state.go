package server

import (
	"errors"
	"fmt"
	"io"
)

// connState only grows, under mu.
type connState uint8

const (
	connOpen    connState = iota
	connHalf              // takes no more output, but goes on reading: CloseWrite
	connBroken            // the peer takes no more output: what waited has failed; what has arrived is read to its end
	connClosing           // takes no more output but the replies in hand; is closed when all is flushed
	connClosed            // takes nothing; its descriptor is closed, or about to be
)

func (s connState) String() string {
	return [...]string{"open", "half-closed", "broken", "closing", "closed"}[s]
}

// isDead reports whether no output can be written any more, not even that of requests in work.
func (s connState) isDead() bool { return s == connBroken || s == connClosed }

// refusal says why c takes no more output. Under mu.
func (c *Conn) refusal() error {
	if reason := c.reasonLocked(); reason != nil && c.state.isDead() {
		return fmt.Errorf("%w (%w)", ErrClosed, reason)
	}
	return ErrClosed
}

func (c *Conn) reasonLocked() error {
	if c.ext != nil {
		return c.ext.reason
	}
	return nil
}

// setReason keeps the first reason. One that promises that all was flushed gives way to what comes before that. Under mu.
func (c *Conn) setReason(reason error) {
	if reason == nil {
		return
	}
	if first := c.reasonLocked(); first == nil || errors.Is(first, io.EOF) || errors.Is(first, ErrServerClosed) {
		c.extra().reason = reason
	}
}
