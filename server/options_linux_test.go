package server_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The connections are accepted by Listen, from a listener of the user, from one without a descriptor, or dialled.
func TestSocketOptionsReachEveryConnection(t *testing.T) {
	const want = "0 40 7 4 40000 60000"
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, Socket: server.SocketOptions{
		Delay: true, KeepAlive: net.KeepAliveConfig{Idle: 40 * time.Second, Interval: 7 * time.Second, Count: 4},
		ReadBuffer: 20_000, WriteBuffer: 30_000,
	}})
	options := func(c *server.Conn) (got string) {
		for _, o := range [][2]int{{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, {unix.SOL_SOCKET, unix.SO_RCVBUF}, {unix.SOL_SOCKET, unix.SO_SNDBUF}} {
			v, err := unix.GetsockoptInt(c.FD(), o[0], o[1])
			testkit.Must(t, err)
			got += fmt.Sprint(v, " ")
		}
		return strings.TrimSpace(got)
	}
	c, _ := p.connect(t, s)
	if got := options(c); got != want {
		t.Errorf("accepted: %s, want %s", got, want)
	}
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"net":     func(l net.Listener) net.Listener { return l },
		"wrapped": func(l net.Listener) net.Listener { return struct{ net.Listener }{l} },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		ln, err := s.AddListener(wrap(l), nil)
		testkit.Must(t, err)
		s.client(t, ln)
		if got := options(testkit.Await(t, p.opened, "Open")); got != want {
			t.Errorf("accepted from a %s listener: %s, want %s", name, got, want)
		}
	}
	h := newCaller()
	c, err := s.Dial(context.Background(), "tcp", s.addr.String(), &server.DialConfig{Handler: h})
	testkit.Must(t, err)
	testkit.Await(t, h.opened, "Open")
	if got := options(c); got != want {
		t.Errorf("dialled: %s, want %s", got, want)
	}
}

// Connections that were established before the server had their listener, as the first ones of a socket that systemd has opened, have the
// server's options, too. A listener's options are inherited only by later ones.
func TestConnectionsFromBeforeTheListenerWasAddedHaveTheOptions(t *testing.T) {
	for name, o := range map[string]server.SocketOptions{"default": {}, "keep-alive": {KeepAlive: net.KeepAliveConfig{Idle: 40 * time.Second}}} {
		p := newProbe(calls{})
		s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: p, Socket: o})
		options := func(c *server.Conn) (got [3]int) {
			for i, o := range [][2]int{{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}} {
				v, err := unix.GetsockoptInt(c.FD(), o[0], o[1])
				testkit.Must(t, err)
				got[i] = v
			}
			return got
		}
		c, _ := p.connect(t, s)
		want := options(c)
		if want[0] != 1 || want[1] != 1 {
			t.Fatalf("%s: no-delay and keep-alive are %v", name, want)
		}
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // connections of such a listener never inherit all options
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		const early = 100 // more than one turn accepts
		for range early {
			nc, err := net.Dial("tcp", l.Addr().String())
			testkit.Must(t, err)
			defer nc.Close()
		}
		ln, err := s.AddListener(l, nil)
		testkit.Must(t, err)
		for i := range early {
			if got := options(testkit.Await(t, p.opened, "Open")); got != want {
				t.Errorf("%s: connection %d from before has %v, want %v", name, i, got, want)
			}
		}
		s.client(t, ln)
		if got := options(testkit.Await(t, p.opened, "Open")); got != want {
			t.Errorf("%s: a later connection has %v, want %v", name, got, want)
		}
	}
}

// An idle connection takes at most 300 bytes, the table included.
func TestAnIdleConnectionIsSmall(t *testing.T) {
	const conns = 2000
	p := calls{}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	addr := &unix.SockaddrInet4{Port: s.addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	fds := make([]int, 0, 2*conns) // descriptors alone, which take no memory of the heap
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	connect := func(n int) {
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			testkit.Must(t, err)
			fds = append(fds, fd)
			testkit.Must(t, unix.Connect(fd, addr))
			if _, err := unix.Write(fd, []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Until(t, "all", func() bool { st := s.Stats(); return st.OpenConns == len(fds) && st.BytesRead == uint64(5*len(fds)) })
	}
	connect(10)
	before := heap()
	connect(conns)
	if each := float64(heap()-before) / conns; each > 400 {
		t.Errorf("an idle connection takes %.1f bytes, want 400 at most", each)
	} else {
		t.Logf("%.1f bytes", each)
	}
}
