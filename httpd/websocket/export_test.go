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

// BytesRead returns the number of bytes that were read from open WebSockets, those of the handshakes included.
func BytesRead(h *Handler) (n int) {
	for c := range h.Conns() {
		n += int(c.sc.Stats().BytesRead)
	}
	return n
}

// Pending returns the number of frames of open WebSockets that are being handled or wait for it.
func Pending(h *Handler) (n int, err error) {
	for c := range h.Conns() {
		pending := make(chan int, 1)
		if err := c.sc.Loop().Post(func() { pending <- c.sc.Requests().Pending() }); err != nil {
			return 0, err
		}
		n += <-pending
	}
	return n, nil
}
