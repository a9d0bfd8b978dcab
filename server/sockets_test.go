package server_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// It contains the path.
func TestTheLocalAddressOfAUnixConnectionIsItsListeners(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"unix", false, 1}, &server.Server{Handler: p})
	s.dial(t)
	c := <-p.opened
	if got, want := c.LocalAddr().String(), s.addr.String(); got != want || want == "" {
		t.Errorf("%q, want %q", got, want)
	}
}

// A server returns its listeners and its sockets for datagrams while they are open, and every socket has a descriptor of its own.
func TestOpenSocketsAreListed(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	pc, err := s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: func(*server.PacketConn, []byte, netip.AddrPort) {}})
	testkit.Must(t, err)
	nc, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	defer nc.Close()
	c := <-p.opened
	seen := map[int]bool{c.FD(): true, pc.FD(): true}
	before := s.Listeners()
	for _, l := range before {
		seen[l.FD()] = true
	}
	if len(before) != 2 || len(seen) != 4 || seen[-1] {
		t.Errorf("%d listeners, descriptors %v; want 2 listeners, and 4 descriptors with the connection's", len(before), seen)
	}
	if all := s.PacketConns(); len(all) != 1 || all[0] != pc {
		t.Errorf("sockets for datagrams: %v", all)
	}
	testkit.Must(t, ln.Close())
	testkit.Must(t, pc.Close())
	if got := len(s.Listeners()) + len(s.PacketConns()); got != 1 {
		t.Errorf("%d sockets are listed after two were closed, want 1", got)
	}
}
