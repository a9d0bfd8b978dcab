package server

import (
	"github.com/evmq/evmq/event"
)

// isReading reports whether the event waits for Read.
func (c *loopConn) isReading() bool { return c.ev.Conditions()&event.Read != 0 }

// watch makes the event wait for what the connection's state requires. It waits for input if it did before.
func (c *loopConn) watch() error { return c.watchRead(c.isReading()) }

// watchRead is watch for an event that waits for input if read is true.
func (c *loopConn) watchRead(read bool) error {
	var want event.Flags
	if read {
		want |= event.Read
	}
	if c.writing == writeBlocked {
		want |= event.Write // with which an error and a hang-up are reported, too
	}
	if w := c.peerHalf.watched(c.loop.ev.Features()); !read && (want == 0 || w == event.Closed) {
		want |= w
	}
	return c.ev.SetConditions(want)
}

// resumeReading makes the event wait for input if nothing holds reading.
func (c *loopConn) resumeReading() {
	if !c.mayRead() && (c.isReading() || !c.readAhead()) {
		return
	}
	if c.hasMoreTLS() {
		c.requeue() // input that TLS has decrypted is handled first; see advance
	}
	if c.isReading() {
		return
	}
	c.restartReadDeadline()
	if err := c.watchRead(true); err != nil {
		c.fail(err)
		return
	}
}

// stopReading makes the event wait for input no longer; it still waits for a reset. It is called when the kernel reports input that must
// not be read now, and not when a pause begins, since most pauses end before more input arrives.
func (c *loopConn) stopReading() {
	if err := c.watchRead(false); err != nil {
		c.fail(err)
	}
}

// waitWritable makes the event wait until the kernel's buffer has room. Under mu.
func (c *loopConn) waitWritable() error {
	now := c.loop.now()
	c.writing = c.writing.to(writeBlocked)
	c.deadlines.startOnce(writeDeadline, now)
	if c.draining.isDraining() {
		c.deadlines.startOnce(closeDeadline, now)
	}
	return c.watch()
}
