package examples_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// backend is where the proxy connects to.
type backend struct {
	*net.TCPListener
	t *testing.T
}

func newBackend(t *testing.T) backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	t.Cleanup(func() { l.Close() })
	testkit.Must(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
	return backend{l.(*net.TCPListener), t}
}

// take accepts a connection, with the means of a client.
func (b backend) take() *client {
	b.t.Helper()
	c, err := b.AcceptTCP()
	testkit.Must(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	return newClient(b.t, c)
}

func startProxy(t *testing.T, to string) (p *program, addr string) {
	t.Helper()
	return listening(t, build(t, "proxy"), "-backend", to)
}

func TestProxyHandsOnBytesAndHalfClosesBothWays(t *testing.T) {
	b := newBackend(t)
	p, addr := startProxy(t, b.Addr().String())
	for _, clientFirst := range []bool{true, false} {
		c := dial(t, addr)
		c.send("from the client")
		there := b.take()
		there.expect("from the client")
		there.send("from the backend")
		c.expect("from the backend")
		first, second := c, there
		if !clientFirst {
			first, second = there, c
		}
		testkit.Must(t, first.CloseWrite())
		second.expectEnd()
		second.send("after the half-close")
		first.expect("after the half-close")
		testkit.Must(t, second.CloseWrite())
		first.expectEnd()
	}
	// Every connection has ended; were one left, Shutdown would close it, and this would say 4 as well. So ask the kernel.
	if left := sockets(t, p); left != 1 {
		t.Errorf("%d sockets are open, want the listening one", left)
	}
	if got, want := p.stop(), "4 connections, 102 bytes in, 102 out"; got != want {
		t.Errorf("stopped with %s, want %s", got, want)
	}
}

// sockets counts a program's sockets, when it has had the time to close those that it should.
func sockets(t *testing.T, p *program) (n int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		dir := fmt.Sprintf("/proc/%d/fd/", p.cmd.Process.Pid)
		entries, err := os.ReadDir(dir)
		testkit.Must(t, err)
		n = 0
		for _, e := range entries {
			if to, err := os.Readlink(dir + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		if n <= 1 || time.Now().After(end) {
			return n
		}
	}
}

// TestProxyLosesNothingThatComesBeforeTheBackend keeps the backend from answering until the client has sent all and closed its half.
func TestProxyLosesNothingThatComesBeforeTheBackend(t *testing.T) {
	b := newBackend(t)
	p, addr := startProxy(t, b.Addr().String())
	// A listener whose queue is full does not answer, and the connecting system asks again each second.
	raw, err := b.SyscallConn()
	testkit.Must(t, err)
	testkit.Must(t, raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }))
	testkit.Must(t, err)
	waiting := 0
	for full := false; !full && waiting < 10; {
		c, err := net.DialTimeout("tcp", b.Addr().String(), 100*time.Millisecond)
		if full = err != nil; !full {
			waiting++
			defer c.Close()
		}
	}
	text := lines(1, 1000, 600) // more than one read
	c := dial(t, addr)
	c.send(text)
	testkit.Must(t, c.CloseWrite())
	for range waiting {
		b.take()
	}
	there := b.take()
	there.expect(text)
	there.expectEnd()
	there.send("all of it is here")
	testkit.Must(t, there.CloseWrite())
	c.expect("all of it is here")
	c.expectEnd()
	p.stop()
}

func TestProxyClosesClientsWhenTheBackendIsNotThere(t *testing.T) {
	b := newBackend(t)
	b.Close() // no process listens now
	p, addr := startProxy(t, b.Addr().String())
	for range 20 {
		nc, err := net.DialTimeout("tcp", addr, patience)
		if errors.Is(err, syscall.ECONNRESET) {
			continue // that was quick
		}
		testkit.Must(t, err)
		c := newClient(t, nc)
		_, _ = io.WriteString(c, "hello") // it may be over already
		c.expectEnd()
	}
	if got, want := p.stop(), "20 connections, 0 bytes in, 0 out"; got != want {
		t.Errorf("stopped with %s, want %s", got, want)
	}
}

func TestProxyHandsOnAReset(t *testing.T) {
	b := newBackend(t)
	p, addr := startProxy(t, b.Addr().String())
	for _, clientFirst := range []bool{true, false} {
		c := dial(t, addr)
		c.send("x")
		there := b.take()
		there.expect("x")
		first, second := c, there
		if !clientFirst {
			first, second = there, c
		}
		testkit.Must(t, first.SetLinger(0))
		testkit.Must(t, first.Close())
		if _, err := second.in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a reset arrives as %v", err)
		}
	}
	p.stop()
}

// TestProxyEndsAPairWhoseOneSideResetsAfterItsEnd: the half-close has been handed on, and neither side says anything any more.
func TestProxyEndsAPairWhoseOneSideResetsAfterItsEnd(t *testing.T) {
	b := newBackend(t)
	p, addr := startProxy(t, b.Addr().String())
	for _, clientFirst := range []bool{true, false} {
		c := dial(t, addr)
		c.send("x")
		there := b.take()
		there.expect("x")
		first, second := c, there
		if !clientFirst {
			first, second = there, c
		}
		testkit.Must(t, first.CloseWrite())
		if _, err := second.in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("a half-close arrives as %v", err)
		}
		testkit.Must(t, first.SetLinger(0))
		testkit.Must(t, first.Close())
		for end := time.Now().Add(patience); socketError(t, second.TCPConn) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the other side of a pair that is dead was not reset")
			}
		}
	}
	p.stop()
}

// socketError is the error that waits on a socket, 0 for none.
func socketError(t *testing.T, c *net.TCPConn) (errno int) {
	t.Helper()
	raw, err := c.SyscallConn()
	testkit.Must(t, err)
	testkit.Must(t, raw.Control(func(fd uintptr) { errno, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR) }))
	testkit.Must(t, err)
	return errno
}

// TestProxyDoesNotGrowForAClientThatDoesNotRead pushes 100 MB through, in both directions at once on two connections, to readers that stop.
func TestProxyDoesNotGrowForAClientThatDoesNotRead(t *testing.T) {
	b := newBackend(t)
	p, addr := startProxy(t, b.Addr().String())
	down := dial(t, addr)
	downThere := b.take()
	up := dial(t, addr)
	upThere := b.take()
	before := memory(t, p, "VmRSS")
	var both sync.WaitGroup
	both.Go(func() { stopAndGo(t, downThere, down) })
	both.Go(func() { stopAndGo(t, up, upThere) })
	both.Wait()
	if grown := memory(t, p, "VmHWM") - before; grown > 64<<20 {
		t.Errorf("the proxy has grown by %d MB", grown>>20)
	}
	down.Close()
	upThere.Close()
	p.stop()
}

// stopAndGo sends 100 MB from one to the other, which reads a little, stops until nothing moves any more, and reads on.
func stopAndGo(t *testing.T, from, to *client) {
	const size, piece = 100 << 20, 1 << 20
	var sender sync.WaitGroup
	sent, stalled := sha256.New(), make(chan struct{})
	sender.Go(func() {
		stop := sync.OnceFunc(func() { close(stalled) })
		defer stop()
		source, buf := rand.NewChaCha8([32]byte{}), make([]byte, piece)
		for range size / piece {
			_, _ = source.Read(buf) // never fails
			sent.Write(buf)
			for rest := buf; len(rest) > 0; {
				_ = from.SetWriteDeadline(time.Now().Add(time.Second)) // anew each time: it passes when nothing moves
				n, err := from.Write(rest)
				if rest = rest[n:]; errors.Is(err, os.ErrDeadlineExceeded) {
					stop()
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		}
		select {
		case <-stalled:
		default:
			t.Error("all was accepted although the other side read nothing")
		}
	})
	received := sha256.New()
	if _, err := io.CopyN(received, to.in, piece); err != nil {
		t.Error(err)
	}
	<-stalled
	_ = to.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.CopyN(received, to.in, size-piece); err != nil {
		t.Errorf("%d bytes came after the stop, and %v", n, err)
		from.Close()
	}
	sender.Wait()
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Error("other bytes came than were sent")
	}
}

// memory is what the kernel says that a program has, in bytes: VmRSS is now, VmHWM the most that it ever had.
func memory(t *testing.T, p *program, what string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	testkit.Must(t, err)
	_, rest, _ := strings.Cut(string(status), what+":")
	var kilobytes int
	if _, err := fmt.Sscanf(rest, "%d kB", &kilobytes); err != nil {
		t.Fatalf("%s of %s: %v", what, status, err)
	}
	return kilobytes << 10
}
