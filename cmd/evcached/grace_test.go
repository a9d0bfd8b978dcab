//go:build linux || darwin || freebsd

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
)

// stopBound is the time that a stop may take in a test: stopGrace, and a margin for a busy machine.
const stopBound = 5 * time.Second

// waysToStop end a program whose address is addr, and that was started with -A.
var waysToStop = []struct {
	name string
	stop func(p *running, addr string)
}{
	{"SIGTERM", func(p *running, _ string) { p.signal(syscall.SIGTERM) }},
	{"SIGINT", func(p *running, _ string) { p.signal(syscall.SIGINT) }},
	{"SIGUSR1", func(p *running, _ string) { p.signal(syscall.SIGUSR1) }},
	{"shutdown", func(p *running, addr string) { p.send(addr, "shutdown\r\n") }},
	{"shutdown graceful", func(p *running, addr string) { p.send(addr, "shutdown graceful\r\n") }},
}

// send sends text to a TCP address or a unix socket from a new client.
func (p *running) send(addr, text string) {
	p.t.Helper()
	c := dial(p.t, networkOf(addr), addr)
	_, err := io.WriteString(c, text)
	testkit.Must(p.t, err)
}

func networkOf(addr string) string {
	if strings.HasPrefix(addr, "/") {
		return "unix"
	}
	return "tcp"
}

// stopsInTime stops the program, and fails the test unless it ends with status 0 within stopBound.
func stopsInTime(t *testing.T, p *running, stop func()) {
	t.Helper()
	since := time.Now()
	stop()
	equal(t, "the status", p.wait(), 0)
	if took := time.Since(since); took > stopBound {
		t.Errorf("the stop took %v, want %v at most", took, stopBound)
	}
}

const bigValue = 1_000_000

// storeBig stores a value of bigValue bytes.
func storeBig(t *testing.T, addr string) {
	t.Helper()
	c := dial(t, networkOf(addr), addr)
	defer c.Close()
	c.ask(fmt.Sprintf("set big 0 0 %d\r\n%s\r\n", bigValue, strings.Repeat("x", bigValue)), "STORED\r\n")
}

// readsNothing connects a client that requests 20 MB and does not read the answer.
func readsNothing(t *testing.T, nc net.Conn) {
	t.Helper()
	_, err := io.WriteString(talk(t, nc), strings.Repeat("get big\r\n", 20))
	testkit.Must(t, err)
}

// Every way to stop ends in time with clients that do not read, one that is silent, and one in the middle of a command.
func TestEveryWayToStopEndsInTime(t *testing.T) {
	t.Parallel()
	for _, way := range waysToStop {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "-p", "-1", "-A")
			addr := p.addrs[0]
			storeBig(t, addr)
			readsNothing(t, dial(t, "tcp", addr).Conn)
			idle, setting := dial(t, "tcp", addr), dial(t, "tcp", addr)
			idle.ask(askVersion, isVersion)
			setting.ask(askVersion+"set half 0 0 10\r\nhello", isVersion)
			stopsInTime(t, p, func() { way.stop(p, addr) })
			idle.expectEnd("")
		})
	}
}

// A stop ends in time with each kind of client that could delay it.
func TestAStopIsInTimeWhateverClientsDo(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	chain := filepath.Join(dir, "chain")
	config := trusting(t, writeCertificate(t, chain, chain))
	overTLS := []string{"-p", "-1", "-Z", "-l", "127.0.0.1,notls:127.0.0.1:0", "-o", "ssl_chain_cert=" + chain}
	plain := []string{"-p", "-1"}
	for _, row := range []struct {
		name   string
		args   []string
		bare   int // the address without TLS, by its place
		number int // of clients
		client func(t *testing.T, addrs []string)
	}{
		{"none", plain, 0, 0, nil},
		{"idle", plain, 0, 200, func(t *testing.T, addrs []string) { dial(t, "tcp", addrs[0]) }},
		{"without reading", plain, 0, 20, func(t *testing.T, addrs []string) { readsNothing(t, dial(t, "tcp", addrs[0]).Conn) }},
		{"without reading, TLS", overTLS, 1, 20, func(t *testing.T, addrs []string) {
			nc, err := tls.Dial("tcp", addrs[0], config)
			testkit.Must(t, err)
			readsNothing(t, nc)
		}},
		{"without reading, unix socket", []string{"-s", filepath.Join(dir, "s")}, 0, 20, func(t *testing.T, addrs []string) {
			readsNothing(t, dial(t, "unix", addrs[0]).Conn)
		}},
		{"idle, TLS", overTLS, 1, 5, func(t *testing.T, addrs []string) {
			nc, err := tls.Dial("tcp", addrs[0], config)
			testkit.Must(t, err)
			talk(t, nc).ask(askVersion, isVersion)
		}},
		{"in a TLS handshake", overTLS, 1, 5, func(t *testing.T, addrs []string) { beginHandshake(t, addrs[0], config) }},
		{"before a TLS handshake", overTLS, 1, 5, func(t *testing.T, addrs []string) { dial(t, "tcp", addrs[0]) }},
		{"at the gate", []string{"-p", "-1", "-c", "5", "-o", "no_maxconns_fast"}, 0, 20, func(t *testing.T, addrs []string) {
			_, err := io.WriteString(dial(t, "tcp", addrs[0]), askVersion)
			testkit.Must(t, err)
		}},
		{"over UDP", []string{"-p", "-1", "-U", "-1"}, 0, 5, func(t *testing.T, addrs []string) {
			_, err := io.WriteString(dial(t, "udp", addrs[1]), "\x12\x34\x00\x00\x00\x01\x00\x00get big\r\n")
			testkit.Must(t, err)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, row.args...)
			storeBig(t, p.addrs[row.bare])
			for range row.number {
				row.client(t, p.addrs)
			}
			stopsInTime(t, p, func() { p.signal(syscall.SIGTERM) })
		})
	}
}

// beginHandshake sends a complete ClientHello, and nothing after it.
func beginHandshake(t *testing.T, addr string, config *tls.Config) {
	t.Helper()
	c := dial(t, "tcp", addr)
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	go func() { _ = tls.Client(ours, config).Handshake() }() // ends with an error when the pipe is closed
	hello := make([]byte, 4096)
	n, err := theirs.Read(hello)
	testkit.Must(t, err)
	_, err = c.Write(hello[:n])
	testkit.Must(t, err)
	if _, err := c.in.ReadByte(); err != nil { // the server's part: the handshake is in progress
		t.Fatal(err)
	}
}

// If a stop ends before its time limit, a client that was reading 20 MB steadily at the signal has received every answer. The bytes received are
// right in any case.
func TestAStopThatEndsBeforeItsTimeHasFlushedEveryAnswer(t *testing.T) {
	t.Parallel()
	p := start(t, "-p", "-1")
	storeBig(t, p.addrs[0])
	c := dial(t, "tcp", p.addrs[0])
	const answers = 20
	_, err := io.WriteString(c, strings.Repeat("get big\r\n", answers))
	testkit.Must(t, err)
	answer := []byte(fmt.Sprintf("VALUE big 0 %d\r\n%s\r\nEND\r\n", bigValue, strings.Repeat("x", bigValue)))
	in, got := bufio.NewReaderSize(c, 64<<10), make([]byte, len(answer))
	_, err = io.ReadFull(in, got)
	testkit.Must(t, err)
	since := time.Now()
	p.signal(syscall.SIGTERM)
	whole := 1
	for ; whole < answers; whole++ {
		n, err := io.ReadFull(in, got)
		if !bytes.Equal(got[:n], answer[:n]) {
			t.Fatalf("answer %d is wrong in its first %d bytes", whole, n)
		}
		if err != nil {
			break
		}
	}
	equal(t, "the status", p.wait(), 0)
	if took := time.Since(since); whole < answers && took < stopGrace {
		t.Errorf("the stop took %v, and %d of %d answers came", took, whole, answers)
	}
}

// A signal during the start ends the program in order, even while the start waits for a file that cannot be read.
func TestASignalDuringTheStartEndsItInOrder(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			users := filepath.Join(t.TempDir(), "users")
			testkit.Must(t, unix.Mkfifo(users, 0o600))
			cmd := command("-p", "-1", "-Y", users)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			testkit.Must(t, cmd.Start())
			defer cmd.Process.Kill()
			pipe := openWhenRead(t, users)
			defer pipe.Close()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			since := time.Now()
			testkit.Must(t, cmd.Process.Signal(syscall.SIGHUP)) // which does not end it
			testkit.Must(t, cmd.Process.Signal(sig))
			select {
			case err := <-ended:
				if took := time.Since(since); err != nil || out.Len() > 0 || took > stopBound {
					t.Errorf("it ended with %v after %v, and the output is %q", err, took, out.String())
				}
			case <-time.After(testTimeout):
				t.Fatal("the program did not end")
			}
		})
	}
}

// A file that cannot be read does not delay a stop, whether a reload or a command reads it.
func TestAFileThatHangsDoesNotDelayAStop(t *testing.T) {
	dir := t.TempDir()
	chain := filepath.Join(dir, "chain")
	config := trusting(t, writeCertificate(t, chain, chain))
	for name, read := range map[string]func(p *running, c *client){
		"SIGHUP": func(p *running, _ *client) { p.signal(syscall.SIGHUP) },
		"refresh_certs": func(_ *running, c *client) {
			_, err := io.WriteString(c, "refresh_certs\r\n")
			testkit.Must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			own := filepath.Join(t.TempDir(), "chain")
			text, err := os.ReadFile(chain)
			testkit.Must(t, err)
			testkit.Must(t, os.WriteFile(own, text, 0o600))
			p := start(t, "-p", "-1", "-Z", "-o", "ssl_chain_cert="+own)
			nc, err := tls.Dial("tcp", p.addrs[0], config)
			testkit.Must(t, err)
			c := talk(t, nc)
			c.ask(askVersion, isVersion)
			testkit.Must(t, os.Remove(own))
			testkit.Must(t, unix.Mkfifo(own, 0o600))
			read(p, c)
			pipe := openWhenRead(t, own)
			defer pipe.Close()
			stopsInTime(t, p, func() { p.signal(syscall.SIGTERM) })
		})
	}
}

// openWhenRead opens a FIFO for writing, once the program has opened it to read.
func openWhenRead(t *testing.T, name string) (pipe *os.File) {
	t.Helper()
	eventually(t, "the program opens "+name, func() bool {
		var err error
		pipe, err = os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	return pipe
}

// A daemon that is stopped before it listens is an error of its parent, though the child has ended in order.
func TestADaemonThatIsStoppedBeforeItListensIsAnError(t *testing.T) {
	equal(t, "the status", status(ended(nil)), statusSystem)
}
