//go:build linux || darwin || freebsd

package sock_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// TestUnsentIsWhatThePeerHasNotTaken: nothing on a new connection, something while the peer's buffer is full, nothing when it has read.
func TestUnsentIsWhatThePeerHasNotTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	fd, err := sock.DupConn(client.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unsent := func() int {
		n, err := sock.Unsent(fd)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := unsent(); n != 0 {
		t.Errorf("%d bytes are unsent on a new connection", n)
	}
	total, chunk := 0, make([]byte, 64<<10)
	for {
		n, err := unix.Write(fd, chunk)
		if err != nil {
			break // the kernel has no more room
		}
		total += n
	}
	if unsent() == 0 {
		t.Errorf("nothing is unsent of %d bytes, of which the peer has read none", total)
	}
	for total > 0 {
		n, err := peer.Read(chunk)
		if err != nil {
			t.Fatal(err)
		}
		total -= n
	}
	for end := time.Now().Add(20 * time.Second); unsent() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are unsent after the peer has read all", unsent())
		}
	}
}
