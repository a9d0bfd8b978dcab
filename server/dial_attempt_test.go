package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// resolveTo makes every name have the addresses addrs of IPv4 until the test ends.
func resolveTo(t *testing.T, addrs ...netip.Addr) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	testkit.Must(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		answerQueries(pc, addrs)
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		pc.Close()
		<-served
	})
}

// answerQueries answers queries of DNS for type A with addrs, and others with nothing.
func answerQueries(pc net.PacketConn, addrs []netip.Addr) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		q, end := buf[:n], 12
		for q[end] != 0 {
			end += int(q[end]) + 1
		}
		end += 5
		var answers []netip.Addr
		if q[end-4] == 0 && q[end-3] == 1 {
			answers = addrs
		}
		out := append([]byte{}, q[:2]...)
		out = append(out, 0x81, 0x80, 0, 1, 0, byte(len(answers)), 0, 0, 0, 0)
		out = append(out, q[12:end]...)
		for _, a := range answers {
			out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			out = append(out, a.AsSlice()...)
		}
		_, _ = pc.WriteTo(out, from)
	}
}

// silentAt makes an address of loopback with a port not answer.
func silentAt(t *testing.T, addr [4]byte, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	testkit.Must(t, err)
	unix.CloseOnExec(fd)
	t.Cleanup(func() { unix.Close(fd) })
	sa := &unix.SockaddrInet4{Port: port, Addr: addr}
	testkit.Must(t, unix.Bind(fd, sa))
	listenFull(t, fd, sa)
}

// listenFull makes fd, which is bound to sa, a listener whose queue is full, so that the kernel drops further attempts to connect.
func listenFull(t *testing.T, fd int, sa unix.Sockaddr) {
	t.Helper()
	testkit.Must(t, unix.Listen(fd, 0))
	for range 4 {
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		testkit.Must(t, err)
		unix.CloseOnExec(client)
		testkit.Must(t, unix.SetNonblock(client, true))
		t.Cleanup(func() { unix.Close(client) })
		if err := unix.Connect(client, sa); err != unix.EINPROGRESS {
			testkit.Must(t, err)
		}
	}
	listener := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	testkit.Until(t, "the first connection in the queue", func() bool { // the kernel delivers the packets of the clients later
		n, err := unix.Poll(listener, 0)
		return n == 1 && err == nil
	})
}

// A name has two addresses that do not answer and a third that does.
func TestASilentAddressDoesNotUseUpTheTimeOfTheOthers(t *testing.T) {
	good, err := net.Listen("tcp", "127.0.0.4:0")
	testkit.Must(t, err)
	defer good.Close()
	port := good.Addr().(*net.TCPAddr).Port
	silentAt(t, [4]byte{127, 0, 0, 2}, port)
	silentAt(t, [4]byte{127, 0, 0, 3}, port)
	resolveTo(t, netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4"))
	k := &connecting{good: [4]byte{127, 0, 0, 4}, fds: map[int]bool{}}
	srv := &server.Server{Handler: calls{}}
	srv.SetCalls(k)
	s, clock := startWithClock(t, rigs()[0], srv)
	h := newCaller()
	before := openFiles(t)
	dialled, err := s.Dial(context.Background(), "tcp", fmt.Sprintf("three.example.test.:%d", port), &server.DialConfig{Handler: h, Timeout: limit})
	testkit.Must(t, err)
	k.passAttempts(t, h, dialled, clock, func() bool { return len(h.opened)+len(h.closed) > 0 })
	select {
	case c := <-h.opened:
		if got := c.PeerAddr().String(); got != good.Addr().String() {
			t.Errorf("connected to %s, want %s", got, good.Addr())
		}
	case reason := <-h.closed:
		t.Fatalf("the dial failed: %v", reason)
	}
	if n := openFiles(t); n != before+1 {
		t.Errorf("%d descriptors more than before the dial, want one", n-before)
	}
}

// openFiles returns the number of descriptors of the process.
func openFiles(t *testing.T) int {
	t.Helper()
	n := 0
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

// The error names each address that was tried.
func TestADialThatFailsReportsEachAddress(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.2:0")
	testkit.Must(t, err)
	testkit.Must(t, gone.Close())
	port := gone.Addr().(*net.TCPAddr).Port
	resolveTo(t, netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"))
	s := start(t, rigs()[0], &server.Server{Handler: calls{}})
	h := newCaller()
	_, err = s.Dial(context.Background(), "tcp4", fmt.Sprintf("two.example.test.:%d", port), &server.DialConfig{Handler: h})
	testkit.Must(t, err)
	reason := testkit.Await(t, h.closed, "Close")
	testkit.CheckErr(t, "Close", reason, syscall.ECONNREFUSED)
	want := fmt.Sprintf("dial: connect to 127.0.0.2:%d: connection refused; connect to 127.0.0.3:%d: connection refused", port, port)
	if reason.Error() != want {
		t.Errorf("Close was called with %q, want %q", reason, want)
	}
}

// selfConnecting binds each socket that connects to the address that it connects to, which then is connected to itself.
type selfConnecting struct {
	sock.Kernel
	times int // Loop only
}

func (k *selfConnecting) Connect(fd int, sa unix.Sockaddr) error {
	if k.times > 0 {
		k.times--
		if err := unix.Bind(fd, sa); err != nil {
			return err
		}
	}
	return k.Kernel.Connect(fd, sa)
}

// The address is tried again, and refused like one without a listener.
func TestAConnectionToItselfIsNotOpened(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		for times := 1; times <= 4; times++ {
			gone, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
			if err != nil {
				continue // a machine without IPv6
			}
			testkit.Must(t, gone.Close())
			srv := &server.Server{Handler: echoLines()}
			srv.SetCalls(&selfConnecting{times: times})
			s := start(t, rig{"tcp", false, 1}, srv)
			h := newCaller()
			_, err = s.Dial(context.Background(), "tcp", gone.Addr().String(), &server.DialConfig{Handler: h})
			testkit.Must(t, err)
			h.failed(t, syscall.ECONNREFUSED)
			testkit.Must(t, s.Close())
			again, err := net.Listen("tcp", gone.Addr().String()) // the port is not held by TIME_WAIT
			testkit.Must(t, err)
			testkit.Must(t, again.Close())
		}
	}
}

// The address is of the network's family.
func TestAnAddressWithoutAHostIsThisMachine(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
	for network, host := range map[string]string{"tcp": "127.0.0.1", "tcp4": "127.0.0.1", "tcp6": "::1"} {
		ln, err := s.Listen(context.Background(), network, net.JoinHostPort(host, "0"), nil)
		if err != nil {
			t.Logf("without %s: %v", network, err)
			continue
		}
		port := ln.Addr().(*net.TCPAddr).Port
		h := newCaller()
		c, err := s.Dial(context.Background(), network, ":"+strconv.Itoa(port), &server.DialConfig{Handler: h})
		testkit.Must(t, err)
		select {
		case <-h.opened:
		case reason := <-h.closed:
			t.Fatalf("%s: %v", network, reason)
		}
		if got := c.PeerAddr().String(); got != ln.Addr().String() {
			t.Errorf("%s: connected to %s, want %s", network, got, ln.Addr())
		}
	}
}

// The dials have an unknown network, a connection of another server, or renegotiation.
func TestADialThatCannotBeServedIsRefusedAtTheCall(t *testing.T) {
	p := newProbe(calls{})
	other := start(t, rigs()[0], &server.Server{Handler: p})
	theirs, _ := p.connect(t, other)
	s := start(t, rigs()[0], &server.Server{Handler: calls{}})
	freely := clientTLS()
	freely.Renegotiation = tls.RenegotiateFreelyAsClient
	once := clientTLS()
	once.Renegotiation = tls.RenegotiateOnceAsClient
	for name, row := range map[string]struct {
		network string
		options server.DialConfig
	}{
		"network tcp5":         {"tcp5", server.DialConfig{}},
		"network unixpacket":   {"unixpacket", server.DialConfig{}},
		"network empty":        {"", server.DialConfig{}},
		"Near":                 {"tcp", server.DialConfig{Near: theirs}},
		"renegotiation":        {"tcp", server.DialConfig{TLS: freely}},
		"renegotiation, once":  {"tcp", server.DialConfig{TLS: once}},
		"renegotiation, named": {"tcp4", server.DialConfig{TLS: freely}},
	} {
		_, err := s.Dial(context.Background(), row.network, other.addr.String(), &row.options)
		testkit.CheckErr(t, name, err, server.ErrInvalid)
	}
	if a, b := s.Stats(), other.Stats(); a.OpenConns != 0 || a.Loops[0].OpenConns != 0 || b.OpenConns != 1 || b.Loops[0].OpenConns != 1 {
		t.Errorf("connections %d, %d on the loop; %d, %d", a.OpenConns, a.Loops[0].OpenConns, b.OpenConns, b.Loops[0].OpenConns)
	}
}

// Before Open, during a handshake with a silent peer, it has no ID and Conns leaves it out, on the dialling side and on the accepting
// one.
func TestAConnectionHasAnIDFromOpenOn(t *testing.T) {
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: calls{}})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer silent.Close()
	h := newCaller()
	c, err := s.Dial(context.Background(), "tcp", silent.Addr().String(), dialConfig(s.rig, h))
	testkit.Must(t, err)
	nc, err := silent.Accept()
	testkit.Must(t, err)
	defer nc.Close()
	_, err = nc.Read(make([]byte, 1)) // its ClientHello: the handshake has begun
	testkit.Must(t, err)
	s.dialPlain(t)
	testkit.Until(t, "the accepted connection", func() bool { return s.Stats().Loops[0].OpenConns == 2 })
	if c.ID() != (server.ConnID{}) || s.Conn(c.ID()) != nil {
		t.Errorf("before Open its ID is %v, by which %v is found", c.ID(), s.Conn(c.ID()))
	}
	for c := range s.Conns() {
		t.Errorf("before Open Conns has the connection from %v", c.RemoteAddr())
	}

	h = newCaller()
	c, err = s.Dial(context.Background(), "tcp", s.addr.String(), dialConfig(s.rig, h))
	testkit.Must(t, err)
	testkit.Await(t, h.opened, "Open")
	if c.ID() == (server.ConnID{}) || s.Conn(c.ID()) != c {
		t.Errorf("after Open its ID is %v, by which %v is found", c.ID(), s.Conn(c.ID()))
	}
	found := false
	for o := range s.Conns() {
		found = found || o == c
	}
	if !found {
		t.Error("after Open Conns does not have the connection")
	}
}
