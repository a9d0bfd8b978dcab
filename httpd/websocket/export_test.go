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
