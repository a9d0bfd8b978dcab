package server

import "github.com/evmq/evmq/internal/sock"

// Output that the kernel has accepted may not have reached the peer when our half is closed. A peer with a slow network receives it in
// time, which its acknowledgements show.

// maxUnwatched is the number of unacknowledged bytes up to which progress is not checked: so few arrive within CloseTimeout.
const maxUnwatched = 64 << 10

// noteUnsent stores the number of unacknowledged bytes when our half is closed, if it is more than maxUnwatched. On the loop.
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

// hasProgressed reports whether the peer's system has acknowledged some output since the last call. On the
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
		return false // the close reports the error
	}
	c.ext.unsent = n
	return n < before
}
