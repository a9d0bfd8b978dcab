//go:build linux

package peers_test

import (
	"bufio"
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = time.Minute

// A variant is a server with flags.
type variant struct {
	name          string
	mode, framing string
}

func (v variant) String() string { return v.name + "/" + v.mode + "/" + v.framing }

// variants returns all servers with the modes that they have.
func variants(framings ...string) (all []variant) {
	for _, name := range []string{"evmq", "gnet", "nbio", "evio", "netpoll", "net"} {
		for _, mode := range []string{"loop", "pool"} {
			for _, framing := range framings {
				if name != "evio" || mode != "pool" {
					all = append(all, variant{name, mode, framing})
				}
			}
		}
	}
	return all
}

var programs struct {
	once sync.Once
	dir  string
	err  error
	out  []byte
}

// program returns the path of a server. All are built by the first call.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() {
		programs.out, programs.err = exec.Command("go", "build", "-buildvcs=false", "-o", programs.dir+"/", "./...").CombinedOutput()
	})
	if programs.err != nil {
		t.Fatalf("go build: %v\n%s", programs.err, programs.out)
	}
	return filepath.Join(programs.dir, name)
}

// start runs a server until the end of the test and returns its address.
func start(t *testing.T, v variant, more ...string) (addr string) {
	t.Helper()
	addr, _ = startProcess(t, v, more...)
	return addr
}

// startProcess is start, and returns the process too.
func startProcess(t *testing.T, v variant, more ...string) (addr string, pid int) {
	t.Helper()
	args := append([]string{"-addr", "127.0.0.1:0", "-mode", v.mode, "-framing", v.framing}, more...)
	cmd := exec.Command(program(t, v.name), args...)
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
	watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the output is %q and not where it listens: %v\n%s", line, err, &stderr)
	}
	return addr, cmd.Process.Pid
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
