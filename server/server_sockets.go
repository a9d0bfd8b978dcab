package server

import (
	"maps"
	"slices"
)

// Listeners returns the open listeners, in no order. The slice is the caller's. Any goroutine.
func (s *Server) Listeners() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.listeners))
}

// PacketConns returns the open sockets for datagrams, in no order. The slice is the caller's. Any goroutine.
func (s *Server) PacketConns() []*PacketConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.packets))
}
