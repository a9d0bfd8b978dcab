package examples_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// TestEchoSendsBackEveryByteInEachMode has clients that write without waiting for the answers.
func TestEchoSendsBackEveryByteInEachMode(t *testing.T) {
	binary := build(t, "echo")
	for _, mode := range []string{"loop", "workers"} {
		for _, framing := range []string{"raw", "line"} {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s-%s-tls=%v", mode, framing, secure), func(t *testing.T) {
					t.Parallel()
					p, addr := listening(t, binary,
						"-loops", "2", "-workers", "4", "-mode", mode, "-framing", framing, fmt.Sprintf("-tls=%v", secure))
					var clients sync.WaitGroup
					sent := 0
					for i := range 6 {
						c, text := dialEcho(t, "tcp", addr, secure), lines(uint64(i), 300, 3000)
						sent += len(text)
						roundTrip(t, &clients, c, text)
					}
					clients.Wait()
					if got, want := p.stop(), fmt.Sprintf("6 connections, %d bytes in, %[1]d out", sent); got != want {
						t.Errorf("stopped with %s, want %s", got, want)
					}
				})
			}
		}
	}
}

func TestEchoServesUnixSockets(t *testing.T) {
	binary := build(t, "echo")
	for _, secure := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "echo")
		p := start(t, binary, "-addr", "unix:"+path, "-loops", "2", "-mode", "workers", "-framing", "line", fmt.Sprintf("-tls=%v", secure))
		if got := p.line("listening on "); got != path {
			t.Errorf("it listens on %s", got)
		}
		var clients sync.WaitGroup
		text := lines(1, 300, 3000)
		for range 3 {
			roundTrip(t, &clients, dialEcho(t, "unix", path, secure), text)
		}
		clients.Wait()
		if got, want := p.stop(), fmt.Sprintf("3 connections, %d bytes in, %[1]d out", 3*len(text)); got != want {
			t.Errorf("stopped with %s, want %s", got, want)
		}
		if left, err := filepath.Glob(path); err != nil || len(left) > 0 {
			t.Errorf("left behind: %s, %v", left, err)
		}
	}
}

// TestEchoAnswersWhatCameBeforeTheSignal: the request is in the kernel or with a worker when the signal comes.
func TestEchoAnswersWhatCameBeforeTheSignal(t *testing.T) {
	p, addr := listening(t, build(t, "echo"), "-mode", "workers", "-framing", "line", "-burn", "200ms", "-workers", "1")
	idle, busy := dial(t, addr), dial(t, addr)
	busy.send("hello\n")
	busy.expect("hello\n")
	idle.send("hello\n")
	idle.expect("hello\n") // both are accepted
	busy.send("burn\n1\n2\n")
	p.signal(syscall.SIGTERM)
	busy.expect("burn\n1\n2\n")
	busy.expectEnd()
	idle.expectEnd()
	busy.Close() // the server waits for it
	idle.Close()
	said := p.line("stopped: ")
	p.wait()
	if want := "2 connections, 21 bytes in, 21 out"; said != want {
		t.Errorf("stopped with %s, want %s", said, want)
	}
}

// TestEchoServesOthersWhileHandlersBurn has four of the workers computing on as many processors; one client never asks
// for such work.
func TestEchoServesOthersWhileHandlersBurn(t *testing.T) {
	p, addr := listening(t, build(t, "echo"), "-mode", "workers", "-framing", "line", "-burn", "1s", "-workers", "8", "-procs", "2")
	quick := dial(t, addr)
	quick.send("0\n")
	quick.expect("0\n")
	burnt := make(chan error, 4)
	for range cap(burnt) {
		c := dial(t, addr)
		c.send("burn\n")
		go func() {
			_, err := c.in.ReadString('\n')
			burnt <- err
		}()
	}
	answers := 0
	for len(burnt) == 0 {
		quick.send("quick\n")
		quick.expect("quick\n")
		answers++
	}
	t.Logf("%d answers while others burned", answers)
	if answers < 2 { // the last one may have come behind
		t.Error("no answer came while others burned")
	}
	for range cap(burnt) {
		testkit.Must(t, <-burnt)
	}
	if got := p.stop(quick); !strings.HasPrefix(got, "5 connections, ") {
		t.Errorf("stopped with %s", got)
	}
}

func dialEcho(t *testing.T, network, addr string, secure bool) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, addr, patience)
	testkit.Must(t, err)
	t.Cleanup(func() { c.Close() })
	testkit.Must(t, c.SetDeadline(time.Now().Add(patience)))
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the certificate is made on the spot
	}
	return c
}

// roundTrip sends text, without waiting for answers, and wants it back, and nothing after it.
func roundTrip(t *testing.T, clients *sync.WaitGroup, c net.Conn, text string) {
	clients.Go(func() {
		if _, err := io.WriteString(c, text); err != nil {
			t.Error(err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	clients.Go(func() {
		if got, err := io.ReadAll(c); err != nil || string(got) != text {
			t.Errorf("%d bytes came back of %d, and %v", len(got), len(text), err)
		}
	})
}
