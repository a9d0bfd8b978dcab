package server

import "github.com/evmq/evmq/internal/sock"

// Output that the kernel has accepted may not have reached the peer when the write side is closed. The acknowledgements show whether a peer
// on a slow network still receives it.

// maxUnwatched is the number of unacknowledged bytes up to which progress is not checked, because they are expected to arrive within
// CloseTimeout.
const maxUnwatched = 64 << 10

// noteUnacked stores the number of unacknowledged bytes when the write side is closed, if it is more than maxUnwatched. On the loop.
func (c *loopConn) noteUnacked() {
	if !c.life.isShut() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrote <= maxUnwatched {
		return
	}
	if n, err := sock.Unsent(c.ev.FD()); err == nil && n > maxUnwatched {
		c.extra().unacked = int32(n) //nolint:gosec // the system's type
	}
}

// hasProgressed reports whether the peer's system has acknowledged some output since the last call. On the loop.
func (c *loopConn) hasProgressed() bool {
	if !c.life.isShut() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext == nil || c.ext.unacked == 0 {
		return false
	}
	before := c.ext.unacked
	n, err := sock.Unsent(c.ev.FD())
	if err != nil {
		return false // the close reports the error
	}
	c.ext.unacked = int32(n) //nolint:gosec // as above
	return c.ext.unacked < before
}
