package websocket

import (
	"fmt"

	"github.com/gobwas/ws"
)

// The times of a Conn are ticks of its wheel. lastInput is used on the loop only.

// pinged is the value of Conn.lastInput after a ping, until something arrives.
const pinged = 0

// recordInput records that bytes have arrived. On the loop.
func (c *Conn) recordInput() {
	if w := c.entry.wheel; w != nil && w.timer != nil {
		c.lastInput = w.now() | 1
	}
}

// recordMessage records that a message was sent or has arrived. Under c.mu.
func (c *Conn) recordMessage() {
	if c.h.cfg.IdleTimeout > 0 {
		if w := c.entry.wheel; w != nil {
			c.lastMessage = w.now()
		}
	}
}

// nextCheck returns the tick of the first check at now or later that can find something.
func (c *Conn) nextCheck(w *wheel, now uint32) uint32 {
	at := now + 1<<30
	if d := c.h.cfg.PingInterval; d > 0 {
		at = c.lastInput + w.ticks(d)
	}
	if d := c.h.cfg.IdleTimeout; d > 0 {
		if idle := c.lastMessage + w.ticks(d); int32(idle-at) < 0 {
			at = idle
		}
	}
	if d := c.h.cfg.MessageTimeout; d > 0 { // a message may begin at any time
		if check := now + w.ticks(d)/4; int32(check-at) < 0 {
			at = check
		}
	}
	if int32(at-now) <= 0 {
		at = now + 1
	}
	return at
}

// check sends a ping if nothing has arrived for PingInterval, and ends the connection if nothing has arrived after a ping, or no message was
// sent or received for IdleTimeout. It returns the tick of the next check. On the loop.
func (c *Conn) check(w *wheel, now uint32) (next uint32) {
	cfg := c.h.cfg
	waits := c.Buffered() > 0 // output waits for the peer, or for the end of this turn
	c.mu.Lock()
	open, unread, idle := c.state == stateOpen, c.handles || c.streamOf().isPaused(), cfg.IdleTimeout > 0 && int32(now-c.lastMessage) >= int32(w.ticks(cfg.IdleTimeout))
	if unread { // what arrives meanwhile is not read
		c.lastInput, c.lastMessage, idle = now|1, now, false
	}
	if (unread || c.isHeld) && open && c.entry.began != 0 {
		c.entry.began = now | 1
	}
	late := open && cfg.MessageTimeout > 0 && c.entry.began != 0 && int32(now-c.entry.began) >= int32(w.ticks(cfg.MessageTimeout))
	next = c.nextCheck(w, now)
	c.mu.Unlock()
	switch {
	case !open: // CloseTimeout applies
		return now + 1<<30
	case late && c.sc.Requests().Pending() == 0: // the loop has the input
		c.fail(nil, violation(ClosePolicyViolation, "message not complete in time"))
	case late: // a control frame is being handled
		return now + 1
	case idle:
		c.closeIdle()
	case waits: // a ping could not be sent; WriteTimeout applies
		return now + 2 // a quarter of the shortest time at most
	case cfg.PingInterval <= 0 || unread:
	case c.lastInput == pinged:
		c.cutOff(ErrPongTimeout)
	case int32(now-c.lastInput) >= int32(w.ticks(cfg.PingInterval)):
		c.lastInput = pinged
		w.counts.pings.Add(1)
		_ = c.Ping(nil) // fails if the connection has ended
		if cfg.PongTimeout < 0 {
			c.lastInput = now | 1
			return c.nextCheck(w, now)
		}
		return now + w.ticks(cfg.PongTimeout) // not earlier: a check then finds that nothing has arrived
	}
	return next
}

// messageBegins and messageEnds record that a message in several frames is not complete. For the goroutine that has the input.
func (c *Conn) messageBegins() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateOpen {
		c.entry.began = c.entry.wheel.now() | 1
	}
}

func (c *Conn) messageEnds() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateOpen {
		c.entry.began = 0
	}
}

// closeIdle begins the close handshake because of IdleTimeout.
func (c *Conn) closeIdle() {
	_ = c.close(&CloseError{Code: CloseGoingAway, Reason: "idle", Err: ErrIdle}) // fails if it has begun already
}

// cutOff ends the connection at once.
func (c *Conn) cutOff(reason error) {
	_ = c.sc.CloseWithError(reason) // fails if it is closed already
	c.sc.Abort()
}

// Ping sends a ping with a payload of at most 125 bytes, besides those of Config.PingInterval. The pong is not reported: it only counts as a sign of
// life. Errors: ErrInvalid if the payload is too long; ErrClosed; ErrFull. Any goroutine.
func (c *Conn) Ping(payload []byte) error {
	if len(payload) > maxControl {
		return fmt.Errorf("ping: %w: payload of %d bytes", ErrInvalid, len(payload))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return fmt.Errorf("ping: %w", ErrClosed)
	}
	if err := c.writeControl(nil, ws.OpPing, payload); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}
