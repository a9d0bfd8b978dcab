//go:build linux || darwin || freebsd

package sock

import (
	"encoding/binary"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Peer is an address in 23 bytes without pointers or alignment: an IP address with port and zone, or the address of a unix socket without its name.
// It is comparable. An IPv4 address from an IPv6 socket is shown as IPv4, but is not equal to the same address from an IPv4 socket,
// since an answer must be sent with the same family. The zero value means no address.
type Peer struct {
	ip     [16]byte // IPv4 as ::ffff:a.b.c.d
	zone   [4]byte  // big endian, as is the port: a struct that ends with a Peer has room for one more byte
	port   [2]byte
	family uint8 // AF_INET, AF_INET6, AF_UNIX; the values of all systems fit
}

func peer4(ip [4]byte, port uint16) Peer {
	p := Peer{family: unix.AF_INET}
	p.setPort(port)
	p.ip[10], p.ip[11] = 0xff, 0xff
	copy(p.ip[12:], ip[:])
	return p
}

func peer6(ip [16]byte, port uint16, zone uint32) Peer {
	p := Peer{ip: ip, family: unix.AF_INET6}
	p.setZone(zone)
	p.setPort(port)
	return p
}

// PeerOf converts sa. It returns the zero Peer for nil and for other families.
func PeerOf(sa unix.Sockaddr) Peer {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return peer4(sa.Addr, uint16(sa.Port))
	case *unix.SockaddrInet6:
		return peer6(sa.Addr, uint16(sa.Port), sa.ZoneId)
	case *unix.SockaddrUnix:
		return Peer{family: unix.AF_UNIX}
	}
	return Peer{}
}

// LocalPeer returns the address to which fd is bound.
func LocalPeer(fd int) (Peer, error) {
	sa, err := unix.Getsockname(fd)
	return PeerOf(sa), err
}

// UnixName returns the path to which a unix socket is bound, or "". An accepted socket has the path of its listener.
func UnixName(fd int) string {
	sa, err := unix.Getsockname(fd)
	if u, ok := sa.(*unix.SockaddrUnix); ok && err == nil {
		return u.Name
	}
	return ""
}

// RemotePeer returns the address to which fd is connected. The error is unix.ENOTCONN if it is not connected.
func RemotePeer(fd int) (Peer, error) {
	sa, err := unix.Getpeername(fd)
	return PeerOf(sa), err
}

// IsUnix reports whether p is the address of a unix socket.
func (p Peer) IsUnix() bool { return p.family == unix.AF_UNIX }

// AddrPort returns the address of an IP peer, and the zero value for others. An IPv4-mapped address is IPv4, as in package net. A
// zone is looked up by its number in the system's list of interfaces, which is slow; only link-local peers have a zone.
func (p Peer) AddrPort() netip.AddrPort {
	if p.family != unix.AF_INET && p.family != unix.AF_INET6 {
		return netip.AddrPort{}
	}
	ip := netip.AddrFrom16(p.ip).Unmap()
	if zone := p.zoneID(); zone != 0 && ip.Is6() {
		ip = ip.WithZone(zoneName(zone))
	}
	return netip.AddrPortFrom(ip, p.portNumber())
}

func (p Peer) zoneID() uint32 { return binary.BigEndian.Uint32(p.zone[:]) }

func (p Peer) portNumber() uint16 { return binary.BigEndian.Uint16(p.port[:]) }

func (p *Peer) setZone(zone uint32) { binary.BigEndian.PutUint32(p.zone[:], zone) }

func (p *Peer) setPort(port uint16) { binary.BigEndian.PutUint16(p.port[:], port) }

func zoneName(zone uint32) string {
	if i, err := net.InterfaceByIndex(int(zone)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(zone), 10) // the interface no longer exists; package net does the same
}

// Addr returns the address as a type of package net: a TCPAddr, a UDPAddr or a UnixAddr without name; nil for the zero
// Peer. network is any network that Options.Check knows. Addr allocates.
func (p Peer) Addr(network string) net.Addr {
	switch {
	case p.family == unix.AF_UNIX:
		return &net.UnixAddr{Net: network}
	case p.family != unix.AF_INET && p.family != unix.AF_INET6:
		return nil
	case isUDP(network):
		return net.UDPAddrFromAddrPort(p.AddrPort())
	}
	return net.TCPAddrFromAddrPort(p.AddrPort())
}

var hashSeed = maphash.MakeSeed()

// Hash returns a hash of the IP address alone. It is the same for an IPv4 address from sockets of both families, and for all unix peers. It
// differs between processes, so that clients cannot choose addresses with the same hash.
func (p Peer) Hash() uint64 { return maphash.Bytes(hashSeed, p.ip[:]) }

// Sockaddr returns the address for Connect and SendTo, nil for peers other than IP. It allocates.
func (p Peer) Sockaddr() unix.Sockaddr { return p.SockaddrIn(new(Sockaddrs)) }

// Sockaddrs is memory for one address.
type Sockaddrs struct {
	v4 unix.SockaddrInet4
	v6 unix.SockaddrInet6
}

// SockaddrIn is Sockaddr without an allocation. The result is in s and valid until s is used again.
func (p Peer) SockaddrIn(s *Sockaddrs) unix.Sockaddr {
	switch p.family {
	case unix.AF_INET:
		s.v4.Port = int(p.portNumber())
		copy(s.v4.Addr[:], p.ip[12:])
		return &s.v4
	case unix.AF_INET6:
		s.v6.Port, s.v6.ZoneId, s.v6.Addr = int(p.portNumber()), p.zoneID(), p.ip
		return &s.v6
	}
	return nil
}
