package server_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The listeners are of Listen, of package net with and without Multipath TCP, made of a file, and without a descriptor. The option is
// set on each connection of a client without Multipath TCP.
func TestAUserTimeoutIsSetWhateverTheListener(t *testing.T) {
	const want = 12_000
	open := func(multipath bool) net.Listener {
		var lc net.ListenConfig
		lc.SetMultipathTCP(multipath)
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		return l
	}
	file := func(l net.Listener) net.Listener {
		f, err := l.(*net.TCPListener).File()
		testkit.Must(t, err)
		testkit.Must(t, l.Close())
		l, err = net.FileListener(f)
		testkit.Must(t, err)
		testkit.Must(t, f.Close())
		return l
	}
	for name, l := range map[string]net.Listener{
		"plain": open(false), "multipath": open(true), "file": file(open(false)), "multipath file": file(open(true)),
		"hidden": hidden{Listener: open(false)}, "hidden multipath": hidden{Listener: open(true)},
	} {
		p := newProbe(calls{data: echo})
		s := start(t, rigs()[0], &server.Server{Handler: p, Socket: server.SocketOptions{UserTimeout: want * time.Millisecond}})
		ln, err := s.AddListener(l, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		nc := s.client(t, ln)
		c := testkit.Await(t, p.opened, "Open")
		got, err := unix.GetsockoptInt(c.FD(), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil || got != want {
			t.Errorf("%s: the user timeout is %d, %v; want %d", name, got, err, want)
		}
		send(t, nc, "hello")
		expect(t, nc, "hello")
		testkit.Must(t, s.Close())
	}
}

// Not all options can be set on the connection of such a client.
func TestAClientOfMultipathTCPIsServed(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: calls{data: echo}, Socket: server.SocketOptions{UserTimeout: 5 * time.Second}})
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	for _, wrapped := range []net.Listener{l, hidden{Listener: l}} {
		ln, err := s.AddListener(wrapped, nil)
		testkit.Must(t, err)
		var d net.Dialer
		d.SetMultipathTCP(true)
		nc, err := d.Dial("tcp", ln.Addr().String())
		testkit.Must(t, err)
		testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
		send(t, nc, "hello")
		expect(t, nc, "hello")
		testkit.Must(t, nc.Close())
		if _, ok := wrapped.(hidden); !ok { // the next one needs a listener that is open
			l, err = lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
			testkit.Must(t, err)
			defer l.Close()
		}
	}
}
