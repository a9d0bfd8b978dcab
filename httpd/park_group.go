package httpd

import (
	"fmt"
	"sync"
)

// A GroupConfig is the configuration of a Group. The zero value of each field means its default.
type GroupConfig struct {
	// KeepSlow keeps a member that refuses a broadcast because MaxPending of its ParkConfig is reached. Its client misses the broadcast, which
	// the result of Broadcast reports. Otherwise such a member is cut off with Abort, so that no client takes an answer with a gap for a
	// complete one.
	KeepSlow bool
	// OnLeave, if set, is called once for each member that leaves the group other than by Remove, with the reason: context.Canceled
	// after Close and Abort, an error that matches server.ErrFull for a member that was cut off, and otherwise the cause as in
	// ParkConfig.OnGone. It is called on any goroutine, also on a loop and during Broadcast, and must not block.
	OnLeave func(p *Parked, reason error)
}

// A Group is a set of parked answers that are written together. An answer leaves it when it ends. It also leaves, and the group closes it, when
// its client goes away or Shutdown begins. A Group has no goroutine. All methods may be called from any goroutine, also at the same time.
type Group struct {
	keepSlow bool
	onLeave  func(*Parked, error)

	mu      sync.Mutex // guards what follows; held during a Broadcast, so that all members get broadcasts in one order. Locked before those of the members
	members []*Parked
}

// NewGroup makes a Group. A nil cfg means the defaults. Any goroutine.
func NewGroup(cfg *GroupConfig) *Group {
	g := new(Group)
	if cfg != nil {
		g.keepSlow, g.onLeave = cfg.KeepSlow, cfg.OnLeave
	}
	return g
}

// Add makes p a member, which gets the broadcasts from now on. Errors: ErrInvalid if p is in a group; ErrEnded or server.ErrClosed if it has
// ended; if its client has gone or Shutdown has begun, the cause as in ParkConfig.OnGone. After an error p is unchanged, and the program still
// has to complete it. Any goroutine.
func (g *Group) Add(p *Parked) error {
	g.mu.Lock()
	p.mu.Lock()
	err := p.endError()
	switch {
	case err == nil && p.cause != nil:
		err = p.cause
	case err == nil && p.group != nil:
		err = fmt.Errorf("%w: the parked answer is in a group", ErrInvalid)
	case err == nil:
		p.group, p.index = g, int32(len(g.members)) //nolint:gosec // a process has fewer descriptors
		g.members = append(g.members, p)
	}
	p.mu.Unlock()
	g.mu.Unlock()
	if err != nil {
		return fmt.Errorf("httpd: add to a group: %w", err)
	}
	return nil
}

// Remove removes p, which stays open. It reports whether p was a member. Any goroutine.
func (g *Group) Remove(p *Parked) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.remove(p)
}

// remove is Remove under mu.
func (g *Group) remove(p *Parked) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.group != g {
		return false
	}
	p.group = nil
	last := len(g.members) - 1
	moved := g.members[last]
	g.members[p.index], moved.index = moved, p.index
	g.members[last] = nil
	if g.members = g.members[:last]; cap(g.members) > 64 && last < cap(g.members)/4 {
		g.members = append(make([]*Parked, 0, 2*last), g.members...)
	}
	return true
}

// leave removes p, and calls onLeave if p was a member. Without p's mu.
func (g *Group) leave(p *Parked, reason error) {
	if g.Remove(p) && g.onLeave != nil {
		g.onLeave(p, reason)
	}
}

// gone is called when p's client has gone, or Shutdown has begun.
func (g *Group) gone(p *Parked, cause error) {
	g.leave(p, cause)
	_ = p.Close() // fails if the connection has ended
}

// Len returns the number of members. Any goroutine.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}
