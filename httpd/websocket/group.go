package websocket

import "sync"

// A Group is a set of WebSockets that messages are sent to together, such as the members of a chat. Those that end leave it by themselves. The
// zero Group is empty. It must not be copied.
type Group struct {
	order sync.Mutex // held during a broadcast, so that all members receive the broadcasts in one order. Locked before mu

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

// Add adds c. It reports whether c is in the Group afterwards: false if it is closed or being closed. It panics if c is nil. Any goroutine.
func (g *Group) Add(c *Conn) bool {
	if c == nil {
		panic("websocket: Group.Add of a nil Conn")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return false
	}
	x := c.extra()
	if m, _ := x.membershipOf(g); m != nil {
		return true
	}
	x.groups = &membership{c, g, int32(len(g.members)), g.broadcast, x.groups} // it has no part in a broadcast that has begun
	g.members = append(g.members, x.groups)
	return true
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

// Remove removes c. It reports whether c was in the Group. It panics if c is nil. Any goroutine.
func (g *Group) Remove(c *Conn) bool {
	if c == nil {
		panic("websocket: Group.Remove of a nil Conn")
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

// leaveGroups takes c, which has ended, out of its groups.
func (c *Conn) leaveGroups() {
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
		g.Remove(c)
	}
}

// Len returns the number of members. Any goroutine.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Conns returns the members, in no order. The slice is the caller's. Any goroutine.
func (g *Group) Conns() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	conns := make([]*Conn, len(g.members))
	for i, m := range g.members {
		conns[i] = m.c
	}
	return conns
}

// Broadcast is the function Broadcast for the members. All members receive the messages of all goroutines that broadcast to the Group in the same
// order. Any goroutine.
func (g *Group) Broadcast(m *Prepared, done func(c *Conn, err error)) (refused []BroadcastError) {
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
