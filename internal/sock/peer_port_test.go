//go:build linux || darwin || freebsd

package sock_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// TestAnAddressFitsTheSocketThatSendsToIt looks at what the kernel is given, and at what comes back from it.
func TestAnAddressFitsTheSocketThatSendsToIt(t *testing.T) {
	v4, mapped := [4]byte{192, 0, 2, 1}, netip.MustParseAddr("::ffff:192.0.2.1").As16()
	local := netip.MustParseAddr("fe80::1").As16()
	for _, c := range []struct {
		to   string
		v6   bool
		want unix.Sockaddr
		back string
		err  error
	}{
		{"192.0.2.1:53", false, &unix.SockaddrInet4{Addr: v4, Port: 53}, "192.0.2.1:53", nil},
		{"192.0.2.1:53", true, &unix.SockaddrInet6{Addr: mapped, Port: 53}, "192.0.2.1:53", nil},
		{"[::ffff:192.0.2.1]:53", false, &unix.SockaddrInet4{Addr: v4, Port: 53}, "192.0.2.1:53", nil},
		{"[fe80::1%7]:65535", true, &unix.SockaddrInet6{Addr: local, Port: 65535, ZoneId: 7}, "[fe80::1%7]:65535", nil},
		{"[fe80::1]:53", true, &unix.SockaddrInet6{Addr: local, Port: 53}, "[fe80::1]:53", nil},
		{"[fe80::1]:53", false, nil, "", unix.EAFNOSUPPORT},
	} {
		p, err := sock.PeerAt(netip.MustParseAddrPort(c.to), c.v6)
		if !errors.Is(err, c.err) {
			t.Errorf("%s, v6 %v: error %v, want %v", c.to, c.v6, err, c.err)
		}
		if c.want == nil {
			continue
		}
		if p != sock.PeerOf(c.want) || p.Numbered().String() != c.back || p.IsIPv6() != c.v6 {
			t.Errorf("%s, v6 %v: %v, back %v, IPv6 %v", c.to, c.v6, p.Sockaddr(), p.Numbered(), p.IsIPv6())
		}
	}
	if _, err := sock.PeerAt(netip.AddrPort{}, true); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no address: %v", err)
	}
	if _, err := sock.PeerAt(netip.MustParseAddrPort("[fe80::1%no-such-if]:1"), true); err == nil {
		t.Error("a zone that is no interface's was accepted")
	}
}

func TestAZoneIsFoundByItsName(t *testing.T) {
	byName := sock.PeerOf(&unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16(), Port: 1, ZoneId: 1}).AddrPort()
	p, err := sock.PeerAt(byName, true)
	if err != nil || p.Numbered().Addr().Zone() != "1" {
		t.Errorf("%v became %v, %v", byName, p.Numbered(), err)
	}
}
