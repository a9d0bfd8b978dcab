package websocket

import (
	"errors"
	"fmt"
	"sync"
)

// A GroupConfig is the configuration of a Group. The zero value of each field means its default.
type GroupConfig struct {
	// KeepSlow keeps a member that refuses a broadcast with ErrFull, because as much output waits as MaxOutput of its Config or the server
	// permits: its peer misses the broadcast. By default such a member leaves, and is cut off as by Abort, so that its client connects again.
	// In both cases the result of Broadcast reports it. With CutOffSlow of its Config it is cut off in any case.
	KeepSlow bool
	// OnLeave, if not nil, is called once for each member that leaves the Group other than by Remove, with the reason: a BroadcastError, which
	// matches ErrFull, if it was cut off; and otherwise the *CloseError that Config.Closed then gets. It is called on any goroutine, also on a
	// loop and during Broadcast, and must not block. It may call the methods of the Group. A panic is logged to Config.ErrorLog.
	OnLeave func(c *Conn, reason error)
}

// A Group is a set of WebSockets that get the same broadcasts, such as the members of a chat. A member leaves it when it has ended. The zero Group
// is empty and has the defaults. A Group must not be copied. It holds no goroutine. All methods may be called from any goroutine, also at the
// same time.
type Group struct {
	keepSlow bool
	onLeave  func(*Conn, error)

	order sync.Mutex // held during Broadcast and Close, so that all members get the broadcasts in one order. Locked before mu

	mu        sync.Mutex // guards what follows. It is not held for long, since loops wait for it when a WebSocket ends. Locked before that of a Conn
	members   []*membership
	broadcast uint32 // the number of the latest broadcast
}

// A membership is a WebSocket in a Group.
type membership struct {
	c         *Conn
	g         *Group
	index     int32       // in g.members. Under g.mu, as the next one
	broadcast uint32      // the number of the latest broadcast that was sent to c
	next      *membership // of the same WebSocket. Under its mu
}

// NewGroup makes a Group. A nil cfg means the defaults. Any goroutine.
func NewGroup(cfg *GroupConfig) *Group {
	g := new(Group)
	if cfg != nil {
		g.keepSlow, g.onLeave = cfg.KeepSlow, cfg.OnLeave
	}
	return g
}

// Add makes c a member, which gets the broadcasts from now on. It returns nil if c is a member already. A Conn may be in several Groups. Errors:
// ErrInvalid if c is nil; ErrClosed if it is closed or being closed. Any goroutine.
func (g *Group) Add(c *Conn) error {
	if c == nil {
		return fmt.Errorf("websocket: add to a group: %w: Conn is nil", ErrInvalid)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return fmt.Errorf("websocket: add to a group: %w", ErrClosed)
	}
	x := c.extra()
	if m, _ := x.membershipOf(g); m != nil {
		return nil
	}
	x.groups = &membership{c, g, int32(len(g.members)), g.broadcast, x.groups} // it has no part in a broadcast that has begun
	g.members = append(g.members, x.groups)
	return nil
}

// membershipOf returns the membership in g and the place of the pointer to it, or nil. Under mu of the Conn.
func (x *connMore) membershipOf(g *Group) (m *membership, at **membership) {
	for at = &x.groups; *at != nil; at = &(*at).next {
		if (*at).g == g {
			return *at, at
		}
	}
	return nil, nil
}

// Remove removes c, which stays open. It reports whether c was a member. Any goroutine.
func (g *Group) Remove(c *Conn) bool {
	if c == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more == nil {
		return false
	}
	m, at := c.more.membershipOf(g)
	if m == nil {
		return false
	}
	*at = m.next
	c.dropMore()
	g.drop(m)
	return true
}

// drop takes m out of the members. Under mu.
func (g *Group) drop(m *membership) {
	last := len(g.members) - 1
	moved := g.members[last]
	g.members[m.index], moved.index = moved, m.index
	g.members[last] = nil
	g.members = g.members[:last]
}

// leaveGroups takes c, which has ended for the reason, out of its groups.
func (c *Conn) leaveGroups(reason error) {
	for {
		c.mu.Lock()
		var g *Group
		if c.more != nil && c.more.groups != nil {
			g = c.more.groups.g
		}
		c.mu.Unlock()
		if g == nil {
			return
		}
		if g.Remove(c) {
			g.notifyLeft(c, reason)
		}
	}
}

// notifyLeft calls onLeave. Without locks.
func (g *Group) notifyLeft(c *Conn, reason error) {
	if g.onLeave != nil {
		c.guard("OnLeave", func() { g.onLeave(c, reason) })
	}
}

// Len returns the number of members. Any goroutine.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Members returns the members, in no order. The slice is the caller's. Any goroutine.
func (g *Group) Members() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	conns := make([]*Conn, len(g.members))
	for i, m := range g.members {
		conns[i] = m.c
	}
	return conns
}

// Close ends all members in order, as Conn.Close does with CloseGoingAway. Each of them refuses broadcasts with ErrClosed from then on, and leaves
// when it has ended. The Group stays usable. Any goroutine.
func (g *Group) Close() {
	g.order.Lock() // each member gets the broadcasts that have begun
	defer g.order.Unlock()
	for _, c := range g.Members() {
		c.closeGoingAway()
	}
}

// Broadcast sends m to each member, as the function Broadcast does, and does not wait. The result has an error for each member that has refused
// m, and is nil if there is none: ErrFull for a peer that is slow, see GroupConfig.KeepSlow, and otherwise the errors of Conn.WritePrepared.
//
// done, if not nil, is called once for each of the other members, on its loop: with nil when m was given to the kernel, or with the reason why
// it was not. It must not block. All members get the broadcasts of a Group in one order. Any goroutine.
func (g *Group) Broadcast(m *Prepared, done func(c *Conn, err error)) (refused []BroadcastError) {
	refused = g.sendInOrder(m, done)
	for _, r := range refused {
		if !g.keepSlow && errors.Is(r.Err, ErrFull) {
			g.cutOff(r)
		}
	}
	return refused
}

// cutOff ends a member that has refused a broadcast. It is removed before, since the reason is not that of its end. A Conn that has left meanwhile
// is not cut off.
func (g *Group) cutOff(r BroadcastError) {
	if g.Remove(r.Conn) {
		r.Conn.cutOffSlow(r.Err)
		g.notifyLeft(r.Conn, r)
	}
}

// sendInOrder sends m to each member, after the broadcasts that have begun before.
func (g *Group) sendInOrder(m *Prepared, done func(c *Conn, err error)) (refused []BroadcastError) {
	g.order.Lock()
	defer g.order.Unlock()
	for rest := g.beginBroadcast(); rest > 0; {
		rest = g.broadcastPart(rest, m, done, &refused)
	}
	return refused
}

// beginBroadcast returns the number of members that a new broadcast is sent to. Under order.
func (g *Group) beginBroadcast() (rest int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broadcast++
	return len(g.members)
}

// membersAtOnce is the number of members that a broadcast is sent to while mu is held.
const membersAtOnce = 32

// broadcastPart sends a broadcast to some members: to the last of the first rest ones, so that only members that have it take the places of those that
// leave. It returns the number of members that are left. Under order.
func (g *Group) broadcastPart(rest int, m *Prepared, done func(c *Conn, err error), refused *[]BroadcastError) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest = min(rest, len(g.members))
	for end := max(rest-membersAtOnce, 0); rest > end; rest-- {
		member := g.members[rest-1]
		if member.broadcast == g.broadcast {
			continue
		}
		member.broadcast = g.broadcast
		if err := member.c.broadcast(m, done); err != nil {
			*refused = append(*refused, BroadcastError{member.c, err})
		}
	}
	return rest
}
