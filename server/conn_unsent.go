package server

import "github.com/evmq/evmq/internal/sock"

// What the kernel has taken of a connection's output may still be on its way when our half is closed. A peer that is far away takes its
// time for it, which shows in what its system acknowledges.

// maxUnwatched is how much output may be on its way for its progress not to be looked at: no peer takes CloseTimeout for so little.
const maxUnwatched = 64 << 10

// noteUnsent notes, when our half is closed, how much output is on its way, if that is much. On the loop.
func (c *loopConn) noteUnsent() {
	if !c.life.isShut() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrote <= maxUnwatched {
		return
	}
	if n, err := sock.Unsent(c.ev.FD()); err == nil && n > maxUnwatched {
		c.extra().unsent = n
	}
}

// hasProgressed reports whether the peer's system has taken some of the output that was on its way, since that was last asked. On the
// loop.
func (c *loopConn) hasProgressed() bool {
	if !c.life.isShut() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext == nil || c.ext.unsent == 0 {
		return false
	}
	before := c.ext.unsent
	n, err := sock.Unsent(c.ev.FD())
	if err != nil {
		return false // the close tells
	}
	c.ext.unsent = n
	return n < before
}
