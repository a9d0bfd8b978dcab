//go:build linux || darwin || freebsd

package sock

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Sockaddr returns the address in the kernel's form. It is nil if ap is not an address of the network, which is tcp, tcp4 or tcp6, or is in a zone
// that this machine does not have.
func Sockaddr(network string, ap netip.AddrPort) unix.Sockaddr {
	if !ap.IsValid() {
		return nil
	}
	a := ap.Addr().Unmap()
	if network == "tcp4" && !a.Is4() || network == "tcp6" && !a.Is6() {
		return nil
	}
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(ap.Port())}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16(), Port: int(ap.Port())}
	if zone := a.Zone(); zone != "" {
		n, err := strconv.ParseUint(zone, 10, 32)
		if i, e := net.InterfaceByName(zone); e == nil {
			n, err = uint64(i.Index), nil
		}
		if err != nil {
			return nil
		}
		sa.ZoneId = uint32(n)
	}
	return sa
}

// AddressName returns an address as text: a path, or IP and port.
func AddressName(sa unix.Sockaddr) string {
	if u, ok := sa.(*unix.SockaddrUnix); ok {
		return u.Name
	}
	return PeerOf(sa).Numbered().String()
}

// AlternateFamilies orders addresses so that IPv6 and IPv4 alternate, as in RFC 8305, section 4, beginning with the family of the first. The order
// within a family, which is the resolver's, remains.
func AlternateFamilies(targets []unix.Sockaddr) []unix.Sockaddr {
	if len(targets) == 0 {
		return targets
	}
	var first, other []unix.Sockaddr
	family := PeerOf(targets[0]).IsIPv6()
	for _, sa := range targets {
		if PeerOf(sa).IsIPv6() == family {
			first = append(first, sa)
		} else {
			other = append(other, sa)
		}
	}
	mixed := make([]unix.Sockaddr, 0, len(targets))
	for i := range first {
		mixed = append(mixed, first[i])
		if i < len(other) {
			mixed = append(mixed, other[i])
		}
	}
	return append(mixed, other[min(len(first), len(other)):]...)
}

// ToItself reports whether a TCP socket is connected to itself. This happens if no socket listens on the dialled port and the system chooses the same
// port for the socket.
func ToItself(fd int) bool {
	local, err := LocalPeer(fd)
	if err != nil || local.IsUnix() {
		return false
	}
	remote, err := RemotePeer(fd)
	return err == nil && local == remote
}
