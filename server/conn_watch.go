package server

import (
	"github.com/evmq/evmq/event"
)

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

// resumeReading makes the kernel report input again if it is wanted and was not.
func (c *loopConn) resumeReading() {
	if !c.mayRead() {
		return
	}
	if c.hasMoreTLS() {
		c.requeue() // what TLS has decrypted goes first; see advance
	}
	if c.isReading() {
		return
	}
	c.deadlines.restart(readDeadline, c.loop.now()) // what the peer could not send meanwhile is not its fault
	if err := c.watchRead(true); err != nil {
		c.fail(err)
		return
	}
}

// stopReading is called when the kernel reports what is not wanted now. Only here does a pause reach the kernel; most end before.
// The peer's reset is still watched for.
func (c *loopConn) stopReading() {
	if err := c.watchRead(false); err != nil {
		c.fail(err)
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
