package websocket

import "time"

// admits takes a token of FrameRate for a frame. It reports whether there was one. For the goroutine that has the input.
func (c *Conn) admits() bool {
	cfg := c.h.cfg
	if cfg.FrameRate <= 0 {
		return true
	}
	now := uint32(c.sc.Loop().Now() / time.Millisecond)
	if c.filled == 0 { // the first frame
		c.tokens = float32(cfg.FrameBurst)
	} else if passed := int32(now | 1 - c.filled); passed > 0 {
		c.tokens = min(float32(cfg.FrameBurst), c.tokens+float32(float64(passed)*cfg.FrameRate/1000))
	}
	c.filled = now | 1
	if c.tokens < 1 {
		return false
	}
	c.tokens--
	return true
}
