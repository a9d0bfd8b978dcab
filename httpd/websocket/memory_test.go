package websocket_test

import (
	"bytes"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

// Idle WebSockets that have sent and received messages take 768 bytes each, without those of the kernel. The clients are bare descriptors.
func TestAnIdleWebSocketTakesLittleMemory(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("the memory of the race detector would be measured too; the test runs without it in .ci/run")
	}
	s := start(t, &websocket.Config{Message: echo, Deflate: true, Closed: func(*websocket.Conn, *websocket.CloseError) {}})
	fds := make([]int, 0, 1500)
	t.Cleanup(func() {
		for _, fd := range fds {
			testkit.Must(t, syscall.Close(fd))
		}
	})
	connect := func(n int) {
		for range n {
			fd := dialRaw(t, s.addr)
			fds = append(fds, fd)
			exchange(t, fd, handshake+deflateOffer+"\r\n", "\r\n\r\n")
			exchange(t, fd, string(text("hello")), "hello")
		}
	}
	connect(500)
	before := heap()
	const more = 1000
	connect(more)
	if got := (heap() - before) / more; got > 768 {
		t.Errorf("%d bytes for each WebSocket", got)
	} else {
		t.Logf("%d bytes for each WebSocket", got)
	}
}

// heap returns the bytes of live objects and stacks.
func heap() int64 {
	var m runtime.MemStats
	for range 3 { // pools keep objects for two collections
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// dialRaw returns a descriptor that is connected to addr.
func dialRaw(t *testing.T, addr string) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	testkit.Must(t, err)
	to := netip.MustParseAddrPort(addr)
	testkit.Must(t, syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}))
	return fd
}

// exchange sends text and reads a response that contains want.
func exchange(t *testing.T, fd int, request, want string) {
	t.Helper()
	if _, err := syscall.Write(fd, []byte(request)); err != nil {
		t.Fatal(err)
	}
	var response [1024]byte
	for n := 0; !bytes.Contains(response[:n], []byte(want)); {
		m, err := syscall.Read(fd, response[n:])
		if err != nil || m == 0 {
			t.Fatalf("read %q, %v", response[:n], err)
		}
		n += m
	}
}
