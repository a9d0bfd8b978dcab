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
	"github.com/evmq/evmq/server"
)

// connecting counts the sockets that connect.
type connecting struct {
	sock.Kernel
	mu   sync.Mutex
	fds  map[int]bool
	peak int
}

func (k *connecting) Connect(fd int, sa unix.Sockaddr) error {
	k.mu.Lock()
	k.fds[fd] = true
	k.peak = max(k.peak, len(k.fds))
	k.mu.Unlock()
	return k.Kernel.Connect(fd, sa)
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
	must(t, err)
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

// TestTheAttemptsOfADialAreBounded: of ten addresses that do not answer, eight are tried at a time, the oldest making room for the
// next, and the eleventh is reached.
func TestTheAttemptsOfADialAreBounded(t *testing.T) {
	const most, silent = 8, 10
	address := silentName(t, silent)
	k := &connecting{fds: map[int]bool{}}
	srv := &server.Server{Handler: calls{}}
	srv.SetCalls(k)
	s := start(t, rig{"tcp", false, 1}, srv)
	before := openFiles(t)
	h := newCaller()
	_, err := s.Dial(context.Background(), "tcp", address, &server.DialConfig{Handler: h})
	must(t, err)
	select {
	case <-h.opened:
	case reason := <-h.closed:
		t.Fatalf("the dial failed: %v", reason)
	case <-time.After(patience):
		t.Fatal("the dial did not end")
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

// TestTheAttemptsOfAllDialsAreBounded: each dial has one, and they share the others. One that may not begin waits for another to end.
func TestTheAttemptsOfAllDialsAreBounded(t *testing.T) {
	const dials, more = 4, 2
	address := silentName(t, 1)
	k := &connecting{fds: map[int]bool{}}
	srv := &server.Server{Handler: calls{}}
	srv.SetCalls(k)
	s := start(t, rig{"tcp", false, 1}, srv)
	server.SetMaxFiles(s.Server, more)
	h := newCaller()
	for range dials {
		_, err := s.Dial(context.Background(), "tcp", address, &server.DialConfig{Handler: h})
		must(t, err)
	}
	for range dials {
		select {
		case <-h.opened:
		case reason := <-h.closed:
			t.Fatalf("a dial failed: %v", reason)
		case <-time.After(patience):
			t.Fatal("a dial did not end")
		}
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

// TestAnAttemptThatMadeRoomIsToldOf in the error of a dial that fails.
func TestAnAttemptThatMadeRoomIsToldOf(t *testing.T) {
	address := silentName(t, 9)
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
	h := newCaller()
	addrs := make([]netip.Addr, 9)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
	}
	resolveTo(t, addrs...) // without the one that answers
	_, err = s.Dial(context.Background(), "tcp", "silent.example.test.:"+port, &server.DialConfig{Handler: h, Timeout: 4 * time.Second})
	must(t, err)
	h.failed(t, server.ErrDialTimeout, syscall.ETIMEDOUT)
}
