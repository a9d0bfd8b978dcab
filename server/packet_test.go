package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// packetServer starts a server without listeners, which is closed when the test ends.
func packetServer(t testing.TB, srv *server.Server) *running {
	t.Helper()
	if srv.Handler == nil {
		srv.Handler = server.HandlerFunc(echo)
	}
	return start(t, rig{"tcp", false, max(1, srv.NumLoops)}, srv)
}

// listenPacket opens a socket on loopback.
func (s *running) listenPacket(t testing.TB, h server.PacketHandler) *server.PacketConn {
	t.Helper()
	pc, err := s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: h})
	testkit.Must(t, err)
	return pc
}

// dialPacket makes a client that is connected: it receives datagrams only from the address that it sends to.
func dialPacket(t testing.TB, to string) *net.UDPConn {
	t.Helper()
	nc, err := net.Dial("udp", to)
	testkit.Must(t, err)
	t.Cleanup(func() { nc.Close() })
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	return nc.(*net.UDPConn)
}

// expectPacket receives one datagram and compares it with want.
func expectPacket(t testing.TB, nc net.Conn, want string) {
	t.Helper()
	got := make([]byte, 1<<16)
	if n, err := nc.Read(got); err != nil || string(got[:n]) != want {
		t.Fatalf("received %.40q (%d bytes), %v; want %.40q (%d bytes)", got[:n], n, err, want, len(want))
	}
}

// echoPacket sends each datagram back.
func echoPacket(pc *server.PacketConn, p []byte, from netip.AddrPort) { _, _ = pc.WriteTo(p, from) }

func local(nc net.Conn) netip.AddrPort { return nc.LocalAddr().(*net.UDPAddr).AddrPort() }

// packetRoutes are ways that a datagram can take on this machine.
func packetRoutes() map[string][3]string {
	routes := map[string][3]string{ // network, address to listen on, host to send to
		"IPv4":          {"udp4", "127.0.0.1:0", "127.0.0.1"},
		"IPv4 wildcard": {"udp4", "0.0.0.0:0", "127.0.0.1"},
		"either":        {"udp", ":0", "127.0.0.1"}, // where there is IPv6, the client's address comes mapped
		"name":          {"udp4", "localhost:0", "127.0.0.1"},
	}
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
		c.Close()
		routes["IPv6"] = [3]string{"udp6", "[::1]:0", "::1"}
		routes["either, IPv6"] = [3]string{"udp", ":0", "::1"}
	}
	return routes
}

func TestADatagramIsAnsweredOnTheLoop(t *testing.T) {
	for name, route := range packetRoutes() {
		t.Run(name, func(t *testing.T) {
			var from atomic.Value
			s := packetServer(t, &server.Server{})
			pc, err := s.ListenPacket(context.Background(), route[0], route[1], &server.PacketConfig{Handler: func(pc *server.PacketConn, p []byte, a netip.AddrPort) {
				from.Store(a)
				echoPacket(pc, p, a)
			}})
			testkit.Must(t, err)
			_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
			nc := dialPacket(t, net.JoinHostPort(route[2], port))
			total := 0
			sizes := []int{0, 1, 1400, 9000, 65507} // from none to the most that fits
			for _, size := range sizes {
				datagram := strings.Repeat("x", size)
				send(t, nc, datagram)
				expectPacket(t, nc, datagram)
				total += size
			}
			if from.Load() != local(nc) {
				t.Errorf("the handler was called with %v, the client is %v", from.Load(), local(nc))
			}
			s.shutdown(t)
			want := server.PacketStats{Received: uint64(len(sizes)), Sent: uint64(len(sizes)), BytesReceived: uint64(total), BytesSent: uint64(total)}
			if st := pc.Stats(); st != want {
				t.Errorf("%+v; want %+v", st, want)
			}
		})
	}
}

func TestAnswersToDatagramsComeFromAnyGoroutine(t *testing.T) {
	const clients, each = 4, 50
	s := packetServer(t, &server.Server{})
	pc := s.listenPacket(t, func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
		p = bytes.Clone(p)
		go echoPacket(pc, p, from)
	})
	var all sync.WaitGroup
	for i := range clients {
		nc := dialPacket(t, pc.LocalAddr().String())
		all.Go(func() {
			for n := range each {
				text := fmt.Sprintf("client %d, datagram %d", i, n)
				got := make([]byte, 100)
				if _, err := nc.Write([]byte(text)); err != nil {
					t.Error(err)
					return
				}
				if n, err := nc.Read(got); err != nil || string(got[:n]) != text {
					t.Errorf("received %q, %v; want %q", got[:n], err, text)
					return
				}
			}
		})
	}
	all.Wait()
	testkit.Until(t, "the end of the last WriteTo", func() bool { return pc.Stats().Sent == clients*each })
	if st := pc.Stats(); st.Received != clients*each || st.Errors != 0 {
		t.Errorf("%+v", st)
	}
}

func TestEachSocketHasItsHandler(t *testing.T) {
	s := packetServer(t, &server.Server{NumLoops: 2})
	var clients []*net.UDPConn
	for i := range 3 {
		pc := s.listenPacket(t, func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
			_, _ = fmt.Fprintf(writerTo{pc, from}, "%d: %s", i, p) // fails only when the server is closed
		})
		clients = append(clients, dialPacket(t, pc.LocalAddr().String()))
	}
	for i, nc := range clients {
		send(t, nc, "hello")
		expectPacket(t, nc, fmt.Sprintf("%d: hello", i))
	}
}

// writerTo makes a datagram of each write.
type writerTo struct {
	pc *server.PacketConn
	to netip.AddrPort
}

func (w writerTo) Write(p []byte) (int, error) { return w.pc.WriteTo(p, w.to) }

// TestEveryLoopReceivesWithReusePort needs the kernel to give each of two sockets at least one of 64 clients.
func TestEveryLoopReceivesWithReusePort(t *testing.T) {
	s := packetServer(t, &server.Server{NumLoops: 2, ReusePort: true})
	gate := make(chan struct{})
	var inside atomic.Int32
	pc := s.listenPacket(t, func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
		inside.Add(1)
		<-gate
		echoPacket(pc, p, from)
	})
	clients := make([]*net.UDPConn, 64)
	for i := range clients {
		clients[i] = dialPacket(t, pc.LocalAddr().String())
		send(t, clients[i], fmt.Sprint(i))
	}
	testkit.Until(t, "a handler running on each of two loops", func() bool { return inside.Load() == 2 })
	close(gate)
	for i, nc := range clients {
		expectPacket(t, nc, fmt.Sprint(i))
	}
}

// TestAFloodOfDatagramsHasABudget holds the loop in a handler until 200 datagrams and a connection's bytes wait.
func TestAFloodOfDatagramsHasABudget(t *testing.T) {
	const flood = 200
	var received atomic.Int32
	before := make(chan int32, 1)
	s := packetServer(t, &server.Server{Handler: server.HandlerFunc(func(_ *server.Conn, p []byte) (int, error) {
		before <- received.Load()
		return len(p), nil
	})})
	entered, gate := make(chan struct{}), make(chan struct{})
	pc := s.listenPacket(t, func(*server.PacketConn, []byte, netip.AddrPort) {
		if received.Add(1) == 1 {
			close(entered)
			<-gate
		}
	})
	tcp := s.dial(t)
	testkit.Until(t, "the connection's opening", func() bool { return s.Stats().Opened == 1 })
	udp := dialPacket(t, pc.LocalAddr().String())
	send(t, udp, "first")
	testkit.Await(t, entered, "the first datagram")
	for range flood {
		send(t, udp, "more")
	}
	send(t, tcp, "hello")
	arrives(t, tcp)
	close(gate)
	if n := testkit.Await(t, before, "the connection's turn"); n > flood*3/4 {
		t.Errorf("%d of %d datagrams were received before a connection had its turn", n, flood+1)
	}
	testkit.Until(t, "the rest of the flood", func() bool { return received.Load() == flood+1 })
}

func TestADatagramThatCannotBeIsRefusedWhole(t *testing.T) {
	s := packetServer(t, &server.Server{})
	pc := s.listenPacket(t, echoPacket)
	nc := dialPacket(t, pc.LocalAddr().String())
	for _, c := range []struct {
		size int
		to   netip.AddrPort
		want error
	}{
		{65508, local(nc), unix.EMSGSIZE},
		{1 << 20, local(nc), unix.EMSGSIZE},
		{1, netip.MustParseAddrPort("[::1]:9"), unix.EAFNOSUPPORT}, // of a socket of IPv4
		{1, netip.AddrPort{}, unix.EDESTADDRREQ},
		{1, netip.AddrPortFrom(netip.Addr{}, 9), unix.EINVAL},
	} {
		if n, err := pc.WriteTo(make([]byte, c.size), c.to); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%d bytes to %v: %d, %v; want 0, %v", c.size, c.to, n, err, c.want)
		}
	}
	if st := pc.Stats(); st.Errors != 5 || st.Sent != 0 {
		t.Errorf("%+v; want 5 errors", st)
	}
	send(t, nc, "still there")
	expectPacket(t, nc, "still there")
}

func TestDatagramsOnTheLoopDoNotAllocate(t *testing.T) {
	s := packetServer(t, &server.Server{})
	pc := s.listenPacket(t, echoPacket)
	nc := dialPacket(t, pc.LocalAddr().String())
	p := make([]byte, 64)
	trip := func() {
		if _, err := nc.Write(p); err != nil {
			t.Fatal(err)
		}
		if n, err := nc.Read(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n := testing.AllocsPerRun(500, trip); n != 0 {
		t.Errorf("%v allocations for a datagram and its answer", n)
	}
}

func BenchmarkPacketEcho(b *testing.B) {
	s := packetServer(b, &server.Server{})
	pc := s.listenPacket(b, echoPacket)
	nc := dialPacket(b, pc.LocalAddr().String())
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
