//go:build linux

// Package peertest builds and runs the servers of bench/peers and bench/http in their tests.
package peertest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
)

// Patience is the time that a test waits for a server.
const Patience = time.Minute

var programs struct {
	once sync.Once
	dir  string
	err  error
	out  []byte
}

// Main runs the tests of a directory with programs below it. Call it from TestMain.
func Main(m *testing.M) {
	var err error
	if programs.dir, err = os.MkdirTemp("", "peers"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leaktest.Main(m, func() {
		if err := os.RemoveAll(programs.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}

// Program returns the path of a server. All are built by the first call.
func Program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() {
		programs.out, programs.err = exec.Command("go", "build", "-buildvcs=false", "-o", programs.dir+"/", "./...").CombinedOutput()
	})
	if programs.err != nil {
		t.Fatalf("go build: %v\n%s", programs.err, programs.out)
	}
	return filepath.Join(programs.dir, name)
}

// Start runs a server until the end of the test and returns its address and its process. It fails the test if the server does not print
// "listening on" and the address.
func Start(t *testing.T, name string, flags ...string) (addr string, pid int) {
	t.Helper()
	cmd := exec.Command(Program(t, name), append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
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
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("the server ended before the test: %v\n%s", err, &stderr)
		}
		_ = cmd.Wait() // reports that it was killed
		if t.Failed() {
			t.Logf("standard error:\n%s", &stderr)
		}
	})
	watchdog := time.AfterFunc(Patience, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the output is %q and not where it listens: %v\n%s", line, err, &stderr)
	}
	return addr, cmd.Process.Pid
}

// Dial returns a connection to a server, which is closed at the end of the test.
func Dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it may be closed already
	if err := c.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// Running returns the processes whose programs are in a directory.
func Running(t *testing.T, dir string) (found []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && filepath.Dir(program) == dir { // processes end at any time
			found = append(found, link+" -> "+program)
		}
	}
	return found
}
