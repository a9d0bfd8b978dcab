package httpd

import (
	"fmt"
	"slices"
	"sync"
)

// A GroupConfig is the configuration of a Group. The zero value of each field means its default.
type GroupConfig struct {
	// KeepSlow keeps a member that refuses a broadcast with server.ErrFull, because as much output waits as MaxPending of its ParkConfig or the
	// server permits: its client misses the broadcast. By default such a member leaves, and is cut off with Abort, so that no client takes a
	// response with a gap for a complete one. In both cases the result of Broadcast reports it.
	KeepSlow bool
	// OnLeave, if not nil, is called once for each member that leaves the Group other than by Remove, with the reason: context.Canceled after
	// Close and Abort; a BroadcastError, which matches server.ErrFull, if it was cut off; and otherwise the cause as in ParkConfig.OnGone. It is
	// called on any goroutine, also on a loop and during Broadcast, and must not block. It may call the methods of the Group.
	OnLeave func(p *Parked, reason error)
}

// A Group is a set of parked responses that get the same broadcasts. A member leaves it when it ends. It also leaves, and the Group closes it,
// when its client goes away or Shutdown begins. The zero Group is empty and has the defaults. A Group must not be copied. It holds no
// goroutine. All methods may be called from any goroutine, also at the same time.
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

// Add makes p a member, which gets the broadcasts from now on. It returns nil if p is a member already. A Parked may be in one Group. Errors:
// ErrInvalid if p is nil or in another Group; ErrEnded or server.ErrClosed if it has ended; if its client has gone or Shutdown has begun, the
// cause as in ParkConfig.OnGone. After an error p is unchanged, and the program still has to complete it. Any goroutine.
func (g *Group) Add(p *Parked) error {
	if p == nil {
		return fmt.Errorf("httpd: add to a group: %w: Parked is nil", ErrInvalid)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.endError()
	switch {
	case err != nil:
	case p.cause != nil:
		err = p.cause
	case p.group == g:
	case p.group != nil:
		err = fmt.Errorf("%w: the parked response is in another group", ErrInvalid)
	default:
		p.group, p.index = g, int32(len(g.members)) //nolint:gosec // a process has fewer descriptors
		g.members = append(g.members, p)
	}
	if err != nil {
		return fmt.Errorf("httpd: add to a group: %w", err)
	}
	return nil
}

// Remove removes p, which stays open. It reports whether p was a member. Any goroutine.
func (g *Group) Remove(p *Parked) bool {
	if p == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
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

// Len returns the number of members. Any goroutine.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Members returns the members, in no order. The slice is the caller's. Any goroutine.
func (g *Group) Members() []*Parked {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// Close ends all members in order, as Parked.Close does. The Group is empty afterwards, except for members that were added meanwhile, and stays
// usable. Any goroutine.
func (g *Group) Close() { g.Complete(nil, nil) }

// leave removes p, and calls onLeave if p was a member. Without p's mu.
func (g *Group) leave(p *Parked, reason error) {
	if g.Remove(p) {
		g.notifyLeft(p, reason)
	}
}

// notifyLeft calls onLeave. Without locks.
func (g *Group) notifyLeft(p *Parked, reason error) {
	if g.onLeave != nil {
		g.onLeave(p, reason)
	}
}

// gone is called when p's client has gone, or Shutdown has begun. A Parked that the program has removed is left to the program.
func (g *Group) gone(p *Parked, cause error) {
	if g.Remove(p) {
		defer func() { _ = p.Close() }() // also if onLeave panics; it fails if the connection has ended
		g.notifyLeft(p, cause)
	}
}

// cutOff ends a member that has refused a broadcast. It is removed before, since the reason is not that of its end. A Parked that has left
// meanwhile is not cut off.
func (g *Group) cutOff(r BroadcastError) {
	if g.Remove(r.Parked) {
		r.Parked.Abort()
		g.notifyLeft(r.Parked, r)
	}
}
