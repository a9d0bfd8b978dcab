package server

import (
	"github.com/evmq/evmq/event"
)

// isReading reports whether the event waits for Read.
func (c *loopConn) isReading() bool { return c.ev.Conditions()&event.Read != 0 }

// watch sets the conditions of the event by the states, and keeps its condition for input.
func (c *loopConn) watch() error { return c.watchRead(c.isReading()) }

// watchRead is watch that sets the condition for input, too.
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

// resumeReading makes the event wait for input if reading is allowed and the event does not.
func (c *loopConn) resumeReading() {
	if !c.mayRead() {
		return
	}
	if c.hasMoreTLS() {
		c.requeue() // input that TLS has decrypted is handled first; see advance
	}
	if c.isReading() {
		return
	}
	c.deadlines.restart(readDeadline, c.loop.now()) // the peer could not send meanwhile
	if err := c.watchRead(true); err != nil {
		c.fail(err)
		return
	}
}

// stopReading is called when the kernel reports input that is not read now. Only here does a pause change the event's conditions; most
// pauses end before. The event still waits for the peer's reset.
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
