package sse

import "time"

// keepAlive is sent when there are no events.
var keepAlive = []byte(":\n\n")

// epoch is the origin of the system's clock. Only its monotonic reading is used.
var epoch = time.Now()

// now returns the time of the clock.
func (g *Group) now() time.Duration {
	if g.cfg.Clock != nil {
		return g.cfg.Clock.Now()
	}
	return time.Since(epoch)
}

// startTimer starts the timer of KeepAlive, unless it runs. Under mu.
func (g *Group) startTimer() {
	if g.isTicking || g.cfg.KeepAlive < 0 {
		return
	}
	g.isTicking, g.lastSent = true, g.now()
	switch {
	case g.timer != nil:
		g.timer.Reset(g.cfg.KeepAlive)
	case g.cfg.Clock != nil:
		g.timer = g.cfg.Clock.AfterFunc(g.cfg.KeepAlive, g.tick)
	default:
		g.timer = time.AfterFunc(g.cfg.KeepAlive, g.tick)
	}
}

// tick is called when KeepAlive has passed since the timer was started. While there are streams, the timer runs on.
func (g *Group) tick() {
	g.mu.Lock()
	if g.members.Len() == 0 {
		g.isTicking = false
		g.mu.Unlock()
		return
	}
	now := g.now()
	var refused []BroadcastError
	if now-g.lastSent >= g.cfg.KeepAlive {
		for _, r := range g.members.Broadcast(keepAlive, nil) {
			refused = append(refused, refusalOf(r))
		}
		g.lastSent = now
	}
	g.timer.Reset(g.cfg.KeepAlive - (now - g.lastSent))
	g.mu.Unlock()
	g.cutOffSlow(refused)
}
