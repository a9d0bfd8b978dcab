//go:build linux || darwin || freebsd

package sock_test

import (
	"net"
	"net/netip"
	"reflect"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

func TestAPeerIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(sock.Peer{}); n > 23 {
		t.Errorf("%d bytes", n)
	}
}

func TestAPeerKeepsItsAddress(t *testing.T) {
	loopback, err := net.InterfaceByIndex(1)
	zone := "1"
	if err == nil {
		zone = loopback.Name
	}
	mapped := [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}
	for _, c := range []struct {
		sa   unix.Sockaddr
		text string
	}{
		{&unix.SockaddrInet4{Port: 65535, Addr: [4]byte{192, 0, 2, 1}}, "192.0.2.1:65535"},
		{&unix.SockaddrInet4{}, "0.0.0.0:0"},
		{&unix.SockaddrInet6{Port: 258, Addr: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}, "[2001:db8::1]:258"},
		{&unix.SockaddrInet6{Port: 80, ZoneId: 1, Addr: [16]byte{0xfe, 0x80, 15: 1}}, "[fe80::1%" + zone + "]:80"},
		{&unix.SockaddrInet6{Port: 80, ZoneId: 1 << 30, Addr: [16]byte{0xfe, 0x80, 15: 1}}, "[fe80::1%1073741824]:80"},
		{&unix.SockaddrInet6{Port: 1, Addr: mapped}, "192.0.2.1:1"},
	} {
		p := sock.PeerOf(c.sa)
		equal(t, "AddrPort", p.AddrPort(), netip.MustParseAddrPort(c.text))
		equal(t, "Addr of tcp", p.Addr("tcp").String(), c.text)
		equal(t, "its network", p.Addr("tcp").Network(), "tcp")
		equal(t, "Addr of udp", p.Addr("udp4").String(), c.text)
		equal(t, "its network", p.Addr("udp4").Network(), "udp")
		if !reflect.DeepEqual(p.Sockaddr(), c.sa) {
			t.Errorf("Sockaddr of %s: %+v, want %+v", c.text, p.Sockaddr(), c.sa)
		}
		equal(t, "by way of Sockaddr", sock.PeerOf(p.Sockaddr()), p)
	}
}

func TestAPeerWithoutIPHasNoSockaddr(t *testing.T) {
	var none sock.Peer
	equal(t, "of nil", sock.PeerOf(nil), none)
	equal(t, "Addr", none.Addr("tcp"), nil)
	equal(t, "Sockaddr", none.Sockaddr(), nil)
	p := sock.PeerOf(&unix.SockaddrUnix{Name: "/tmp/x"})
	equal(t, "IsUnix", p.IsUnix(), true)
	equal(t, "Sockaddr", p.Sockaddr(), nil)
	if a, ok := p.Addr("unix").(*net.UnixAddr); !ok || *a != (net.UnixAddr{Net: "unix"}) {
		t.Errorf("Addr: %#v", p.Addr("unix"))
	}
}

func TestHashIsOfTheAddressAlone(t *testing.T) {
	of := func(a, port int) uint64 {
		return sock.PeerOf(&unix.SockaddrInet4{Port: port, Addr: [4]byte{192, 0, 2, byte(a)}}).Hash()
	}
	equal(t, "another port", of(1, 2), of(1, 1))
	seen := map[uint64]bool{}
	for a := range 256 {
		seen[of(a, 1)] = true
	}
	equal(t, "different hashes", len(seen), 256)
}
