package server

import (
	"fmt"

	"github.com/evmq/evmq/event"
)

// onPeerEnd is called when the kernel reports that the peer has closed its half, while the server does not read from the connection. After
// a reset the connection is broken. A half-close is read later, after the input that the kernel still has; until then the event waits only
// for a reset.
func (c *loopConn) onPeerEnd(what event.Flags) {
	if err := c.loop.srv.calls.SockError(c.ev.FD()); err != nil {
		c.markBroken(fmt.Errorf("read: %w", err)) // a read would have returned it
		return
	}
	c.peerHalf = c.peerHalf.reach(peerEnded)
	if what&event.HangUp != 0 {
		c.peerHalf = c.peerHalf.reach(peerHungUp)
	}
	if err := c.watch(); err != nil {
		c.fail(err)
		return
	}
	if c.readAhead() {
		c.resumeReading()
	}
}

// markBroken is called when the peer accepts no more output, because it has reset the connection or a write has failed. Output that waits
// fails, writes are refused, and Context ends. Input that has arrived is still read to its end and given to the handler, for CloseTimeout
// at most; then the connection is closed with err.
func (c *loopConn) markBroken(err error) {
	if c.isBroken() {
		return
	}
	if !c.mayHaveInput() || c.endsWithPeer() {
		c.fail(err)
		return
	}
	c.mu.Lock()
	if c.state < connBroken {
		c.setState(connBroken)
	}
	c.setReason(err)
	c.retryWriters()
	c.endContext()
	c.mu.Unlock()
	c.peerHalf = c.peerHalf.reach(peerEnded | peerHungUp)
	c.writing = writeIdle
	c.deadlines.start(closeDeadline, c.loop.now())
	if err := c.watch(); err != nil {
		c.fail(err)
		return
	}
	c.flush()
}

// readFailed is called when a read has failed. Input that was read before a reset is still given to the handler.
func (c *loopConn) readFailed(err error) {
	err = fmt.Errorf("read: %w", err)
	if !isPeerGone(err) || c.in == nil && !c.hasMoreTLS() && !c.hasRequests() {
		c.fail(err)
		return
	}
	c.markBroken(err)
	switch {
	case c.life.isGone():
	case c.layers.has(layerTLS):
		c.ext.tls.pipe.FeedEOF()
		c.decrypt()
	default:
		c.endRead()
	}
}

// mayHaveInput reports whether a broken connection may still have input for its handler, or has requests in progress.
func (c *loopConn) mayHaveInput() bool {
	c.mu.Lock()
	waits := c.pauseRequested() || c.state >= connClosing
	c.mu.Unlock()
	switch {
	case waits, !c.life.takesInput(), c.handshake().isUnderWay(), c.peerHalf.isDiscarded(), c.peerHalf.isEndReported(), c.holds.has(holdPause):
		return false
	case c.peerHalf.isEndRead():
		return c.in != nil || c.hasRequests()
	}
	return true
}

// maxLastBytes limits what is read of a connection whose peer accepts no more output, or that is being closed without a CloseTimeout. It is
// more than a receive buffer holds. If the peer sends more, the connection is reset, and output that the peer has not read yet may be lost.
const maxLastBytes = 64 << 20

// endAtLimit ends a connection of which n bytes were read if n has reached maxLastBytes, but not before its output is flushed.
func (c *loopConn) endAtLimit(n int64) {
	if n >= maxLastBytes && c.life != lifeFlushing && !c.life.isGone() {
		c.tearDown(nil)
	}
}
