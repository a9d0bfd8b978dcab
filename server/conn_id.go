package server

import (
	"fmt"
)

// A ConnID identifies a connection among all connections that a server has had. The zero ConnID belongs to no connection.
type ConnID struct {
	gen uint64
	fd  int32
}

// String returns the ConnID as text, for logs. Any goroutine.
func (id ConnID) String() string { return fmt.Sprintf("%d.%d", id.gen, id.fd) }

// ID returns the connection's ConnID, by which Server.Conn finds it. It is the zero ConnID before Open is called, for example during a TLS
// handshake. Any goroutine.
func (c *Conn) ID() ConnID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isUnopened() {
		return ConnID{}
	}
	return ConnID{c.gen(), int32(c.descriptor())}
}

// gen returns the connection's generation. Any goroutine.
func (c *Conn) gen() uint64 { return c.ident.Load() &^ deadMark }

// Conn returns the open connection with the given ID, or nil. A later connection with the same descriptor has another ID. Any goroutine.
func (s *Server) Conn(id ConnID) *Conn {
	if c := s.conns.get(int(id.fd)); c != nil && c.gen() == id.gen {
		return &c.Conn
	}
	return nil
}

// isUnopened reports whether Open was not called yet. Under mu.
func (c *Conn) isUnopened() bool { return c.ext != nil && c.ext.unopened }
