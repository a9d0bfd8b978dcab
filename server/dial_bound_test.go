package server_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// connecting counts the sockets that connect.
type connecting struct {
	sock.Kernel
	good    [4]byte // the address that answers
	mu      sync.Mutex
	fds     map[int]bool
	peak    int
	answers int // attempts to connect to good
}

func (k *connecting) Connect(fd int, sa unix.Sockaddr) error {
	k.mu.Lock()
	k.fds[fd] = true
	k.peak = max(k.peak, len(k.fds))
	if sa.(*unix.SockaddrInet4).Addr == k.good {
		k.answers++
	}
	k.mu.Unlock()
	return k.Kernel.Connect(fd, sa)
}

// begun reports whether an attempt has begun.
func (k *connecting) begun() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.peak > 0
}

// isAnswered reports whether an attempt will succeed when the kernel has delivered the answer, given the number of those that have.
func (k *connecting) isAnswered(succeeded int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.answers > succeeded
}

// passAttempts advances the clock by the delay between two attempts, once the first has begun, until the dials of h are done. No time passes
// while an attempt to the address that answers is under way.
func (k *connecting) passAttempts(t *testing.T, h *caller, c *server.Conn, clock *testkit.Clock, done func() bool) {
	t.Helper()
	testkit.Until(t, "the first attempt", k.begun)
	testkit.Until(t, "the end of the dials", func() bool {
		if !done() && !k.isAnswered(len(h.opened)) {
			clock.Advance(250 * time.Millisecond)
			twoTurns(t, c)
		}
		return done()
	})
}

func (k *connecting) Close(fd int) error {
	k.mu.Lock()
	delete(k.fds, fd)
	k.mu.Unlock()
	return k.Kernel.Close(fd)
}

// silentName makes every name have n addresses that do not answer, from 127.0.1.1 on, and then that of a listener.
func silentName(t *testing.T, n int) (address string) {
	t.Helper()
	good, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:0", n+1))
	testkit.Must(t, err)
	t.Cleanup(func() { good.Close() })
	port := good.Addr().(*net.TCPAddr).Port
	var addrs []netip.Addr
	for i := range n + 1 {
		addr := [4]byte{127, 0, 1, byte(i + 1)}
		if i < n {
			silentAt(t, addr, port)
		}
		addrs = append(addrs, netip.AddrFrom4(addr))
	}
	resolveTo(t, addrs...)
	return fmt.Sprintf("many.example.test.:%d", port)
}

// Of ten addresses that do not answer, eight are tried at a time, the next one replaces the oldest, and the eleventh address is reached.
func TestTheAttemptsOfADialAreBounded(t *testing.T) {
	const most, silent = 8, 10
	address := silentName(t, silent)
	k := &connecting{good: [4]byte{127, 0, 1, silent + 1}, fds: map[int]bool{}}
	srv := &server.Server{Handler: calls{}}
	srv.SetCalls(k)
	s, clock := startWithClock(t, rig{"tcp", false, 1}, srv)
	before := openFiles(t)
	h := newCaller()
	c, err := s.Dial(context.Background(), "tcp", address, &server.DialConfig{Handler: h})
	testkit.Must(t, err)
	k.passAttempts(t, h, c, clock, func() bool { return len(h.opened)+len(h.closed) > 0 })
	if len(h.closed) > 0 {
		t.Fatalf("the dial failed: %v", <-h.closed)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.peak != most {
		t.Errorf("%d attempts were under way at once, want %d", k.peak, most)
	}
	if n := openFiles(t); n != before+1 || server.Attempts(s.Server) != 0 {
		t.Errorf("%d descriptors more than before the dial, want one; %d attempts are counted", n-before, server.Attempts(s.Server))
	}
}

// Each dial has one, and they share the others. A further attempt waits for the end of another one.
func TestTheAttemptsOfAllDialsAreBounded(t *testing.T) {
	const dials, more = 4, 2
	address := silentName(t, 1)
	k := &connecting{good: [4]byte{127, 0, 1, 2}, fds: map[int]bool{}}
	srv := &server.Server{Handler: calls{}}
	srv.SetCalls(k)
	s, clock := startWithClock(t, rig{"tcp", false, 1}, srv)
	server.SetMaxFiles(s.Server, more)
	h := newCaller()
	var c *server.Conn
	for range dials {
		var err error
		c, err = s.Dial(context.Background(), "tcp", address, &server.DialConfig{Handler: h})
		testkit.Must(t, err)
	}
	testkit.Until(t, "an attempt of each dial", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.peak >= dials
	})
	k.passAttempts(t, h, c, clock, func() bool { return len(h.opened) == dials || len(h.closed) > 0 })
	if len(h.closed) > 0 {
		t.Fatalf("a dial failed: %v", <-h.closed)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.peak > dials+more {
		t.Errorf("%d attempts were under way at once, want %d at most", k.peak, dials+more)
	}
	if n := server.Attempts(s.Server); n != 0 {
		t.Errorf("%d attempts are counted in the end", n)
	}
}

// The error of the dial names its address.
func TestAnAttemptThatMadeRoomIsReported(t *testing.T) {
	address := silentName(t, 9)
	_, port, err := net.SplitHostPort(address)
	testkit.Must(t, err)
	k := &connecting{fds: map[int]bool{}}
	srv := &server.Server{Handler: calls{}}
	srv.SetCalls(k)
	s, clock := startWithClock(t, rig{"tcp", false, 1}, srv)
	h := newCaller()
	addrs := make([]netip.Addr, 9)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
	}
	resolveTo(t, addrs...) // without the one that answers
	c, err := s.Dial(context.Background(), "tcp", "silent.example.test.:"+port, &server.DialConfig{Handler: h, Timeout: limit})
	testkit.Must(t, err)
	k.passAttempts(t, h, c, clock, func() bool { return len(h.closed) > 0 })
	h.failed(t, server.ErrDialTimeout, syscall.ETIMEDOUT)
}
