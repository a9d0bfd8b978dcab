package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// wildcards returns the ways to listen at all addresses, each with addresses to send to.
func wildcards() map[string][]string {
	all := map[string][]string{
		"udp4 0.0.0.0:0": {"127.0.0.1", "127.0.0.2", "127.9.8.7"},
		"udp4 :0":        {"127.0.0.1", "127.0.0.2"},
		"udp 0.0.0.0:0":  {"127.0.0.1", "127.0.0.2"},
	}
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
		c.Close()
		all["udp :0"] = []string{"127.0.0.1", "::1", "127.0.0.2"}
		all["udp [::]:0"] = []string{"127.0.0.2", "::1", "127.0.0.1"}
		all["udp6 [::]:0"] = []string{"::1"}
	}
	return all
}

// The answer is sent on the loop, on a worker or on any goroutine, on sockets of ListenPacket and of package net. A connected client
// receives no other answers.
func TestAnAnswerComesFromTheAddressThatWasAskedAt(t *testing.T) {
	work := func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
		text := fmt.Sprintf("%s at %v", p, pc.Local())
		if n, err := pc.WriteTo([]byte(text), from); n != len(text) || err != nil {
			t.Errorf("WriteTo: %d, %v", n, err)
		}
	}
	handlers := map[string]server.PacketHandler{
		"loop":   work,
		"worker": server.DispatchPackets(work),
		"goroutine": func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
			p = bytes.Clone(p)
			go work(pc, p, from)
		},
	}
	for where, asked := range wildcards() {
		var network, address string
		_, err := fmt.Sscanf(where, "%s %s", &network, &address)
		testkit.Must(t, err)
		for name, h := range handlers {
			for _, added := range []bool{false, true} {
				s := packetServer(t, &server.Server{NumLoops: 2, ReusePort: !added})
				var pc *server.PacketConn
				if added {
					inner, err := net.ListenPacket(network, address)
					testkit.Must(t, err)
					pc, err = s.AddPacketConn(inner, &server.PacketConfig{Handler: h})
					testkit.Must(t, err)
				} else {
					pc, err = s.ListenPacket(context.Background(), network, address, &server.PacketConfig{Handler: h})
					testkit.Must(t, err)
				}
				_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
				for _, host := range asked {
					at := net.JoinHostPort(host, port)
					for range 3 {
						nc := dialPacket(t, at)
						send(t, nc, name)
						expectPacket(t, nc, name+" at "+at)
					}
				}
				testkit.Must(t, s.Close())
			}
		}
	}
}

// The PacketConn that a handler is given has the same counters, addresses and Close as the one of ListenPacket.
func TestAHandlersPacketConnIsTheSameSocket(t *testing.T) {
	s := packetServer(t, &server.Server{})
	got := make(chan *server.PacketConn, 1)
	pc, err := s.ListenPacket(context.Background(), "udp4", "0.0.0.0:0", &server.PacketConfig{Handler: func(pc *server.PacketConn, _ []byte, _ netip.AddrPort) { got <- pc }})
	testkit.Must(t, err)
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	if want := "0.0.0.0:" + port; pc.Local().String() != want {
		t.Errorf("Local is %v, want %s", pc.Local(), want)
	}
	send(t, dialPacket(t, "127.0.0.2:"+port), "hello")
	view := testkit.Await(t, got, "the datagram")
	if want := "127.0.0.2:" + port; view.Local().String() != want {
		t.Errorf("the handler's Local is %v, want %s", view.Local(), want)
	}
	if view.FD() != pc.FD() || view.LocalAddr() != pc.LocalAddr() || view.Server() != pc.Server() || view.Stats() != pc.Stats() || view.Context() != pc.Context() {
		t.Error("the handler's PacketConn is of another socket")
	}
	if all := s.PacketConns(); len(all) != 1 || all[0] != pc {
		t.Errorf("PacketConns has %v, want %p", all, pc)
	}
	testkit.Must(t, view.Close())
	if len(s.PacketConns()) != 0 {
		t.Error("PacketConns has the socket after its end")
	}
	_, err = pc.WriteTo([]byte("late"), netip.MustParseAddrPort("127.0.0.1:9"))
	testkit.CheckErr(t, "WriteTo", err, server.ErrClosed)
}

// The address must belong to this machine and to the socket's family.
func TestWriteFromSendsFromTheAddressThatIsGiven(t *testing.T) {
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer peer.Close()
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	receive := func() netip.AddrPort {
		t.Helper()
		_, from, err := peer.(*net.UDPConn).ReadFromUDPAddrPort(make([]byte, 100))
		testkit.Must(t, err)
		return from
	}
	s := packetServer(t, &server.Server{})
	for _, listen := range []string{"udp4 0.0.0.0:0", "udp [::]:0", "udp4 127.0.0.1:0"} {
		var network, address string
		_, err := fmt.Sscanf(listen, "%s %s", &network, &address)
		testkit.Must(t, err)
		pc, err := s.ListenPacket(context.Background(), network, address, &server.PacketConfig{Handler: echoPacket})
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			continue // a machine without IPv6
		}
		testkit.Must(t, err)
		port := pc.Local().Port()
		for _, from := range []string{"127.0.0.3", "::ffff:127.0.0.4", "127.0.0.1"} {
			addr := netip.MustParseAddr(from)
			_, err := pc.WriteFrom([]byte("hello"), addr, to)
			testkit.Must(t, err)
			if got, want := receive(), netip.AddrPortFrom(addr.Unmap(), port); got != want {
				t.Errorf("%s: the datagram comes from %v, want %v", listen, got, want)
			}
		}
		_, err = pc.WriteFrom([]byte("hello"), netip.Addr{}, to)
		testkit.Must(t, err)
		if got := receive(); got.Port() != port {
			t.Errorf("%s: the datagram comes from %v, want port %d", listen, got, port)
		}
		_, err = pc.WriteFrom([]byte("hello"), netip.MustParseAddr("192.0.2.1"), to)
		if err == nil { // which error it is, depends on the routes
			t.Errorf("%s: WriteFrom sends from an address of another machine", listen)
		}
		if network == "udp4" {
			_, err = pc.WriteFrom([]byte("hello"), netip.MustParseAddr("::1"), to)
			testkit.CheckErr(t, "WriteFrom an address of another family", err, unix.EAFNOSUPPORT)
		}
	}
}

// A machine may have all addresses of a network, as of the loopback network.
func TestMoreLocalAddressesThanAreKeptAreAnsweredFrom(t *testing.T) {
	s := packetServer(t, &server.Server{})
	pc, err := s.ListenPacket(context.Background(), "udp4", "0.0.0.0:0", &server.PacketConfig{Handler: echoPacket})
	testkit.Must(t, err)
	port := pc.Local().Port()
	for i := range 1100 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i / 250), byte(1 + i%250)}), port)
		nc, err := net.Dial("udp4", at.String())
		testkit.Must(t, err)
		send(t, nc, at.String())
		expectPacket(t, nc, at.String())
		testkit.Must(t, nc.Close())
	}
}

// The socket is bound to one address or to none, with OnPanic, or handled on a worker.
func TestDatagramsDoNotAllocateWhateverTheSocket(t *testing.T) {
	for where, asked := range wildcards() {
		for name, row := range map[string]struct {
			srv *server.Server
			h   server.PacketHandler
		}{
			"loop":    {&server.Server{}, echoPacket},
			"OnPanic": {&server.Server{OnPanic: func(*server.Conn, any, []byte) {}}, echoPacket},
			"worker":  {&server.Server{}, server.DispatchPackets(echoPacket)},
			"from": {&server.Server{}, func(pc *server.PacketConn, p []byte, to netip.AddrPort) {
				_, _ = pc.WriteFrom(p, pc.Local().Addr(), to)
			}},
		} {
			var network, address string
			_, err := fmt.Sscanf(where, "%s %s", &network, &address)
			testkit.Must(t, err)
			s := packetServer(t, row.srv)
			pc, err := s.ListenPacket(context.Background(), network, address, &server.PacketConfig{Handler: row.h})
			testkit.Must(t, err)
			_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
			var clients []net.Conn
			for _, host := range asked {
				clients = append(clients, dialPacket(t, net.JoinHostPort(host, port)))
			}
			p := make([]byte, 64)
			trip := func() {
				for _, nc := range clients {
					if _, err := nc.Write(p); err != nil {
						t.Fatal(err)
					}
					if n, err := nc.Read(p); n != len(p) || err != nil {
						t.Fatal(n, err)
					}
				}
			}
			if name == "worker" && leaktest.Raced() {
				continue // in race builds a sync.Pool loses objects
			}
			if n := testing.AllocsPerRun(200, trip); n != 0 {
				t.Errorf("%s, %s: %v allocations for a datagram and its answer", where, name, n)
			}
			testkit.Must(t, s.Close())
		}
	}
}

func BenchmarkPacketEchoOnAWildcard(b *testing.B) {
	s := packetServer(b, &server.Server{})
	pc, err := s.ListenPacket(context.Background(), "udp4", "0.0.0.0:0", &server.PacketConfig{Handler: echoPacket})
	testkit.Must(b, err)
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	nc := dialPacket(b, "127.0.0.1:"+port)
	p := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nc.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(p); err != nil {
			b.Fatal(err)
		}
	}
}
