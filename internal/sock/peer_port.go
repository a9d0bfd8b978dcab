//go:build linux || darwin || freebsd

package sock

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// PeerAt converts to for sending from an IPv6 socket (v6) or an IPv4 socket. An IPv6 socket needs an IPv4 address mapped; for an IPv4 socket a
// mapped address is converted to IPv4. A zone is the number of an interface or its name, which is looked up. Errors wrap
// unix.EINVAL for an invalid address, and unix.EAFNOSUPPORT for an IPv6 address with an IPv4 socket.
func PeerAt(to netip.AddrPort, v6 bool) (Peer, error) {
	ip := to.Addr()
	switch {
	case !ip.IsValid():
		return Peer{}, unix.EINVAL
	case v6 && ip.Zone() != "":
		zone, err := zoneNumber(ip.Zone())
		return peer6(ip.As16(), to.Port(), zone), err
	case v6:
		return peer6(ip.As16(), to.Port(), 0), nil
	case ip.Unmap().Is4():
		return peer4(ip.Unmap().As4(), to.Port()), nil
	}
	return Peer{}, unix.EAFNOSUPPORT
}

func zoneNumber(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", zone, err)
	}
	return uint32(i.Index), nil
}

// Numbered is AddrPort with the number of a zone instead of its name, so that no look-up is needed.
func (p Peer) Numbered() netip.AddrPort {
	zone := p.zoneID()
	p.setZone(0)
	to := p.AddrPort()
	if zone == 0 || !to.Addr().Is6() {
		return to
	}
	return netip.AddrPortFrom(to.Addr().WithZone(strconv.FormatUint(uint64(zone), 10)), to.Port())
}

// IsWildcard reports whether p is the unspecified address of IPv4 or IPv6.
func (p Peer) IsWildcard() bool {
	return (p.family == unix.AF_INET || p.family == unix.AF_INET6) && netip.AddrFrom16(p.ip).Unmap().IsUnspecified()
}

// WithPort returns p with another port.
func (p Peer) WithPort(port uint16) Peer {
	p.setPort(port)
	return p
}

// IsIPv6 reports whether p is an IPv6 address or an IPv4 address from an IPv6 socket.
func (p Peer) IsIPv6() bool { return p.family == unix.AF_INET6 }
