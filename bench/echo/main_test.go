//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute

// start builds the program, runs it and returns its address. It must end with status 0 when it is told to.
func start(t *testing.T, args ...string) (addr string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer watchdog.Stop()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("the program ended with %v; standard error:\n%s", err, &stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) < 3 {
		t.Fatalf("the output is %q and not where it listens: %v\n%s", line, err, &stderr)
	}
	return words[2]
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// noise is size bytes that depend on seed alone.
func noise(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

// TestEchoesEveryByte sends random data over several connections at a time and compares the checksums of what comes back.
func TestEchoesEveryByte(t *testing.T) {
	for _, loop := range [][]string{
		nil,
		{"-backend", "epoll", "-driver", "adaptive"},
		{"-backend", "epoll", "-driver", "park"},
		{"-backend", "epoll", "-driver", "thread"},
		{"-backend", "poll", "-driver", "thread"},
	} {
		t.Run(cmp.Or(strings.Join(loop, " "), "default"), func(t *testing.T) {
			addr := start(t, loop...)
			var clients sync.WaitGroup
			defer clients.Wait()
			for i := range 8 {
				c, seed, size := dial(t, addr), byte(i), int64(1)<<(3*i) // from a byte to 2 MB
				sent, got := sha256.New(), sha256.New()
				written := make(chan struct{})
				clients.Go(func() {
					defer close(written)
					if _, err := io.Copy(io.MultiWriter(sent, c), noise(seed, size)); err != nil {
						t.Error(err)
					}
				})
				clients.Go(func() {
					n, err := io.CopyN(got, c, size)
					<-written
					if err != nil || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
						t.Errorf("of %d bytes %d came back, and other ones, with %v", size, n, err)
					}
				})
			}
		})
	}
}

// TestSlowReaderLosesNothing writes until the server takes no more, so that it has to keep what it could not write.
func TestSlowReaderLosesNothing(t *testing.T) {
	c := dial(t, start(t))
	const most = 256 << 20
	block := make([]byte, 64<<10)
	source, sent, got := noise(1, most), sha256.New(), sha256.New()
	var size int64
	var err error
	for size < most && err == nil {
		if _, err := io.ReadFull(source, block); err != nil {
			t.Fatal(err)
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil { // anew: it passes when nothing moves
			t.Fatal(err)
		}
		var n int
		n, err = c.Write(block)
		sent.Write(block[:n])
		size += int64(n)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken with nothing read, and then %v", size, err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(got, c, size); err != nil || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Fatalf("of %d bytes %d came back, and other ones, with %v", size, n, err)
	}
	// And the server reads on.
	if _, err := io.WriteString(c, "more"); err != nil {
		t.Fatal(err)
	}
	more := make([]byte, 4)
	if _, err := io.ReadFull(c, more); err != nil || string(more) != "more" {
		t.Fatalf("then %q came, and %v", more, err)
	}
}

// TestResetAndEndAreSurvived ends connections in both ways and wants the server to go on.
func TestResetAndEndAreSurvived(t *testing.T) {
	addr := start(t)
	for i := range 100 {
		c := dial(t, addr)
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := c.SetLinger(0); err != nil {
				t.Fatal(err)
			}
		} else if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	c := dial(t, addr)
	if _, err := io.WriteString(c, "still there"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "still there" {
		t.Fatalf("got %q and %v", got, err)
	}
}
