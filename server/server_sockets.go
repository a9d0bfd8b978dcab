package server

import (
	"maps"
	"slices"
)

// FD returns the number of the connection's descriptor, -1 while it is being dialled. It is for logs and reports: the descriptor
// belongs to the loop, and when the connection is closed the system may give its number to another file. Any goroutine.
func (c *Conn) FD() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.dial != nil {
		return -1
	}
	return c.descriptor()
}

// FD returns the number of the socket's descriptor, the first one with ReusePort. It is for logs and reports, as Conn.FD. Any
// goroutine.
func (pc *PacketConn) FD() int {
	if len(pc.sockets) == 0 {
		return -1
	}
	return pc.sockets[0].fd
}

// Listeners returns the listeners that are open at the call. Any goroutine.
func (s *Server) Listeners() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.listeners))
}

// PacketConns returns the sockets for datagrams that are open at the call. Any goroutine.
func (s *Server) PacketConns() []*PacketConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.packets))
}
