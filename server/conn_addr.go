package server

import (
	"net"
	"net/netip"

	"github.com/evmq/evmq/internal/sock"
)

// RemoteAddr returns the peer's address: with ProxyProtocol, the one in the PROXY header. Any goroutine.
func (c *Conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.proxied != nil && c.ext.proxied.source != nil {
		return c.ext.proxied.source
	}
	return c.peer.Addr(c.loop.srv.network(c.peer))
}

// AppendRemoteAddr appends the text of RemoteAddr to b. It allocates nothing unless b is too short, the address has a zone, or it comes from
// a PROXY header. Any goroutine.
func (c *Conn) AppendRemoteAddr(b []byte) []byte {
	c.mu.Lock()
	isPlain := c.ext == nil || c.ext.proxied == nil || c.ext.proxied.source == nil
	addr := c.peer.AddrPort()
	c.mu.Unlock()
	if !isPlain || !addr.IsValid() || addr.Addr().Zone() != "" {
		return append(b, c.RemoteAddr().String()...)
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()).AppendTo(b)
}

// PeerAddr returns the address of the other end of the socket: with ProxyProtocol, the proxy's address. Any goroutine.
func (c *Conn) PeerAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.Addr(c.loop.srv.network(c.peer))
}

// descriptor returns the number of c's descriptor, or -1 if there is none. The number is c's while mu is held and the connection is open.
func (c *Conn) descriptor() int { return c.loopPart().ev.FD() }

// LocalAddr returns the local address of the connection. It returns nil when the connection is closed or detached, and while Dial has not
// connected it. Any goroutine.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connClosed || c.ext != nil && (c.ext.dial != nil || c.ext.detached) || c.descriptor() < 0 {
		return nil
	}
	p, err := sock.LocalPeer(c.descriptor())
	if err != nil {
		return nil
	}
	if p.IsUnix() {
		return &net.UnixAddr{Name: sock.UnixName(c.descriptor()), Net: "unix"}
	}
	return p.Addr(c.loop.srv.network(p))
}

// network returns the network of a peer.
func (s *Server) network(p sock.Peer) string {
	if p.AddrPort().IsValid() {
		return "tcp"
	}
	return "unix"
}
