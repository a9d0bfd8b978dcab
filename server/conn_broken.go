package server

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// peerState is what the kernel has told of the peer's end. It only grows. Loop only.
type peerState uint8

const (
	peerSends  peerState = iota // the peer may send more
	peerEnded                   // the peer has closed its sending half; it may still reset the connection
	peerHungUp                  // nothing more is to be learned without a read or a write
)

// String is the state's name.
func (p peerState) String() string { return [...]string{"sends", "ended", "hung up"}[p] }

// watched is what a connection that is not read from waits for. Neither condition is reported again and again after the loop has
// heard of it, since the state has changed then.
func (p peerState) watched(can event.Features) event.Flags {
	switch {
	case p == peerHungUp:
		return 0
	case p == peerSends && can.Has(event.FeatureClosed):
		return event.Closed
	}
	return event.HangUp
}

// peerLeft is called when the kernel reports the peer's end on a connection that is not read from. A reset breaks the connection. A
// half-close waits in the kernel behind what is not read, and only a reset after it is watched for from then on.
func (c *loopConn) peerLeft(what event.Flags) {
	if err := c.loop.srv.calls.SockError(c.ev.FD()); err != nil {
		c.breakOff(err)
		return
	}
	c.peerEnd = peerEnded
	if what&event.HangUp != 0 {
		c.peerEnd = peerHungUp
	}
	if err := c.watch(); err != nil {
		c.fail(err)
	}
}

// isBroken reports whether the peer takes no more output.
func (c *Conn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == connBroken
}

// isPeerGone reports whether a write has failed because the peer takes no more. What the peer has sent before may still be read.
func isPeerGone(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ETIMEDOUT)
}

// breakOff is called when the peer takes no more output: it has reset the connection, or a write has failed. Output that waits
// fails, writes are refused, and Context ends. What has arrived is still read to its end and given to the handler, for CloseTimeout at
// most; then the connection is closed with err.
func (c *loopConn) breakOff(err error) {
	if c.isBroken() {
		return
	}
	if !c.mayHaveInput() {
		c.fail(err)
		return
	}
	c.mu.Lock()
	if c.state < connBroken {
		c.state = connBroken
	}
	c.setReason(err)
	if x := c.ext; x.room != nil {
		close(x.room)
		x.room = nil
	}
	if x := c.ext; x.cancel != nil {
		x.cancel(x.reason)
	}
	c.mu.Unlock()
	c.peerEnd = peerHungUp
	c.flags &^= flagWriting | flagSlowed
	c.deadlines.start(closeDeadline, c.loop.now())
	if err := c.watch(); err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	c.place |= visited
	c.flush()
}

// readFailed is called when a read has failed. After a reset the input that was read before is still handled.
func (c *loopConn) readFailed(err error) {
	if !isPeerGone(err) || c.in == nil && c.flags&(flagMore|inWork) == 0 {
		c.fail(err)
		return
	}
	c.breakOff(err)
	switch {
	case c.flags&flagGone != 0:
	case c.flags&flagTLS != 0:
		c.ext.tls.pipe.FeedEOF()
		c.pumpTLS()
	default:
		c.endRead()
	}
}

// mayHaveInput reports whether a broken connection may have input that the handler is to be given, or has requests in work.
func (c *loopConn) mayHaveInput() bool {
	c.mu.Lock()
	waits := c.wishesPause() || c.state >= connClosing
	c.mu.Unlock()
	switch {
	case waits, c.flags&(flagDialing|flagHandshake|flagClosing|flagDeaf|flagTold|flagDetach|flagPaused) != 0:
		return false
	case c.flags&flagEOF != 0:
		return c.in != nil || c.flags&inWork != 0
	}
	return true
}

// maxLastReads bounds the reads of a connection whose peer takes no output any more, or that is closed by us: 64 MB, which is more
// than a receive buffer holds. A peer that sends more is reset.
const maxLastReads = 1024

// countLastRead counts a read of such a connection, and ends it at the bound.
func (c *loopConn) countLastRead(reads int) {
	if reads < maxLastReads || c.flags&flagGone != 0 {
		return
	}
	if c.flags&flagClosing == 0 || c.flags&flagShut != 0 {
		c.end(nil)
	}
}
