package websocket

import "github.com/evmq/evmq/event"

// Loops returns the loops that have open WebSockets.
func Loops(h *Handler) (all []*event.Loop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.wheels {
		all = append(all, l)
	}
	return all
}

// BroadcastInParts is Broadcast of g, which calls between after each part of the members.
func BroadcastInParts(g *Group, m *Prepared, between func(rest int)) (refused []BroadcastError) {
	g.order.Lock()
	defer g.order.Unlock()
	for rest := g.beginBroadcast(); rest > 0; {
		rest = g.broadcastPart(rest, m, nil, &refused)
		between(rest)
	}
	return refused
}

// MembersAtOnce is the number of members of a part.
const MembersAtOnce = membersAtOnce

// CutOff cuts off a WebSocket that has refused a broadcast of g.
func CutOff(g *Group, r BroadcastError) { g.cutOff(r) }
