//go:build linux || darwin || freebsd

package sock_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// An address belongs to a network by its family; one that is IPv4 within IPv6 is IPv4.
func TestAnAddressIsOfItsNetwork(t *testing.T) {
	for address, networks := range map[string]string{
		"192.0.2.1:80":          "tcp tcp4",
		"[::ffff:192.0.2.1]:80": "tcp tcp4",
		"[2001:db8::1]:80":      "tcp tcp6",
		"[fe80::1%1]:80":        "tcp tcp6",
		"[fe80::1%nowhere]:80":  "",
	} {
		ap := netip.MustParseAddrPort(address)
		var is []string
		for _, network := range []string{"tcp", "tcp4", "tcp6"} {
			if sa := sock.Sockaddr(network, ap); sa != nil {
				is = append(is, network)
				if got, want := netip.MustParseAddrPort(sock.AddressName(sa)), netip.AddrPortFrom(ap.Addr().Unmap(), 80); got.Addr().WithZone("") != want.Addr().WithZone("") || got.Port() != 80 {
					t.Errorf("%s of %s is named %v", address, network, got)
				}
			}
		}
		if got := strings.Join(is, " "); got != networks {
			t.Errorf("%s is of %q, want %q", address, got, networks)
		}
	}
	if sock.Sockaddr("tcp", netip.AddrPort{}) != nil {
		t.Error("no address is an address")
	}
	if got := sock.AddressName(&unix.SockaddrUnix{Name: "/run/s"}); got != "/run/s" {
		t.Errorf("a path is named %q", got)
	}
}

// Families alternate, beginning with the first address's, and each keeps its order.
func TestFamiliesAlternate(t *testing.T) {
	for in, want := range map[string]string{
		"":              "",
		"a":             "a",
		"1 2 a":         "1 a 2",
		"a 1 2":         "a 1 2",
		"a b 1":         "a 1 b",
		"a b c1":        "a b c1",
		"1 a b c 2 3 4": "1 a 2 b 3 c 4",
	} {
		var targets []unix.Sockaddr
		names := map[string]string{}
		for _, name := range strings.Fields(in) { // digits are IPv4
			target := unix.Sockaddr(&unix.SockaddrInet6{Port: len(names) + 1})
			if name[0] <= '9' {
				target = &unix.SockaddrInet4{Port: len(names) + 1}
			}
			names[fmt.Sprintf("%T %v", target, target)] = name
			targets = append(targets, target)
		}
		var got []string
		for _, target := range sock.AlternateFamilies(targets) {
			got = append(got, names[fmt.Sprintf("%T %v", target, target)])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// A socket that is bound to the address that it connects to is connected to itself.
func TestASocketCanBeConnectedToItself(t *testing.T) {
	for _, self := range []bool{true, false} {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		target := sock.Sockaddr("tcp4", ln.Addr().(*net.TCPAddr).AddrPort())
		if self {
			ln.Close() // its port is free
		} else {
			defer ln.Close()
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if self {
			if err := unix.Bind(fd, target); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Connect(fd, target); err != nil {
			t.Fatal(err)
		}
		if got := sock.ToItself(fd); got != self {
			t.Errorf("connected to itself: %v, want %v", got, self)
		}
	}
}
