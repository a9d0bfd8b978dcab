package server

import (
	"fmt"
)

// A ConnID names a connection among all that a server ever had. The zero ConnID is no connection's.
type ConnID struct {
	gen uint64
	fd  int32
}

// String is a form to print. Any goroutine.
func (id ConnID) String() string { return fmt.Sprintf("%d.%d", id.gen, id.fd) }

// ID is the connection's name; Server.Conn finds it again. It is the zero ConnID before Open is called, also while TLS shakes hands. Any
// goroutine.
func (c *Conn) ID() ConnID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isUnopened() {
		return ConnID{}
	}
	return ConnID{c.gen, int32(c.descriptor())}
}

// Conn finds an open connection by its name; nil when it is closed. A descriptor's next connection has another name. Any
// goroutine.
func (s *Server) Conn(id ConnID) *Conn {
	if c := s.conns.get(int(id.fd)); c != nil && c.gen == id.gen {
		return &c.Conn
	}
	return nil
}

// isUnopened reports whether Open is still to be called. Under mu.
func (c *Conn) isUnopened() bool { return c.ext != nil && c.ext.unopened }
