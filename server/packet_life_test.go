package server_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func ignorePacket(*server.PacketConn, []byte, netip.AddrPort) {}

func TestAPacketSocketIsCheckedWhenItIsOpened(t *testing.T) {
	srv := &server.Server{NumLoops: 1} // without a Handler for connections, of which there are none
	defer srv.Close()
	for _, c := range []struct {
		network, address string
		h                server.PacketHandler
		want             error
	}{
		{"udp", "127.0.0.1:0", nil, server.ErrInvalid},
		{"udp", "127.0.0.1:0", server.DispatchPackets(nil), server.ErrInvalid},
		{"tcp", "127.0.0.1:0", ignorePacket, server.ErrInvalid},
		{"unixgram", "x", ignorePacket, server.ErrInvalid},
		{"udp4", "[::1]:0", ignorePacket, &net.AddrError{}},
	} {
		pc, err := srv.ListenPacket(context.Background(), c.network, c.address, &server.PacketConfig{Handler: c.h})
		if addrErr := (*net.AddrError)(nil); pc != nil || !errors.Is(err, c.want) && !errors.As(err, &addrErr) {
			t.Errorf("%s %s: %v, %v; want %v", c.network, c.address, pc, err, c.want)
		}
	}
	pc, err := srv.ListenPacket(context.Background(), "udp4", "127.0.0.1:0", &server.PacketConfig{Handler: ignorePacket})
	testkit.Must(t, err)
	if _, err := srv.ListenPacket(context.Background(), "udp4", pc.LocalAddr().String(), &server.PacketConfig{Handler: ignorePacket}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the same address again: %v", err)
	}
	testkit.Must(t, srv.Close())
	if _, err := srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: ignorePacket}); !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAnAddedSocketKeepsItsDatagrams(t *testing.T) {
	nc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	testkit.Must(t, err)
	client := dialPacket(t, nc.LocalAddr().String())
	send(t, client, "early")
	s := packetServer(t, &server.Server{})
	pc, err := s.AddPacketConn(nc, &server.PacketConfig{Handler: echoPacket})
	testkit.Must(t, err)
	expectPacket(t, client, "early")
	if _, err := nc.WriteTo(nil, client.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the caller's own is not closed: %v", err)
	}
	if pc.LocalAddr().String() != client.RemoteAddr().String() {
		t.Errorf("its address is %v", pc.LocalAddr())
	}
}

// TestAConnectedSocketOutlivesItsPeer sends to a peer that has ended, which the kernel reports, and has begun again.
func TestAConnectedSocketOutlivesItsPeer(t *testing.T) {
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	testkit.Must(t, err)
	addr := peer.LocalAddr().(*net.UDPAddr)
	testkit.Must(t, peer.Close())
	answers := make(chan string, 1)
	s := packetServer(t, &server.Server{})
	pc, err := s.AddPacketConn(dialPacket(t, addr.String()), &server.PacketConfig{Handler: func(_ *server.PacketConn, p []byte, _ netip.AddrPort) {
		answers <- string(p)
	}})
	testkit.Must(t, err)
	testkit.Until(t, "an ICMP error", func() bool {
		_, _ = pc.WriteTo([]byte("hello?"), netip.AddrPort{}) // sometimes it returns the error, in place of a read
		return pc.Stats().Errors > 0
	})
	peer, err = net.ListenUDP("udp4", addr)
	testkit.Must(t, err)
	defer peer.Close()
	_, err = peer.WriteTo([]byte("here I am"), pc.LocalAddr())
	testkit.Must(t, err)
	if text := testkit.Await(t, answers, "a datagram"); text != "here I am" {
		t.Errorf("received %q", text)
	}
	testkit.Until(t, "a datagram to the peer", func() bool {
		_, err := pc.WriteTo([]byte("hello"), netip.AddrPort{})
		return err == nil
	})
	got := make([]byte, 10)
	n, _, err := peer.ReadFrom(got)
	for err == nil && string(got[:n]) == "hello?" { // it was on its way when the peer began again
		n, _, err = peer.ReadFrom(got)
	}
	if string(got[:n]) != "hello" || err != nil {
		t.Errorf("the peer received %q, %v", got[:n], err)
	}
}

func TestASocketThatIsNotUDPStaysTheCallers(t *testing.T) {
	s := packetServer(t, &server.Server{})
	path := filepath.Join(t.TempDir(), "s")
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	testkit.Must(t, err)
	defer nc.Close()
	if _, err := s.AddPacketConn(nc, &server.PacketConfig{Handler: ignorePacket}); !errors.Is(err, server.ErrUnsupported) {
		t.Errorf("unixgram: %v", err)
	}
	if _, err := s.AddPacketConn(struct{ net.PacketConn }{nc}, &server.PacketConfig{Handler: ignorePacket}); !errors.Is(err, server.ErrUnsupported) {
		t.Errorf("without a descriptor: %v", err)
	}
	if _, err := nc.WriteTo([]byte("x"), nc.LocalAddr()); err != nil {
		t.Errorf("it was taken: %v", err)
	}
}

// No further datagram is received after that, although some wait.
func TestAHandlerMayCloseItsSocket(t *testing.T) {
	nc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	testkit.Must(t, err)
	client := dialPacket(t, nc.LocalAddr().String())
	for range 5 {
		send(t, client, "x")
	}
	closed := make(chan error, 5)
	s := packetServer(t, &server.Server{})
	pc, err := s.AddPacketConn(nc, &server.PacketConfig{Handler: func(pc *server.PacketConn, _ []byte, _ netip.AddrPort) { closed <- pc.Close() }})
	testkit.Must(t, err)
	if err := testkit.Await(t, closed, "the first datagram"); err != nil {
		t.Errorf("Close: %v", err)
	}
	s.shutdown(t)
	if st := pc.Stats(); st.Received != 1 {
		t.Errorf("%d datagrams were received, 4 of them after Close", st.Received)
	}
}

// TestNothingIsSentAfterClose closes sockets while others write through them, and then takes their descriptors' numbers for
// sockets of its own: a datagram from one of those would have been sent by a late writer.
func TestNothingIsSentAfterClose(t *testing.T) {
	s := packetServer(t, &server.Server{})
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	testkit.Must(t, err)
	to := local(sink)
	var owners, strangers sync.Map
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		for {
			_, from, err := sink.ReadFromUDPAddrPort(make([]byte, 10))
			if err != nil {
				return
			}
			if _, ok := strangers.Load(from.Port()); ok {
				if _, ok := owners.Load(from.Port()); !ok {
					t.Errorf("a datagram came from %v", from)
				}
			}
		}
	}()
	rounds := 20
	if testkit.Full() {
		rounds = 50
	}
	for range rounds {
		pc := s.listenPacket(t, ignorePacket)
		owners.Store(uint16(pc.LocalAddr().(*net.UDPAddr).Port), nil)
		begun := make(chan struct{}, 4)
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				_, err := pc.WriteTo([]byte("x"), to)
				for begun <- struct{}{}; !errors.Is(err, server.ErrClosed); {
					if _, err = pc.WriteTo([]byte("x"), to); err != nil && !errors.Is(err, server.ErrClosed) && !errors.Is(err, server.ErrFull) {
						t.Errorf("WriteTo: %v", err)
						return
					}
				}
			})
		}
		testkit.Await(t, begun, "the first write")
		testkit.Must(t, pc.Close())
		for range 4 { // they are given the lowest numbers that are free
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			testkit.Must(t, err)
			strangers.Store(local(c).Port(), nil)
			defer c.Close()
		}
		writers.Wait()
		testkit.Must(t, pc.Close()) // a second time, without an effect
	}
	testkit.Must(t, sink.Close())
	testkit.Await(t, seen, "the end of the sink")
}

func TestShutdownClosesPacketSockets(t *testing.T) {
	s := packetServer(t, &server.Server{NumLoops: 2, ReusePort: true})
	pc := s.listenPacket(t, echoPacket)
	nc := dialPacket(t, pc.LocalAddr().String())
	send(t, nc, "x")
	expectPacket(t, nc, "x")
	s.shutdown(t)
	if _, err := pc.WriteTo([]byte("x"), local(nc)); !errors.Is(err, server.ErrClosed) {
		t.Errorf("WriteTo: %v", err)
	}
	if pc.Context().Err() == nil {
		t.Error("its Context has not ended")
	}
	again, err := net.ListenUDP("udp4", pc.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatalf("its address is still taken: %v", err)
	}
	testkit.Must(t, again.Close())
}

// Many are closed in the two ways at once, while others are opened.
func TestAPacketSocketMayRaceWithShutdown(t *testing.T) {
	s := packetServer(t, &server.Server{NumLoops: 2})
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range 20 {
		pc := s.listenPacket(t, echoPacket)
		all.Go(func() {
			<-begin
			if err := pc.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		all.Go(func() {
			<-begin
			if _, err := s.ListenPacket(context.Background(), "udp4", "127.0.0.1:0", &server.PacketConfig{Handler: echoPacket}); err != nil && !errors.Is(err, server.ErrServerClosed) {
				t.Errorf("ListenPacket: %v", err)
			}
		})
	}
	close(begin)
	s.shutdown(t)
	all.Wait()
}

func TestAPanicCostsOneDatagram(t *testing.T) {
	for name, where := range map[string]func(server.PacketHandler) server.PacketHandler{
		"loop": func(h server.PacketHandler) server.PacketHandler { return h }, "worker": server.DispatchPackets,
	} {
		t.Run(name, func(t *testing.T) {
			reported := make(chan any, 1)
			s := packetServer(t, &server.Server{OnPanic: func(c *server.Conn, v any, _ []byte) {
				if c != nil {
					t.Errorf("with connection %v", c.ID())
				}
				reported <- v
			}})
			pc := s.listenPacket(t, where(func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
				if string(p) == "panic" {
					panic("as reported")
				}
				echoPacket(pc, p, from)
			}))
			nc := dialPacket(t, pc.LocalAddr().String())
			send(t, nc, "panic")
			if v := testkit.Await(t, reported, "OnPanic"); v != "as reported" {
				t.Errorf("OnPanic was called with %v", v)
			}
			send(t, nc, "on")
			expectPacket(t, nc, "on")
		})
	}
}
